"""Layers as the merged tree that overlayfs makes of them, read without a mount.

    upper/   etc/motd (whiteout)  etc/new            merged:       etc  etc/fstab  etc/new
    layer/   etc/motd             etc/fstab          upper alone:  etc  etc/motd (character device 0:0)  etc/new

`export` walks the merged tree, a layer is made by a walk of the upper directory alone, `diff` does both at once. None
of them needs a mount, so a running container can be read, and a killed process leaves nothing mounted.

The content is untrusted, and may change during the walk. Each directory is opened by its names beneath the layer's
root (openat2(2), no symbolic links) whenever the walk comes to it, so ten thousand levels take no more descriptors than
two. What disappears meanwhile is left out.
"""

from __future__ import annotations

import errno
import os
import stat

from minirun.errors import KernelError
from minirun.image.layer.beneath_fs import Parts, fd_path, open_directory
from minirun.image.snapshot.overlayfs import OPAQUE, is_whiteout
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: The kernel follows as many (path_resolution(7)).
MAX_SYMLINKS = 40
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE)


class MergedDirectory:
    """A directory of a merged tree.

    Attributes: parent (MergedDirectory, None for the root); name (bytes), in its parent; layers, the numbers of the
    layers whose directories are merged here, top first.
    """

    __slots__ = ("layers", "name", "parent")

    def __init__(self, parent: MergedDirectory | None, name: bytes, layers: Sequence[int]) -> None:
        self.parent, self.name, self.layers = parent, name, layers

    @property
    def parts(self) -> Parts:
        """Its path from the root, as names; not stored, for ten thousand levels would have fifty million of them."""
        names, directory = [], self
        while directory.parent:
            names.append(directory.name)
            directory = directory.parent
        return tuple(reversed(names))


class TreeEntry:
    """A file, directory, link ... of a merged tree.

    Attributes: parent (MergedDirectory); parent_fd (int), the parent open in the entry's layer, valid until the next
    step of the walk; name (bytes); status, its lstat(2); opaque (bool), a directory that hides the layers below.
    """

    __slots__ = ("name", "opaque", "parent", "parent_fd", "status")

    def __init__(self, parent: MergedDirectory, name: bytes, parent_fd: int, status: os.stat_result) -> None:
        self.parent, self.name, self.parent_fd, self.status = parent, name, parent_fd, status
        self.opaque = stat.S_ISDIR(status.st_mode) and self.xattr(OPAQUE) == b"y"

    @property
    def parts(self) -> Parts:
        """Its path from the root, as names."""
        return (*self.parent.parts, self.name)

    @property
    def path(self) -> bytes:
        """A path through /proc/self/fd, for the system calls without a directory descriptor."""
        return os.fsencode(fd_path(self.parent_fd)) + b"/" + self.name

    def xattr(self, name: str) -> bytes:
        """The value of an extended attribute, b"" if it has none."""
        try:
            return os.getxattr(self.path, name, follow_symlinks=False)
        except OSError as reason:
            if reason.errno in (errno.ENODATA, errno.EOPNOTSUPP, *_GONE):
                return b""
            raise


