"""The words of a Go template: text, and what stands between {{ and }} (Go's text/template/parse/lex.go)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

KEYWORDS = frozenset(("if", "else", "end", "range", "with", "define", "template", "block", "break", "continue"))
CONSTANTS = {"true": True, "false": False, "nil": None}
BLANKS = " \t\r\n"
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "'": "'"}


class TemplateError(Exception):
    """A template that cannot be read or evaluated. Attribute: partial (str), what was printed before."""

    partial = ""


class Word:
    """One word of an action. Attributes: kind, text, value (of a constant), position, glued (no blank before it)."""

    __slots__ = ("kind", "text", "value", "position", "glued")

    def __init__(self, kind: str, text: str, position: int, glued: bool, value: object = None) -> None:
        self.kind = kind
        self.text = text
        self.value = value
        self.position = position
        self.glued = glued


def words_of(text: str, fail: Callable[[str, int], Exception]) -> Iterator[tuple[str, Any, int]]:
    """The template's parts in order: ("text", text, line) and ("action", [Word], line).

    Arguments: fail, makes the exception for a reason and a line. The parts come one by one, so that the first
    mistake in the text is the one that is reported, by the lexer or by the parser.
    """
    place = 0
    while place < len(text):
        start = text.find("{{", place)
        if start < 0:
            yield "text", text[place:], text.count("\n", 0, place) + 1
            return
        trims = text[start + 2 : start + 3] == "-" and text[start + 3 : start + 4] in BLANKS
        before = text[place:start].rstrip(BLANKS) if trims else text[place:start]
        if before:
            yield "text", before, text.count("\n", 0, place) + 1
        line = text.count("\n", 0, start) + 1
        inside = start + (4 if trims else 2)
        if text.startswith("/*", inside):
            end = text.find("*/", inside)
            if end < 0:
                raise fail("unclosed comment", line)
            place = end + 2
            trims_after = text[place : place + 1] in tuple(BLANKS) and text[place + 1 : place + 4] == "-}}"
            if not trims_after and text[place : place + 2] != "}}":
                raise fail("comment ends before closing delimiter", line)
            place += 4 if trims_after else 2
        else:
            reader = _Action(text, inside, fail)
            words = reader.words()
            place, trims_after = reader.end, reader.trims_after
            yield "action", words, text.count("\n", 0, place) + 1
        while trims_after and text[place : place + 1] in tuple(BLANKS):
            place += 1


class _Action:
    """The words between {{ and }}."""

    def __init__(self, text: str, place: int, fail: Callable[[str, int], Exception]) -> None:
        self.text = text
        self.place = place
        self.make_error = fail
        self.end = place
        self.trims_after = False

    def fail(self, reason: str) -> Exception:
        return self.make_error(reason, self.text.count("\n", 0, self.place) + 1)

    def words(self) -> list[Word]:
        found: list[Word] = []
        glued = False
        while True:
            letter = self.text[self.place : self.place + 1]
            if letter and letter in BLANKS:
                if self.text.startswith("-}}", self.place + 1):
                    self.end, self.trims_after = self.place + 4, True
                    return found
                self.place += 1
                glued = False
                continue
            if self.text.startswith("}}", self.place):
                self.end = self.place + 2
                return found
            if not letter:
                raise self.fail("unclosed action")
            found.append(self.word(letter, glued))
            glued = True

    def word(self, letter: str, glued: bool) -> Word:
        start = self.place
        following = self.text[start + 1 : start + 2]
        if letter in "\"`'":
            value = self.quoted(letter)
            return Word("value", self.text[start : self.place], start, glued, value)
        if letter in "()|,=" or letter == ":" and following == "=":
            self.place += 2 if letter == ":" else 1
            return Word(letter, self.text[start : self.place], start, glued)
        if letter.isdigit() or letter in "+-" and following.isdigit() or letter == "." and following.isdigit():
            return self.number(start, glued)
        if letter in ".$" or letter.isalpha() or letter == "_":
            self.place += 1
            while self.text[self.place : self.place + 1].isalnum() or self.text[self.place : self.place + 1] == "_":
                self.place += 1
            return self.named(start, self.text[start : self.place], glued)
        self.place += 1
        if letter == "}":
            raise self.fail("unexpected right paren" if letter == ")" else 'unexpected "}" in command')
        return Word("character", letter, start, glued)

    def named(self, start: int, text: str, glued: bool) -> Word:
        after = self.text[self.place : self.place + 1]
        if after and after not in BLANKS + ".,|:)(=" and not self.text.startswith("}}", self.place):
            raise self.fail(f"bad character U+{ord(after):04X} '{after}'")
        if text[0] == "$":
            return Word("variable", text, start, glued)
        if text[0] == ".":
            return Word("dot" if text == "." else "field", text, start, glued)
        if text in KEYWORDS:
            return Word("keyword", text, start, glued)
        if text in CONSTANTS:
            return Word("value", text, start, glued, CONSTANTS[text])
        return Word("name", text, start, glued)

    def number(self, start: int, glued: bool) -> Word:
        self.place += 1
        while self.text[self.place : self.place + 1].isalnum() or self.text[self.place : self.place + 1] in ("_", "."):
            self.place += 1
        text = self.text[start : self.place]
        try:
            value: object = float(text) if "." in text or "e" in text and text[:2] != "0x" else int(text, 0)
        except ValueError:
            raise self.fail(f'bad number syntax: "{text}"') from None
        return Word("value", text, start, glued, value)

    def quoted(self, mark: str) -> object:
        """A string in "..." or `...`; a character in '...' is its number, as in Go."""
        result = ""
        self.place += 1
        while True:
            letter = self.text[self.place : self.place + 1]
            if not letter or letter == "\n" and mark != "`":
                what = {'"': "quoted string", "`": "raw quoted string", "'": "character constant"}[mark]
                raise self.fail(f"unterminated {what}")
            self.place += 1
            if letter == mark:
                return ord(result) if mark == "'" and len(result) == 1 else result
            if letter == "\\" and mark != "`":
                escape = self.text[self.place : self.place + 1]
                if escape not in ESCAPES:
                    raise self.fail("invalid syntax")
                letter = ESCAPES[escape]
                self.place += 1
            result += letter
