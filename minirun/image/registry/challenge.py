"""Parses the header WWW-Authenticate, with which a registry asks for authorization (RFC 9110, section 11.6.1).

    Basic realm="registry"                                          user name and password with each request
    Bearer realm="https://auth.example/token",service="registry"    a token from another server

One header may hold several challenges, separated by the same comma that separates the parameters of one, and a quoted
value may contain commas and escaped quotes. So it is tokenized character by character.
"""

from __future__ import annotations

from dataclasses import dataclass

from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENDS = frozenset(' \t,="')


@dataclass
class Challenge:
    """One authentication scheme: "basic" or "bearer", and its parameters; all names in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse(header: str) -> list[Challenge]:
    """The challenges of a header, in order; what cannot be parsed is left out.

    Arguments: header (str), several headers of that name joined by commas.
    """
    challenges: list[Challenge] = []
    tokens = list(_tokens(header))
    place = 0
    while place < len(tokens):
        word = tokens[place]
        value = tokens[place + 2] if tokens[place + 1 : place + 2] == ["="] and place + 2 < len(tokens) else None
        if value is not None and challenges:
            challenges[-1].parameters.setdefault(word.lower(), value.removeprefix('"'))
            place += 2
        elif word not in (",", "=") and value is None and not word.startswith('"'):
            challenges.append(Challenge(word.lower(), {}))
        place += 1
    return challenges


def _tokens(header: str) -> Iterator[str]:
    """The tokens: words, "," and "="; a quoted value keeps its first quote and is unescaped."""
    place, end = 0, len(header)
    while place < end:
        letter = header[place]
        if letter == '"':
            text = letter
            place += 1
            while place < end and header[place] != '"':
                place += header[place] == "\\" and place + 1 < end
                text += header[place]
                place += 1
            yield text
            place += 1
        elif letter in _ENDS:
            if letter in ",=":
                yield letter
            place += 1
        else:
            begin = place
            while place < end and header[place] not in _ENDS:
                place += 1
            yield header[begin:place]
