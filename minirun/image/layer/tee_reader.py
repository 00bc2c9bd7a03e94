"""A reader that counts, digests and copies the bytes that are read through it (Go, io.TeeReader)."""

from __future__ import annotations

import hashlib
import io

from minirun import store
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.image.quota import Quota

#: Bytes of one read(2).
CHUNK = 256 * 1024


class TeeReader(io.RawIOBase):
    """Reads from a source; counts the bytes, digests them, and copies them to a file.

    Arguments: source, an object with `readinto`; head (bytes), what was read from it already; on_read, called with
    the number of bytes after each read; digesting (bool), whether `digest` is needed.
    Attributes: copy (int), descriptor of the file to copy to, -1 for none; quota, counts the bytes if it is set; size
    (int), bytes read so far.
    """

    def __init__(
        self,
        source: io.RawIOBase | io.BufferedIOBase,
        head: bytes = b"",
        on_read: Callable[[int], None] | None = None,
        *,
        digesting: bool = True,
    ) -> None:
        self.source = source
        self.head = head
        self.on_read = on_read
        self.copy = -1
        self.quota: Quota | None = None
        self.size = 0
        self._hash = hashlib.sha256() if digesting else None

    @property
    def digest(self) -> str:
        """The digest of all bytes read so far: "sha256:..."."""
        return f"sha256:{self._hash.hexdigest()}" if self._hash else ""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer)
        if self.head:
            count = min(len(self.head), len(view))
            view[:count], self.head = self.head[:count], self.head[count:]
        else:
            count = self.source.readinto(view) or 0
        if self._hash:
            self._hash.update(view[:count])
        self.size += count
        if self.copy >= 0:
            store.write_all(self.copy, view[:count])
        if self.on_read:
            self.on_read(count)
        if self.quota:
            self.quota.add_bytes(count)
        return count
