"""What a registry wants to see before it lets somebody in: the header WWW-Authenticate (RFC 9110, section 11.6.1).

    Basic realm="registry"                                          a name and a password with each request
    Bearer realm="https://auth.example/token",service="registry"    a token, to be had at another place

One header may hold several challenges, divided by the same comma that divides the parameters of one; a quoted value
may hold commas and escaped quotes. So it is read letter by letter.
"""

from __future__ import annotations

from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENDS = frozenset(' \t,="')


class Challenge:
    """One way in. Attributes: scheme (str, lower case: "basic", "bearer"), parameters (dict, names in lower case)."""

    def __init__(self, scheme: str, parameters: dict[str, str]) -> None:
        self.scheme = scheme
        self.parameters = parameters

    def __repr__(self) -> str:
        return f"Challenge({self.scheme!r}, {self.parameters!r})"


def parse(header: str) -> list[Challenge]:
    """The challenges of a header, in its order; what cannot be read is left out.

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
    """Words, "," and "=" one by one; a quoted value keeps the quote in front, and loses its escapes."""
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
