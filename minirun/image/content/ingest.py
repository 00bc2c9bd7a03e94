"""An ingest (containerd's term): a private directory in which content is written until it is renamed into the store."""

from __future__ import annotations

import fcntl
import os
import struct

from minirun import rmtree, store
from minirun.image.content.gc import remove_stale_ingests
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from minirun.image.content.layout import Layout


#: ioctl_iflags(2): FS_IOC_GETFLAGS and FS_IOC_SETFLAGS. Their numbers name a long, the kernel reads and writes an int.
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS = 0x80086601, 0x40086602
FS_TOPDIR_FL = 0x00020000


class Ingest:
    """A directory under tmp/: `with Ingest(layout) as path: ...`.

    It is removed at the end; if the process was killed, the next ingest removes it. The process holds a flock(2) on
    the directory itself. The kernel releases that lock however the process ends, so no pid is stored that might
    belong to another process by the time it is looked at.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.path = f"{layout.root}/tmp/draft-{os.getpid()}-{os.urandom(4).hex()}"
        self.fd = -1

    def begin(self) -> str:
        """Make the directory and lock it. Returns: its path."""
        with self.layout.lock():  # between mkdir(2) and flock(2) it looks stale to other processes
            remove_stale_ingests(self.layout)
            spread_subdirectories(os.path.dirname(self.path))
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


def spread_subdirectories(directory: str) -> None:
    """Set FS_TOPDIR_FL (`chattr +T`) on a directory: ext4 then places its subdirectories in different block groups.

    Without the flag ext4 puts a directory into the block group of its parent, where also the inodes are that an `rmi`
    has just freed. ext4 does not reuse those for some minutes (a crash must not mix up two files), so each new file
    searches past all of them, and takes 1,500 µs instead of 30. File systems without the flag are left as they are.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = bytearray(8)
        fcntl.ioctl(fd, FS_IOC_GETFLAGS, flags)
        current = struct.unpack_from("i", flags)[0]
        if not current & FS_TOPDIR_FL:
            fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("q", current | FS_TOPDIR_FL))
    except OSError:  # tmpfs, overlayfs, XFS: ENOTTY or EOPNOTSUPP; the flag is only a hint to the allocator
        return
    finally:
        os.close(fd)
