"""A place to make something in, out of everybody's sight, until it is renamed to where it belongs."""

from __future__ import annotations

import fcntl
import os
import struct

from minirun import rmtree, store
from minirun.image.content.gc import clear_ingests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.image.content.layout import Layout


#: ioctl_iflags(2): the numbers of FS_IOC_GETFLAGS and FS_IOC_SETFLAGS, of which the kernel writes and reads an int.
_GET, _SET = 0x80086601, 0x40086602
_UNRELATED = 0x00020000  # FS_TOPDIR_FL


class Ingest:
    """A directory under tmp/: `with Ingest(layout) as path: ...`.

    It is removed at the end, or when the next ingest is begun if its maker was killed.
    The maker holds a flock(2) on the directory itself: the kernel lets go of it when the process ends, however it
    ends, so nobody has to ask whether a pid is still the same process.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.path = f"{layout.root}/tmp/draft-{os.getpid()}-{os.urandom(4).hex()}"
        self.fd = -1

    def begin(self) -> str:
        """Make the directory and lock it. Returns: its path."""
        with self.layout.lock():  # between mkdir and flock it looks like a dead one
            clear_ingests(self.layout)
            place_apart(os.path.dirname(self.path))
            store.make_directory(self.path)
            self.fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self.fd, fcntl.LOCK_EX)
        return self.path

    def __enter__(self) -> str:
        return self.begin()

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Remove the directory with all that is still in it."""
        rmtree.remove_tree(self.path)
        os.close(self.fd)


def place_apart(directory: str) -> None:
    """Set FS_TOPDIR_FL (`chattr +T`) on a directory: ext4 then places its subdirectories in block groups of their own.

    ext4 puts a directory into the block group of its parent. Ingests have nothing to do with each other, and what lies
    near them is what an `rmi` has just removed. There each new file searches past every inode that was freed within the
    last minutes, because ext4 does not reuse those at once (a crash must not mix up two files): a file that takes 30 µs
    to make takes 1,500 µs. A file system without the flag is left as it is.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = bytearray(8)
        fcntl.ioctl(fd, _GET, flags)
        has = struct.unpack_from("i", flags)[0]
        if not has & _UNRELATED:
            fcntl.ioctl(fd, _SET, struct.pack("q", has | _UNRELATED))
    except OSError:  # tmpfs, overlayfs, XFS: ENOTTY or EOPNOTSUPP; it was only advice
        return
    finally:
        os.close(fd)