class MergedTree:
    """Layers merged as overlayfs would: `with MergedTree(directories) as tree: ...`.

    Arguments: directories, top first; one that does not exist counts as empty.
    """

    def __init__(self, directories: Sequence[str]) -> None:
        self._roots: list[int] = []
        for directory in directories:
            try:
                self._roots.append(os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            except FileNotFoundError:
                continue
        self.root = MergedDirectory(None, b"", range(len(self._roots)))
        self._open: dict[int, int] = {}  # of the directory visited last: layer → descriptor, -1 if it is gone
        self._open_directory = self.root

    def close(self) -> None:
        """Close all descriptors."""
        self._close_open()
        while self._roots:
            os.close(self._roots.pop())

    def __enter__(self) -> MergedTree:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def list(self, directory: MergedDirectory) -> dict[bytes, int]:
        """The names in a directory, whiteouts included, each with the number of the highest layer that has it."""
        found: dict[bytes, int] = {}
        for layer in directory.layers:
            fd = self._fd(directory, layer)
            if fd < 0:
                continue
            for name in os.listdir(fd_path(fd)):
                found.setdefault(os.fsencode(name), layer)
        return found

    def lookup_in(self, directory: MergedDirectory, name: bytes, layer: int) -> TreeEntry | None:
        """The entry of that name in one layer, a whiteout as such; None when there is none."""
        fd = self._fd(directory, layer)
        if fd < 0:
            return None
        try:
            return TreeEntry(directory, name, fd, os.stat(name, dir_fd=fd, follow_symlinks=False))
        except OSError as reason:
            if reason.errno in _GONE:
                return None
            raise

    def lookup(self, directory: MergedDirectory, name: bytes) -> TreeEntry | None:
        """The entry of that name in the highest layer that has one; None when there is none, or a whiteout."""
        for layer in directory.layers:
            found = self.lookup_in(directory, name, layer)
            if found:
                return None if is_whiteout(found.status) else found
        return None

    def child(self, directory: MergedDirectory, name: bytes) -> MergedDirectory:
        """The subdirectory of that name, merged from as many layers as overlayfs merges."""
        layers: list[int] = []
        for layer in directory.layers:
            found = self.lookup_in(directory, name, layer)
            if not found:
                continue
            if not stat.S_ISDIR(found.status.st_mode):
                break  # a whiteout or a file: it hides the layers below
            layers.append(layer)
            if found.opaque:
                break
        return MergedDirectory(directory, name, layers)

    def resolve(self, path: bytes) -> MergedDirectory | None:
        """The directory at a path; symbolic links are followed, with the tree's root for `/`.

        Returns: None when nothing is there. Errors: NotADirectoryError; OSError (ELOOP) for too many links.
        """
        ancestors, names, links = [self.root], _reversed(path), 0
        while names:
            name = names.pop()
            if name == b"..":
                if ancestors[1:]:
                    ancestors.pop()
                continue
            found = self.lookup(ancestors[-1], name)
            if not found:
                return None
            if stat.S_ISDIR(found.status.st_mode):
                ancestors.append(self.child(ancestors[-1], name))
                continue
            if not stat.S_ISLNK(found.status.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fsdecode(path))
            links += 1
            if links > MAX_SYMLINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fsdecode(path))
            target = os.readlink(found.name, dir_fd=found.parent_fd)
            names += _reversed(target)
            if target.startswith(b"/"):
                del ancestors[1:]
        return ancestors[-1]

    def stat(self, directory: MergedDirectory) -> tuple[str, os.stat_result]:
        """A path to a directory through /proc/self/fd (see `TreeEntry.path`), and its stat(2)."""
        path = fd_path(self._fd(directory, directory.layers[0]))
        return path, os.stat(path)

    def walk(self, start: MergedDirectory | None = None) -> Iterator[TreeEntry]:
        """All entries below a directory (default: the root), whiteouts included; parents first, then by name."""
        start = start or self.root
        pending = [(start, iter(sorted(self.list(start).items())))]
        while pending:
            directory, names = pending[-1]
            for name, layer in names:
                found = self.lookup_in(directory, name, layer)
                if not found:
                    continue
                yield found
                if stat.S_ISDIR(found.status.st_mode):
                    inner = self.child(directory, name)
                    pending.append((inner, iter(sorted(self.list(inner).items()))))
                    break
            else:
                pending.pop()

    def _fd(self, directory: MergedDirectory, layer: int) -> int:
        """A descriptor of a directory in one layer, valid until another directory is visited; -1 if it is gone."""
        if directory is not self._open_directory:
            # Most often the walk has just entered it from its parent: then it is opened from there, in one step.
            parents = self._open if directory.parent is self._open_directory else {}
            opened = {
                number: self._open_below(fd, (directory.name,))
                for number, fd in parents.items()
                if number in directory.layers and fd >= 0
            }
            self._close_open()
            self._open, self._open_directory = opened, directory
        if layer not in self._open:
            self._open[layer] = self._open_below(self._roots[layer], directory.parts)
        return self._open[layer]

    @staticmethod
    def _open_below(start: int, parts: Parts) -> int:
        try:
            return open_directory(start, parts)
        except KernelError as error:
            if error.errno not in _GONE:
                raise
            return -1

    def _close_open(self) -> None:
        for fd in self._open.values():
            if fd >= 0:
                os.close(fd)
        self._open.clear()


def _reversed(path: bytes) -> list[bytes]:
    """The names in a path, the last one first."""
    return [name for name in path.split(b"/")[::-1] if name not in (b"", b".")]
