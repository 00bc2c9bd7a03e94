"""How large an image may become. Its compressed size does not tell: a megabyte of zstd may hold terabytes of zeros.

Three limits stop it, and no real image reaches any of them:

    max-image-size      bytes of its layers as plain tars (a key of the config file; default 1 TB, 0: no limit)
    max-image-files     entries of its layers (default ten million, 0: no limit)
    the disk            of the bytes and inodes that are free at the beginning, one twentieth stays free, for the
                        other programs that write to this file system
"""

from __future__ import annotations

import os

from minirun.errors import EngineError

SIZE, FILES = 10**12, 10**7
#: One part in so many of the free space is left alone.
RESERVED_SHARE = 20
#: statvfs(3) is called after each so many bytes, or entries.
_CHECK_BYTES, _CHECK_ENTRIES = 8 << 20, 1000


class Limits:
    """What the config file allows: `.size`, bytes, and `.files`; 0 for no limit."""

    __slots__ = ("files", "size")

    def __init__(self, size: int = SIZE, files: int = FILES) -> None:
        self.size, self.files = size, files


class Quota:
    """Counts what one image takes (`add_bytes`, `add_entry`) and raises EngineError when it is more than it may.

    Arguments: directory (str), on the file system that it is written to; limits.
    """

    def __init__(self, directory: str, limits: Limits) -> None:
        self.limits, self._directory = limits, directory
        self._size = self._files = self._checked = 0
        space, files = self._free()
        self._reserved = space // RESERVED_SHARE, files // RESERVED_SHARE

    def expect(self, count: int) -> None:
        """Refuse `count` bytes that are about to come if they cannot fit."""
        self._check_size(count)
        if count > self._free()[0] - self._reserved[0]:
            raise _full()

    def add_bytes(self, count: int) -> None:
        """Count bytes that came out of an archive."""
        self._size += count
        self._check_size(self._size)
        if self._size - self._checked >= _CHECK_BYTES:
            self._checked = self._size
            self._check_disk()

    def add_entry(self) -> None:
        """Count one file, directory or other entry of an archive."""
        self._files += 1
        if self.limits.files and self._files > self.limits.files:
            raise EngineError(f"more than {self.limits.files} files: max-image-files in the config file allows no more")
        if not self._files % _CHECK_ENTRIES:
            self._check_disk()

    def _check_size(self, size: int) -> None:
        if self.limits.size and size > self.limits.size:
            raise EngineError(
                f"more than {self.limits.size} bytes when unpacked: max-image-size in the config file allows no more"
            )

    def _free(self) -> tuple[int, int]:
        """Free bytes and inodes; some file systems (btrfs) do not count inodes."""
        found = os.statvfs(self._directory)
        return found.f_bavail * found.f_frsize, found.f_favail if found.f_files else 1 << 63

    def _check_disk(self) -> None:
        space, files = self._free()
        if space < self._reserved[0] or files < self._reserved[1]:
            raise _full()


def _full() -> EngineError:
    return EngineError("no space left on device: an image may take what is free, but for the last twentieth")
