"""Parses a Dockerfile: instructions, and words with shell syntax (buildkit, frontend/dockerfile/parser and shell).

A backslash at the end continues a line, `#` begins a comment. In words, quotes are removed, a backslash escapes the
next character, and $NAME is expanded; ${NAME:-x}, ${NAME:+x}, ${NAME:?x} and ${NAME?x} are as in a shell, except that a
variable with an empty value counts as set.
"""

from __future__ import annotations

from minirun import jsoncodec
from minirun.errors import EngineError
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: The lexer accepts `$@` and the like as names, but they are never set.
SPECIAL = "@*#?-$!0"


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """The instructions of a Dockerfile: (name in lower case, arguments)."""
    line_so_far = ""
    for line in text.split("\n"):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        line_so_far += line if line_so_far else line.lstrip()
        stripped = line_so_far.rstrip(" \t")
        if stripped.endswith("\\"):
            line_so_far = stripped[:-1]
            continue
        yield _instruction(line_so_far)
        line_so_far = ""
    if line_so_far:
        yield _instruction(line_so_far)


def _instruction(line: str) -> tuple[str, str]:
    word, _, rest = line.strip().partition(" ")
    return word.lower(), rest.strip()


def json_list(rest: str) -> list[str] | None:
    """The strings of a JSON list, the exec form; None for the shell form.

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


def split_words(rest: str) -> list[str]:
    """Split at blanks that are neither quoted nor escaped; quotes and backslashes are kept."""
    words, word, quote, escaped = [], "", "", False
    for char in rest:
        if char.isspace() and not quote and not escaped:
            if word:
                words.append(word)
            word = ""
            continue
        if escaped:
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif char == quote:
            quote = ""
        elif not quote and char in "\"'":
            quote = char
        word += char
    return [*words, word] if word else words


def expand(word: str, environment: Mapping[str, str]) -> str:
    """Expand variables and remove quotes as a shell does. Errors: EngineError with Docker's message."""
    try:
        return _ShellLexer(word, environment).until("")
    except ValueError as reason:
        raise EngineError(f"failed to process {jsoncodec.dumps(word)}: {reason}") from None


class _ShellLexer:
    """Expands one word. Errors: ValueError for a syntax error."""

    def __init__(self, text: str, environment: Mapping[str, str]) -> None:
        self.text, self.environment, self.position = text, environment, 0

    def next(self) -> str:
        """Consume and return the next character, "" at the end."""
        char = self.text[self.position : self.position + 1]
        self.position += len(char)
        return char

    def until(self, stop: str) -> str:
        """Expand up to an unquoted character, which is consumed; "" is the end of the word."""
        result, quote = "", ""
        while char := self.next():
            if char == stop and not quote:
                return result
            if char == "\\" and quote != "'":
                after = self.next()
                result += char + after if quote and after and after not in '"$\\' else after
            elif char == "$" and quote != "'":
                result += self._variable()
            elif char == quote:
                quote = ""
            elif not quote and char in "\"'":
                quote = char
            else:
                result += char
        if quote:
            raise ValueError(
                "unexpected end of statement while looking for matching "
                + ("double-quote" if quote == '"' else "single-quote")
            )
        if stop:
            raise ValueError(f"syntax error: missing '{stop}'")
        return result

    def _variable(self) -> str:
        """Expand a variable, after its `$`."""
        if self.text[self.position : self.position + 1] != "{":
            name = self._name()
            return self.environment.get(name, "") if name else "$"
        self.next()
        if self.position == len(self.text):
            raise ValueError("syntax error: missing '}'")
        if self.text[self.position] in "{}:":
            raise ValueError("syntax error: bad substitution")
        name, char = self._name(), self.next()
        if char == "}":
            return self.environment.get(name, "")
        modifier = self.next() if char == ":" else char
        if char not in (":", "?"):
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
        begin = self.position
        if self.text[begin : begin + 1] in SPECIAL and self.text[begin:]:
            return self.next()
        digits = self.text[begin : begin + 1].isdigit()
        while (char := self.text[self.position : self.position + 1]) and (
            char.isdigit() if digits else char.isalnum() or char == "_"
        ):
            self.position += 1
        return self.text[begin : self.position]
