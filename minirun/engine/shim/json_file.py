"""Docker's json-file log driver, the writer's side: container output becomes one JSON object for each line.

    {"log":"out1\\n","stream":"stdout","time":"2026-11-23T03:17:15.687791142Z"}

The shim writes the log; `logs` reads it. A line longer than 16 KiB is cut into several records, of which only the last
one ends in \\n; the last line of a program that stops in the middle of it has no \\n either. The same bytes give the
same records, however they are divided into reads.
"""

from __future__ import annotations

from minirun import timestamps
from minirun.errors import KernelError
from minirun.light import os

#: The longest piece of a line that makes one record (Docker's copier: defaultBufSize).
LONGEST = 16 * 1024

# Go's encoder writes control characters and those that could end a <script> as \u00XX. A byte that is no UTF-8 becomes
# U+FFFD: `surrogateescape` decodes each such byte to one of U+DC80..U+DCFF, which no valid text contains.
_SPECIAL = bytes((*range(0x20), *b'<>&"\\'))
_escapes: dict[int, str] = {}  # filled at the first such character: many programs never write one


def json_string(data: bytes) -> str:
    """Bytes as a JSON string, with the escapes of Go's encoding/json."""
    if data.isascii() and len(data.translate(None, _SPECIAL)) == len(data):
        return f'"{data.decode("ascii")}"'
    if not _escapes:
        _escapes.update({code: f"\\u{code:04x}" for code in (*_SPECIAL, 0x2028, 0x2029)})
        _escapes.update(dict.fromkeys(range(0xDC80, 0xDD00), "\\ufffd"))
        _escapes.update({ord("\n"): "\\n", ord("\r"): "\\r", ord('"'): '\\"', ord("\\"): "\\\\"})
    return f'"{data.decode("utf-8", "surrogateescape").translate(_escapes)}"'


class LineSplitter:
    """Splits one stream into records; keeps an incomplete line until its end arrives."""

    __slots__ = ("moment", "pending")

    def __init__(self) -> None:
        self.pending = b""
        self.moment = ""  # the time of a long line's first piece, which all its pieces get

    def feed(self, data: bytes, moment: str) -> list[tuple[bytes, str]]:
        """The records that `data` completes, as (bytes, time). Arguments: moment (RFC 3339), the time of new ones."""
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
        """Append the full pieces of a long line to `pieces`. Returns: the rest, which is shorter than a piece."""
        while len(line) >= LONGEST:
            self.moment = self.moment or moment
            pieces.append((line[:LONGEST], self.moment))
            line = line[LONGEST:]
        return line


def encode_record(stream: str, piece: bytes, moment: str) -> str:
    """One line of the log. Arguments: stream, "stdout" or "stderr"; piece and moment, from `LineSplitter.feed`."""
    if piece.endswith(b"\n"):  # nearly every one: it need not take the slow path for this character
        return f'{{"log":{json_string(piece[:-1])[:-1]}\\n","stream":"{stream}","time":"{moment}"}}\n'
    return f'{{"log":{json_string(piece)},"stream":"{stream}","time":"{moment}"}}\n'


class LogWriter:
    """Writes a container's output to its log.

    Arguments: path (str), created if it is missing, else appended to; fd (int), or the open file, inherited from the
    shim before its re-exec. `.fd` is the open file, -1 once it is closed.

    A full disk must neither stop the container nor leave half a record: such records are dropped, `.lost` counts them
    and `.error` says why. Errors: KernelError when the log cannot be opened.
    """

    def __init__(self, path: str, fd: int = -1) -> None:
        self.lost = 0
        self.error = ""
        self._streams = {"stdout": LineSplitter(), "stderr": LineSplitter()}
        self.fd = fd
        if fd >= 0:
            return
        try:
            # O_APPEND: a second writer or a log rotation by truncation never leaves a hole
            self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        except OSError as reason:
            from minirun.store import disk_hint  # the idle shim has no other use for it

            raise KernelError(f"open {path}", reason.errno or 0, hint=disk_hint(reason)) from None

    def feed(self, stream: str, data: bytes) -> None:
        """Log output of a stream ("stdout" or "stderr"): its records go to disk with one write(2)."""
        self._write(stream, self._streams[stream].feed(data, timestamps.now()))

    def end(self, stream: str) -> None:
        """Write the incomplete last line of a stream that has ended."""
        self._write(stream, self._streams[stream].end(timestamps.now()))

    def close(self) -> None:
        """End both streams and close the file; may be called twice."""
        if self.fd >= 0:
            self.end("stdout")
            self.end("stderr")
            os.close(self.fd)
            self.fd = -1

    def _write(self, stream: str, pieces: list[tuple[bytes, str]]) -> None:
        if not pieces:
            return
        data = "".join([encode_record(stream, piece, moment) for piece, moment in pieces]).encode()
        written = 0
        try:
            written = os.write(self.fd, data)
            self.error = "" if written == len(data) else "the disk is full"
        except OSError as reason:
            self.error = os.strerror(reason.errno or 0).lower()
        if written != len(data):
            self.lost += len(pieces)
            if written:  # remove the partial write: a reader must find whole lines only
                os.ftruncate(self.fd, os.fstat(self.fd).st_size - written)

    @property
    def idle(self) -> bool:
        """Whether there is no incomplete line."""
        return not any(lines.pending for lines in self._streams.values())
