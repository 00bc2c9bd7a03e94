"""The values of a Go template: how Go prints them, and the functions that take them.

Go knows structs and maps, JSON only objects. A `dict` counts as a struct (asking for a field that it does not have is
a mistake, it prints as `{a b}`), a `Map` as a map (a missing key has no value, it prints as `map[k:v]`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minirun import jsoncodec
from minirun.cli.format.strconv_quote import quote

if TYPE_CHECKING:
    from collections.abc import Callable


class Map(dict):
    """An object with keys that are data, such as labels."""


class Struct(dict):
    """An object with fixed fields, of which JSON leaves some out. `.left_out` (dict): those, and what Go has there."""

    def __init__(self, fields: dict[str, object], left_out: dict[str, object]) -> None:
        super().__init__(fields)
        self.left_out = left_out


class Row(dict):
    """A line of a list. As JSON its fields are sorted, and <, > and & are written as Go writes them for a web page."""


class Null(tuple):
    """JSON's null where Go has an empty slice, map or pointer: false, without elements, and printed as Go prints it."""

    text = "<no value>"

    @classmethod
    def shown_as(cls, text: str) -> Null:
        null = cls()
        null.text = text
        return null


NO_VALUE = Null()


class Lazy:
    """A field that is worked out when a template asks for it."""

    __slots__ = ("get",)

    def __init__(self, get: Callable[[], object]) -> None:
        self.get = get


class Reason(Exception):
    """Why a field or function has no value; the evaluation adds the place."""


def shown(value: object) -> str:
    """A value as Go's fmt.Print shows it."""
    if value is None:
        return "<nil>"
    if value is True or value is False:
        return str(value).lower()
    if isinstance(value, Null):
        return value.text
    if isinstance(value, float):
        return f"{int(value)}" if value.is_integer() and abs(value) < 1e21 else f"{value!r}"
    if isinstance(value, Map):
        return "map[" + " ".join(f"{key}:{shown(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, dict):
        return "{" + " ".join(shown(item) for item in value.values()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(shown(item) for item in value) + "]"
    return str(value)


def plain(value: object) -> object:
    """A value as JSON has it."""
    if isinstance(value, Null):
        return None
    if isinstance(value, Lazy):
        return value.get()
    if isinstance(value, dict):
        keys = sorted(value) if isinstance(value, Map) else value
        return {key: plain(value[key]) for key in keys if not callable(value[key])}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _json(value: object) -> str:
    if not isinstance(value, Row):
        return jsoncodec.dumps(plain(value))
    fields = {key: plain(value[key]) for key in sorted(value) if not callable(value[key])}
    return jsoncodec.dumps(fields).translate({ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&"})


def _print(*values: object) -> str:
    """Go's fmt.Sprint: a blank only between two values of which neither is a string."""
    result = ""
    for place, value in enumerate(values):
        if place and not isinstance(value, str) and not isinstance(values[place - 1], str):
            result += " "
        result += shown(value)
    return result


def _printf(pattern: str, *values: object) -> str:
    result, rest, left = "", pattern, list(values)
    while "%" in rest:
        before, _, rest = rest.partition("%")
        result += before
        width = len(rest) - len(rest.lstrip("+-0123456789. #"))
        flags, verb, rest = rest[:width], rest[width : width + 1], rest[width + 1 :]
        if verb == "%":
            result += "%"
            continue
        if not left:
            result += f"%!{verb}(MISSING)"
            continue
        value = left.pop(0)
        if verb in "dxXofeg" and isinstance(value, (int, float)):
            result += f"%{flags}{verb}" % value
        else:
            result += f"%{flags}s" % (quote(shown(value)) if verb == "q" else shown(value))
    return result + rest


def _index(value: object, *keys: object) -> object:
    for key in keys:
        if isinstance(value, Null):
            raise Reason("error calling index: index of untyped nil")
        if isinstance(value, Map):
            value = value.get(key, "")
        elif isinstance(value, dict):
            if key not in value:
                raise Reason(f"error calling index: can't index item of type struct with {key}")
            value = value[key]
        elif isinstance(value, (list, tuple, str)):
            if not isinstance(key, int):
                raise Reason(f"error calling index: cannot index slice/array with type {type(key).__name__}")
            if not 0 <= key < len(value):
                raise Reason(f"error calling index: index out of range: {key}")
            value = ord(value[key]) if isinstance(value, str) else value[key]
        else:
            raise Reason(f"error calling index: can't index item of type {type_name(value)}")
    return value


def type_name(value: object) -> str:
    """What Go calls the type of a value."""
    return {bool: "bool", int: "int", float: "float64", str: "string"}.get(type(value), "interface {}")


def _length(value: object) -> int:
    if not isinstance(value, (str, list, tuple, dict)):
        raise Reason(f"error calling len: len of type {type_name(value)}")
    return len(value.encode()) if isinstance(value, str) else len(value)


def _equal(first: object, *others: object) -> bool:
    for other in others:
        if type_name(first) != type_name(other):
            raise Reason("error calling eq: incompatible types for comparison")
    return first in others


def _compare(name: str, holds: Callable) -> Callable:
    def compare(first: object, second: object) -> bool:
        if type_name(first) != type_name(second) or isinstance(first, (bool, list, dict)):
            raise Reason(f"error calling {name}: incompatible types for comparison")
        return holds(first, second)

    return compare


def _join(values: object, between: str) -> str:
    if not isinstance(values, (list, tuple)):
        raise Reason(f"can't handle {shown(values)} for arg of type []string")
    return between.join(map(shown, values))


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


#: Go's own functions and those that Docker adds (cli/templates/templates.go).
FUNCTIONS: dict[str, Callable] = {
    "and": lambda first, *rest: next((value for value in (first, *rest) if not value), (first, *rest)[-1]),
    "or": lambda first, *rest: next((value for value in (first, *rest) if value), (first, *rest)[-1]),
    "not": lambda value: not value,
    "eq": _equal,
    "ne": lambda first, second: not _equal(first, second),
    "lt": _compare("lt", lambda a, b: a < b),
    "le": _compare("le", lambda a, b: a <= b),
    "gt": _compare("gt", lambda a, b: a > b),
    "ge": _compare("ge", lambda a, b: a >= b),
    "index": _index,
    "len": _length,
    "print": _print,
    "printf": _printf,
    "println": lambda *values: " ".join(map(shown, values)) + "\n",
    "json": _json,
    "join": _join,
    "split": lambda text, between: text.split(between),
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "title": lambda text: " ".join(word[:1].upper() + word[1:] for word in text.split(" ")),
    "pad": _pad,
    "truncate": lambda text, length: text[:length],
    "slice": lambda value, *ends: value[slice(*ends)],
}
