"""Read-ahead: one CPU reads, digests and decompresses a layer while another writes its files.

A thread fills a fixed number of buffers, and waits when all are full; the reader returns each buffer when it is empty.
So memory is bounded. Both run at the same time because the expensive calls (read(2), SHA-256, zlib, write(2)) release
the interpreter's lock.
"""

from __future__ import annotations

import io
import threading
from queue import SimpleQueue

from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

#: The number of buffers, and the bytes of each.
BUFFERS, SIZE = 8, 256 * 1024


class ReadAhead(io.RawIOBase):
    """Reads a source ahead in a thread; errors of the source are raised in their place in the stream.

    Arguments: source, an object with `readinto`. It must not be used by others until `close` has returned, and must
    not block for long, as a pipe does: `close` waits for its last read.
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
        """End the thread; the source is not read any more."""
        self._empty.put(None)
        self._thread.join()
        super().close()

    def _next(self) -> None:
        if self._buffer:
            self._empty.put(self._buffer)
        item = self._full.get()
        if isinstance(item, BaseException):
            self._ended = True
            raise item
        self._buffer, count = item
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
