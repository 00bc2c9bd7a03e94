"""What an image has at a path, copied out of its layers: the first content of a new volume.

A volume that is mounted over `/var/lib/data` would hide what the image has there, so Docker copies that into the volume
before, if it is empty: with owners, modes, extended attributes, hard links, devices and fifos, links as links.

The layers are strangers' work. They are walked as one tree without a mount (see `tree`), and what is found is made
name by name in directories that are open (see `beneath`), so nothing in them can send a byte anywhere else.
"""

from __future__ import annotations

import errno
import os
import stat

from minirun import store
from minirun.errors import KernelError
from minirun.image.layer import metadata
from minirun.image.layer.beneath_fs import ConfinedRoot, Parts, fd_path
from minirun.image.snapshot.merged_tree import MergedTree
from minirun.image.snapshot.overlayfs import is_whiteout
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.image.snapshot.merged_tree import TreeEntry

_MOST = 1 << 30  # bytes, of one sendfile(2)


def copy_up(pile: Sequence[str], path: str, target: str) -> bool:
    """Copy what a container would see in a directory into another one.

    Arguments: pile, the directories of the container's root, top first (see `overlay.pile`); path (str), within it;
    target (str), an empty directory of ours, which gets the looks of that at `path` too.
    Returns: False when there is nothing at `path`. Errors: NotADirectoryError for a file; KernelError for a full disk.
    """
    with MergedTree(pile) as tree:
        level = tree.directory(os.fsencode(path))
        if level is None:
            return False
        copy = _Copy(target, len(level.parts))
        try:
            source, looks = tree.status(level)
            copy_metadata(source, fd_path(copy.ways.root), looks)
            copy.ways.set_time(copy.ways.root, looks.st_mtime_ns)
            for found in tree.walk(level):
                if not is_whiteout(found.status):
                    copy.add(found)
        except OSError as reason:
            raise KernelError(f"write {target}", reason.errno or 0, hint=store.disk_hint(reason)) from None
        finally:
            copy.ways.close()
    return True


def copy_metadata(source: str | bytes, target: str | bytes, status: os.stat_result) -> None:
    """Give `target` owner, mode and extended attributes of `source`; all but its times.

    Arguments: paths whose last part is not followed if it is a link, unless it is one of /proc; status, of `source`.
    """
    is_link = stat.S_ISLNK(status.st_mode)
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=not is_link)
    if not is_link:
        os.chmod(target, stat.S_IMODE(status.st_mode))
    for name, value in metadata.own_xattrs(source, follow_symlinks=not is_link).items():
        metadata.set_xattr(target, name, value, follow_symlinks=not is_link)


class _Copy:
    """A directory that is being filled. Arguments: target (str); depth (int), how deep the source is in its tree."""

    def __init__(self, target: str, depth: int) -> None:
        self.ways = ConfinedRoot(target)
        self.depth = depth
        self._names: dict[tuple[int, int], Parts] = {}  # of files that have several: device and inode → the first

    def add(self, found: TreeEntry) -> None:
        """One file or directory."""
        parts, status = found.parts[self.depth :], found.status
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            first = self._names.setdefault((status.st_dev, status.st_ino), parts)
            if first != parts:
                self._link(first, parts)
                return
        parent = self.ways.parent_of(parts)
        if stat.S_ISREG(status.st_mode):
            self._file(found, parent)
            return
        if stat.S_ISDIR(status.st_mode):
            os.mkdir(found.name, 0o700, dir_fd=parent)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(found.name, dir_fd=found.directory), found.name, dir_fd=parent)
        elif stat.S_ISSOCK(status.st_mode):
            return  # nobody listens there any more
        else:
            os.mknod(found.name, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev, dir_fd=parent)
        target = os.fsencode(fd_path(parent)) + b"/" + found.name
        copy_metadata(found.path, target, status)
        os.utime(target, ns=(status.st_mtime_ns,) * 2, follow_symlinks=False)

    def _link(self, first: Parts, parts: Parts) -> None:
        directory = self.ways.open(first[:-1])
        try:
            os.link(
                first[-1], parts[-1], src_dir_fd=directory, dst_dir_fd=self.ways.parent_of(parts), follow_symlinks=False
            )
        finally:
            os.close(directory)

    def _file(self, found: TreeEntry, parent: int) -> None:
        source = os.open(found.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=found.directory)
        try:
            target = os.open(
                found.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent
            )
            try:
                _copy_content(source, target, found.status.st_size)
                copy_metadata(fd_path(source), fd_path(target), found.status)
                os.utime(target, ns=(found.status.st_mtime_ns,) * 2)
            finally:
                os.close(target)
        finally:
            os.close(source)


def _copy_content(source: int, target: int, size: int) -> None:
    """From file to file inside the kernel (sendfile(2)); holes stay holes (lseek(2), SEEK_DATA)."""
    place = 0
    while place < size:
        try:
            place = os.lseek(source, place, os.SEEK_DATA)
        except OSError as reason:
            if reason.errno != errno.ENXIO:
                raise
            break  # nothing but a hole is left
        end = os.lseek(source, place, os.SEEK_HOLE)
        os.lseek(target, place, os.SEEK_SET)
        while place < end:
            count = os.sendfile(target, source, place, min(end - place, _MOST))
            if not count:
                raise OSError(errno.EIO, os.strerror(errno.EIO))  # shorter than the file system said
            place += count
    os.ftruncate(target, size)
