"""Copies a directory of an image into a new volume (moby, CopyImagePathContent; Podman's "copy-up").

A volume mounted over `/var/lib/data` hides what the image has there. So Docker first copies that into the volume, if
the volume is empty: with owners, modes, extended attributes, hard links, devices, fifos and symbolic links.

The layers are untrusted input. They are read as a merged tree without a mount (minirun.image.snapshot.merged_tree), and
each file is created by its name in an open directory (minirun.image.layer.beneath_fs), so nothing is written outside
the volume.
"""

from __future__ import annotations

import errno
import os
import stat

from minirun import store
from minirun.image.layer import metadata
from minirun.image.layer.beneath_fs import ConfinedRoot, Parts, fd_path
from minirun.image.snapshot.merged_tree import MergedTree
from minirun.image.snapshot.overlayfs import is_whiteout
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.image.snapshot.merged_tree import TreeEntry

_SENDFILE_MAX = 1 << 30  # bytes, of one sendfile(2)


def copy_up(stack: Sequence[str], path: str, target: str) -> bool:
    """Copy a directory as a container would see it.

    Arguments: stack, the directories of the container's root, as `overlayfs.stack` returns them; path (str), within it;
    target (str), an empty directory, which gets the metadata of the one at `path` as well.
    Returns: False when there is nothing at `path`. Errors: NotADirectoryError for a file; KernelError for a full disk.
    """
    with MergedTree(stack) as tree:
        directory = tree.resolve(os.fsencode(path))
        if directory is None:
            return False
        copy = _Copier(target, len(directory.parts))
        try:
            with store.disk_errors(f"write {target}"):
                source, status = tree.stat(directory)
                copy_metadata(source, fd_path(copy.root.fd), status)
                copy.root.set_time(copy.root.fd, status.st_mtime_ns)
                for entry in tree.walk(directory):
                    if not is_whiteout(entry.status):
                        copy.add(entry)
        finally:
            copy.root.close()
    return True


def copy_metadata(source: str | bytes, target: str | bytes, status: os.stat_result) -> None:
    """Give `target` the owner, mode and extended attributes of `source`, but not its times.

    Arguments: source and target, paths; a symbolic link is not followed (except /proc/self/fd/N); status, of `source`.
    """
    is_link = stat.S_ISLNK(status.st_mode)
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=not is_link)
    if not is_link:
        os.chmod(target, stat.S_IMODE(status.st_mode))
    for name, value in metadata.own_xattrs(source, follow_symlinks=not is_link).items():
        metadata.set_xattr(target, name, value, follow_symlinks=not is_link)


class _Copier:
    """Writes the copy. Arguments: target (str); depth (int), the number of names in the source path."""

    def __init__(self, target: str, depth: int) -> None:
        self.root = ConfinedRoot(target)
        self.depth = depth
        self._hard_links: dict[tuple[int, int], Parts] = {}  # (device, inode) → the first name

    def add(self, entry: TreeEntry) -> None:
        """Copy one entry of the tree."""
        parts, status = entry.parts[self.depth :], entry.status
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            first = self._hard_links.setdefault((status.st_dev, status.st_ino), parts)
            if first != parts:
                self._link(first, parts)
                return
        parent = self.root.parent_of(parts)
        if stat.S_ISREG(status.st_mode):
            self._file(entry, parent)
            return
        if stat.S_ISDIR(status.st_mode):
            os.mkdir(entry.name, 0o700, dir_fd=parent)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(entry.name, dir_fd=entry.parent_fd), entry.name, dir_fd=parent)
        elif stat.S_ISSOCK(status.st_mode):
            return  # a socket file is of no use without its listener
        else:
            os.mknod(entry.name, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev, dir_fd=parent)
        target = os.fsencode(fd_path(parent)) + b"/" + entry.name
        copy_metadata(entry.path, target, status)
        os.utime(target, ns=(status.st_mtime_ns,) * 2, follow_symlinks=False)

    def _link(self, first: Parts, parts: Parts) -> None:
        directory = self.root.open(first[:-1])
        try:
            os.link(
                first[-1], parts[-1], src_dir_fd=directory, dst_dir_fd=self.root.parent_of(parts), follow_symlinks=False
            )
        finally:
            os.close(directory)

    def _file(self, entry: TreeEntry, parent: int) -> None:
        source = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=entry.parent_fd)
        try:
            target = os.open(
                entry.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent
            )
            try:
                _copy_content(source, target, entry.status.st_size)
                copy_metadata(fd_path(source), fd_path(target), entry.status)
                os.utime(target, ns=(entry.status.st_mtime_ns,) * 2)
            finally:
                os.close(target)
        finally:
            os.close(source)


def _copy_content(source: int, target: int, size: int) -> None:
    """Copy inside the kernel (sendfile(2)); holes stay holes (lseek(2), SEEK_DATA)."""
    place = 0
    while place < size:
        try:
            place = os.lseek(source, place, os.SEEK_DATA)
        except OSError as reason:
            if reason.errno != errno.ENXIO:
                raise
            break  # the rest is a hole
        end = os.lseek(source, place, os.SEEK_HOLE)
        os.lseek(target, place, os.SEEK_SET)
        while place < end:
            count = os.sendfile(target, source, place, min(end - place, _SENDFILE_MAX))
            if not count:
                raise OSError(errno.EIO, os.strerror(errno.EIO))  # the file has become shorter
            place += count
    os.ftruncate(target, size)
