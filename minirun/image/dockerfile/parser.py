"""How a Dockerfile is read: lines, and the words in them as a shell would have them (buildkit, frontend/dockerfile).

A backslash at the end joins lines, `#` begins a remark. In a word quotes go, a backslash takes the next letter as it
is, and $NAME is replaced; ${NAME:-x}, ${NAME:+x}, ${NAME:?x} and ${NAME?x} are what they are in a shell, but that a
variable which is set to nothing counts as set.
"""

from __future__ import annotations

from minirun import jsoncodec
from minirun.errors import EngineError
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: `$@` and its like are names for the lexer, and never set.
SPECIAL = "@*#?-$!0"


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """The instructions of a Dockerfile: (word in small letters, all behind it)."""
    whole = ""
    for line in text.split("\n"):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        whole += line if whole else line.lstrip()
        bare = whole.rstrip(" \t")
        if bare.endswith("\\"):
            whole = bare[:-1]
            continue
        yield _instruction(whole)
        whole = ""
    if whole:
        yield _instruction(whole)


def _instruction(line: str) -> tuple[str, str]:
    word, _, rest = line.strip().partition(" ")
    return word.lower(), rest.strip()


def json_list(rest: str) -> list[str] | None:
    """The strings of a JSON list; None when it is none (then the words are meant as they stand).

    Errors: EngineError for a list of anything else.
    """
    if not rest.startswith("["):
        return None
    try:
        value = jsoncodec.loads(rest)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list):
        return None
    if not all(isinstance(item, str) for item in value):
        raise EngineError("when using JSON array syntax, arrays must be comprised of strings only")
    return value


def quoted_words(rest: str) -> list[str]:
    """Split at blanks that are neither quoted nor escaped; quotes and backslashes stay in."""
    words, word, quote, escaped = [], "", "", False
    for letter in rest:
        if letter.isspace() and not quote and not escaped:
            if word:
                words.append(word)
            word = ""
            continue
        if escaped:
            escaped = False
        elif letter == "\\" and quote != "'":
            escaped = True
        elif letter == quote:
            quote = ""
        elif not quote and letter in "\"'":
            quote = letter
        word += letter
    return [*words, word] if word else words


def expanded(word: str, environment: Mapping[str, str]) -> str:
    """A word as the shell would have it. Errors: EngineError in Docker's words."""
    try:
        return _Word(word, environment).until("")
    except ValueError as reason:
        raise EngineError(f"failed to process {jsoncodec.dumps(word)}: {reason}") from None


class _Word:
    """A word on its way; what is wrong with it is a ValueError."""

    def __init__(self, text: str, environment: Mapping[str, str]) -> None:
        self.text, self.environment, self.at = text, environment, 0

    def next(self) -> str:
        """The next letter, "" at the end."""
        letter = self.text[self.at : self.at + 1]
        self.at += len(letter)
        return letter

    def until(self, stop: str) -> str:
        """Go on to a letter outside of quotes, which is passed over; "" is the end."""
        result, quote = "", ""
        while letter := self.next():
            if letter == stop and not quote:
                return result
            if letter == "\\" and quote != "'":
                after = self.next()
                result += letter + after if quote and after and after not in '"$\\' else after
            elif letter == "$" and quote != "'":
                result += self._variable()
            elif letter == quote:
                quote = ""
            elif not quote and letter in "\"'":
                quote = letter
            else:
                result += letter
        if quote:
            raise ValueError(
                "unexpected end of statement while looking for matching "
                + ("double-quote" if quote == '"' else "single-quote")
            )
        if stop:
            raise ValueError(f"syntax error: missing '{stop}'")
        return result

    def _variable(self) -> str:
        """What stands behind a `$`."""
        if self.text[self.at : self.at + 1] != "{":
            name = self._name()
            return self.environment.get(name, "") if name else "$"
        self.next()
        if self.at == len(self.text):
            raise ValueError("syntax error: missing '}'")
        if self.text[self.at] in "{}:":
            raise ValueError("syntax error: bad substitution")
        name, letter = self._name(), self.next()
        if letter == "}":
            return self.environment.get(name, "")
        modifier = self.next() if letter == ":" else letter
        if letter not in (":", "?"):
            raise ValueError("missing ':' in substitution")
        word, known = self.until("}"), self.environment.get(name)
        if modifier == "+":
            return "" if known is None else word
        if modifier == "-":
            return word if known is None else known
        if modifier != "?":
            raise ValueError(f"unsupported modifier ({modifier}) in substitution")
        if known is None:
            raise ValueError(f"{name}: {word or 'is not allowed to be unset'}")
        return known

    def _name(self) -> str:
        begin = self.at
        if self.text[begin : begin + 1] in SPECIAL and self.text[begin:]:
            return self.next()
        digits = self.text[begin : begin + 1].isdigit()
        while (letter := self.text[self.at : self.at + 1]) and (
            letter.isdigit() if digits else letter.isalnum() or letter == "_"
        ):
            self.at += 1
        return self.text[begin : self.at]
