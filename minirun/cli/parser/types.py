"""How one word of the command line becomes a value, as Docker's client (Go's strconv) reads it.

Each reader takes the word and returns the value, or raises ValueError with the reason in Docker's words.
"""

from __future__ import annotations

from minirun.cli.parser.grammar import ValueType

_TRUTHS = {
    "1": True,
    "t": True,
    "T": True,
    "true": True,
    "TRUE": True,
    "True": True,
    "0": False,
    "f": False,
    "F": False,
    "false": False,
    "FALSE": False,
    "False": False,
}


def boolean(text: str) -> bool:
    """Go's strconv.ParseBool."""
    try:
        return _TRUTHS[text]
    except KeyError:
        from minirun.cli.format.strconv_quote import quote

        raise ValueError(f"strconv.ParseBool: parsing {quote(text)}: invalid syntax") from None


def integer(text: str) -> int:
    """Go's strconv.ParseInt(text, 0, 64): also 0x1f, 0b1, 0o17 and 017 (octal), 1_000."""
    return go_integer(text, 0)


def go_integer(text: str, base: int) -> int:
    """A whole number of 64 bits with a sign, in base 10, or in what its prefix says when base is 0."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if base == 0 and len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567_":
        base = 8  # C's way of writing octal, which Go still reads and Python does not
    try:
        if not digits[:1].isdigit() or not text.isascii() or text[-1].isspace() or (base == 10 and "_" in text):
            raise ValueError
        value = int(text, base)
    except ValueError:
        reason = "invalid syntax"
    else:
        if -(1 << 63) <= value < 1 << 63:
            return value
        reason = "value out of range"
    from minirun.cli.format.strconv_quote import quote

    raise ValueError(f"strconv.ParseInt: parsing {quote(text)}: {reason}")


def variable(text: str) -> str:
    """An environment variable: "K=V", or "K" for the value that it has here (and "K" stays "K" when it has none)."""
    name, equals, _ = text.partition("=")
    if not name:
        raise ValueError(f"invalid environment variable: {text}")
    if equals:
        return text
    from os import environ  # most verbs do without os

    return f"{name}={environ[name]}" if name in environ else text


def condition(text: str) -> tuple[str, str]:
    """A filter of a list, "status=exited"; the name in lower case."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError("bad format of filter (expected name=value)")
    return name.strip().lower(), value.strip()


def as_it_is(text: str) -> str:
    """Any word."""
    return text


BOOL = ValueType("", boolean, empty=bool)
STRING = ValueType("string", as_it_is)
INT = ValueType("int", integer, empty=int)
LIST = ValueType("list", as_it_is, empty=list, gather=list.append)
VARIABLES = ValueType("list", variable, empty=list, gather=list.append)
CONDITIONS = ValueType("filter", condition, empty=list, gather=list.append)
