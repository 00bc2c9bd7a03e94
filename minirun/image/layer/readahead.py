"""Reading ahead: one processor reads, digests and decompresses a layer while another writes its files.

A thread fills a handful of buffers, and waits when all of them are full; who reads gives each back when it is empty.
So memory is bounded, and neither waits for the other as long as there is a buffer to be filled or emptied. Python lets
both work at the same time where the work is: read(2), SHA-256, zlib and write(2) run without the interpreter's lock.
"""

from __future__ import annotations

import io
import threading
from queue import SimpleQueue

from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

#: How many buffers there are, and how many bytes each of them has.
BUFFERS, SIZE = 8, 256 * 1024


class ReadAhead(io.RawIOBase):
    """What a source gives, in the same order, its errors too. Close it: only then the source is left alone.

    Arguments: source, an object with `readinto` that nobody else uses meanwhile and that never lets one wait, as a
    pipe might: `close` waits for its last answer.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self._empty: SimpleQueue[bytearray | None] = SimpleQueue()
        self._full: SimpleQueue[tuple[bytearray, int] | BaseException] = SimpleQueue()
        for _ in range(BUFFERS):
            self._empty.put(bytearray(SIZE))
        self._buffer = bytearray()
        self._rest = memoryview(b"")
        self._ended = False
        self._thread = threading.Thread(target=self._fill, name="ahead", daemon=True)
        self._thread.start()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._rest and not self._ended:
            self._next()
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        """End the thread."""
        self._empty.put(None)
        self._thread.join()
        super().close()

    def _next(self) -> None:
        if self._buffer:
            self._empty.put(self._buffer)
        came = self._full.get()
        if isinstance(came, BaseException):
            self._ended = True
            raise came
        self._buffer, count = came
        self._rest = memoryview(self._buffer)[:count]
        self._ended = not count

    def _fill(self) -> None:
        try:
            count = 1
            while count and (buffer := self._empty.get()) is not None:
                count = self._source.readinto(buffer)
                self._full.put((buffer, count))
        except BaseException as reason:  # noqa: BLE001 (it is raised again on the other side)
            self._full.put(reason)
