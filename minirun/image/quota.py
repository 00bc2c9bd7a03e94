"""How large an image may become. Nobody can tell beforehand: a megabyte of zstd may stand for terabytes of zeros.

Three things end it, and a real image meets none of them:

    max-image-size      bytes of its layers as plain tars (a key of the config file; 1 TB if it says nothing, 0: any)
    max-image-files     entries of its layers (ten million)
    the disk            of what is free there in the beginning, bytes and inodes, the last twentieth stays free: who
                        else writes there should not be the one who pays for it
"""

from __future__ import annotations

import os

from minirun.errors import EngineError

SIZE, FILES = 10**12, 10**7
#: One part in so many stays free.
SPARED = 20
#: How often the disk is looked at: after so many bytes, or so many entries.
_BYTES, _ENTRIES = 8 << 20, 1000


class Limits:
    """What the config file allows: `.size`, bytes, and `.files`; 0 for any."""

    __slots__ = ("files", "size")

    def __init__(self, size: int = SIZE, files: int = FILES) -> None:
        self.size, self.files = size, files


class Allowance:
    """What one image may still take: `passed` and `entry` count, and raise EngineError when it is too much.

    Arguments: directory (str), where it goes; limits.
    """

    def __init__(self, directory: str, limits: Limits) -> None:
        self.limits, self._directory = limits, directory
        self._size = self._files = self._seen = 0
        space, files = self._free()
        self._spared = space // SPARED, files // SPARED

    def expect(self, count: int) -> None:
        """So many bytes are about to come: refuse them before they do."""
        self._check_size(count)
        if count > self._free()[0] - self._spared[0]:
            raise _full()

    def passed(self, count: int) -> None:
        """So many bytes have come out of an archive."""
        self._size += count
        self._check_size(self._size)
        if self._size - self._seen >= _BYTES:
            self._seen = self._size
            self._look()

    def entry(self) -> None:
        """One more file, directory or whatever has come."""
        self._files += 1
        if self.limits.files and self._files > self.limits.files:
            raise EngineError(f"more than {self.limits.files} files: max-image-files in the config file allows no more")
        if not self._files % _ENTRIES:
            self._look()

    def _check_size(self, size: int) -> None:
        if self.limits.size and size > self.limits.size:
            raise EngineError(
                f"more than {self.limits.size} bytes when unpacked: max-image-size in the config file allows no more"
            )

    def _free(self) -> tuple[int, int]:
        """Bytes and inodes; some file systems (btrfs) have no number of inodes."""
        found = os.statvfs(self._directory)
        return found.f_bavail * found.f_frsize, found.f_favail if found.f_files else 1 << 63

    def _look(self) -> None:
        space, files = self._free()
        if space < self._spared[0] or files < self._spared[1]:
            raise _full()


def _full() -> EngineError:
    return EngineError("no space left on device: an image may take what is free, but for the last twentieth")
