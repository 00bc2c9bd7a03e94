"""From a stream of bytes to the records of Docker's json-file log: one JSON object for each line of output.

    {"log":"out1\\n","stream":"stdout","time":"2026-11-23T03:17:15.687791142Z"}

A line longer than 16 KiB is cut into several records, of which only the last one ends in \\n; the last line of a
program that stops in the middle of it has no \\n either. The same bytes give the same records, however they are cut.
"""

from __future__ import annotations

#: The longest piece of a line that makes one record (Docker's copier: defaultBufSize).
LONGEST = 16 * 1024

# Go's encoder writes control characters and those that could end a <script> as \u00XX. A byte that is no UTF-8 becomes
# U+FFFD: `surrogateescape` decodes each such byte to one of U+DC80..U+DCFF, which no valid text contains.
_SPECIAL = bytes((*range(0x20), *b'<>&"\\'))
_escapes: dict[int, str] = {}  # filled when the first such character comes: many a program never writes one


def quoted(data: bytes) -> str:
    """Bytes as a JSON string, escaped as Docker does it."""
    if data.isascii() and len(data.translate(None, _SPECIAL)) == len(data):
        return f'"{data.decode("ascii")}"'
    if not _escapes:
        _escapes.update({code: f"\\u{code:04x}" for code in (*_SPECIAL, 0x2028, 0x2029)})
        _escapes.update(dict.fromkeys(range(0xDC80, 0xDD00), "\\ufffd"))
        _escapes.update({ord("\n"): "\\n", ord("\r"): "\\r", ord('"'): '\\"', ord("\\"): "\\\\"})
    return f'"{data.decode("utf-8", "surrogateescape").translate(_escapes)}"'


class Lines:
    """One stream on its way into records: keeps the beginning of a line until its end has come."""

    __slots__ = ("moment", "pending")

    def __init__(self) -> None:
        self.pending = b""
        self.moment = ""  # time of the first piece of a long line, which holds for all its pieces

    def feed(self, data: bytes, moment: str) -> list[tuple[bytes, str]]:
        """The records that `data` completes, as (bytes, time). Arguments: moment, the time of those that start now."""
        pieces: list[tuple[bytes, str]] = []
        *lines, rest = (self.pending + data).split(b"\n")
        for line in lines:
            rest_of_line = self._cut(line, moment, pieces)
            pieces.append((rest_of_line + b"\n", self.moment or moment))
            self.moment = ""
        self.pending = self._cut(rest, moment, pieces)
        return pieces

    def end(self, moment: str) -> list[tuple[bytes, str]]:
        """The last record, if the stream ends in the middle of a line."""
        rest, self.pending = self.pending, b""
        return [(rest, self.moment or moment)] if rest else []

    def _cut(self, line: bytes, moment: str, pieces: list[tuple[bytes, str]]) -> bytes:
        """Move full pieces from a long line into `pieces`; what remains is shorter than a piece."""
        while len(line) >= LONGEST:
            self.moment = self.moment or moment
            pieces.append((line[:LONGEST], self.moment))
            line = line[LONGEST:]
        return line


def record(stream: str, piece: bytes, moment: str) -> str:
    """One line of the log. Arguments: stream, "stdout" or "stderr"; piece and moment, as `Lines.feed` gives them."""
    if piece.endswith(b"\n"):  # nearly each one: it need not go the slow way for this one character
        return f'{{"log":{quoted(piece[:-1])[:-1]}\\n","stream":"{stream}","time":"{moment}"}}\n'
    return f'{{"log":{quoted(piece)},"stream":"{stream}","time":"{moment}"}}\n'
