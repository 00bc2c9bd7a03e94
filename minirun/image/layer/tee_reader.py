"""Bytes on their way from somewhere to somewhere else: counted, digested and copied while they pass."""

from __future__ import annotations

import hashlib
import io
import os

from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.image.quota import Quota

#: How many bytes are taken at once.
CHUNK = 256 * 1024


class TeeReader(io.RawIOBase):
    """Bytes that pass: counted (against `allowance`, if that is set), digested, and copied to a file when `copy` is a
    descriptor.

    Arguments: source, an object with `readinto`; head (bytes), what was read from it already; on_read, called with
    the number of bytes each time some have passed; digesting (bool), whether the digest will be asked for.
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
        """The digest of all that has passed: "sha256:..."."""
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
        rest = view[:count]
        while self.copy >= 0 and rest:
            rest = rest[os.write(self.copy, rest) :]
        if self.on_read:
            self.on_read(count)
        if self.quota:
            self.quota.add_bytes(count)
        return count
