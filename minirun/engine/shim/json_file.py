"""The monitor's half of a container's log (see `logs` for the reader's): Docker's json-file driver."""

from __future__ import annotations

import posix as os  # os without its Python half: 250 KiB less in a monitor at rest

from minirun import timestamps
from minirun.engine.shim.loglines import Lines, record
from minirun.errors import KernelError


class LogWriter:
    """Write a container's output to its log.

    Arguments: path (str), made when it is missing, else continued; fd (int), the log that another process had open.
    `.fd` is the open file, -1 after its end.

    A disk that is full must not stop the container, nor leave half a record: such records are dropped, `.lost` counts
    them and `.error` says why. Errors: KernelError when the log cannot be opened.
    """

    def __init__(self, path: str, fd: int = -1) -> None:
        self.lost = 0
        self.error = ""
        self._streams = {"stdout": Lines(), "stderr": Lines()}
        self.fd = fd
        if fd >= 0:
            return
        try:
            # O_APPEND: a second writer or a log rotation by truncation never leaves a hole
            self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        except OSError as reason:
            from minirun.store import disk_hint  # a monitor that rests has no other use for it

            raise KernelError(f"open {path}", reason.errno or 0, hint=disk_hint(reason)) from None

    def feed(self, stream: str, data: bytes) -> None:
        """Take what came out of a stream ("stdout" or "stderr"): the records in it go to disk with one write(2)."""
        self._write(stream, self._streams[stream].feed(data, timestamps.now()))

    def end(self, stream: str) -> None:
        """The stream has ended: write what is left of it."""
        self._write(stream, self._streams[stream].end(timestamps.now()))

    def close(self) -> None:
        """End both streams and close the file; safe to do twice."""
        if self.fd >= 0:
            self.end("stdout")
            self.end("stderr")
            os.close(self.fd)
            self.fd = -1

    def _write(self, stream: str, pieces: list[tuple[bytes, str]]) -> None:
        if not pieces:
            return
        data = "".join([record(stream, piece, moment) for piece, moment in pieces]).encode()
        written = 0
        try:
            written = os.write(self.fd, data)
            self.error = "" if written == len(data) else "the disk is full"
        except OSError as reason:
            self.error = os.strerror(reason.errno or 0).lower()
        if written != len(data):
            self.lost += len(pieces)
            if written:  # take the half batch back: a reader must find whole lines only
                os.ftruncate(self.fd, os.fstat(self.fd).st_size - written)

    @property
    def idle(self) -> bool:
        """Whether no beginning of a line waits for its end."""
        return not any(lines.pending for lines in self._streams.values())
