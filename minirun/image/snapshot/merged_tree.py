"""A pile of directories as the one tree that overlayfs makes of it, walked without a mount.

    upper/   etc/motd (deleted)   etc/new            walk of the pile:    etc  etc/fstab  etc/new
    layer/   etc/motd             etc/fstab          walk of upper/ raw:  etc  etc/motd (character device 0:0)  etc/new

`export` walks the pile, a layer is made by a walk of the upper directory alone, `diff` does both at once. None of them
takes a mount, so a running container is read as it is, and nothing is left behind by whoever is killed.

What is read belongs to strangers and may change under our eyes. A directory is opened by its names beneath the
layer's own (openat2(2), no links), each time the walk comes to it: ten thousand levels take no more descriptors than
two do. What has gone meanwhile is left out.
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

#: As many as the kernel follows (path_resolution(7)).
_MOST_LINKS = 40
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE)


class MergedDirectory:
    """One directory of a tree. `.layers`, numbers of the layers that merge there, top first; `.above`, the directory
    it is in (None: it is the root), and `.name`, what it is called there."""

    __slots__ = ("above", "layers", "name")

    def __init__(self, above: MergedDirectory | None, name: bytes, layers: Sequence[int]) -> None:
        self.above, self.name, self.layers = above, name, layers

    @property
    def parts(self) -> Parts:
        """Its names from the root on. Ten thousand levels would have fifty million of them: nobody keeps them."""
        names, level = [], self
        while level.above:
            names.append(level.name)
            level = level.above
        return tuple(reversed(names))


class TreeEntry:
    """Something in a tree. `.level`, the directory it is in, and `.directory` (int), the same open, until the next step
    of the walk; `.name` (bytes), its own; `.status`, its lstat(2); `.opaque` (bool), a directory that hides what
    layers below have there."""

    __slots__ = ("directory", "level", "name", "opaque", "status")

    def __init__(self, level: MergedDirectory, name: bytes, directory: int, status: os.stat_result) -> None:
        self.level, self.name, self.directory, self.status = level, name, directory, status
        self.opaque = stat.S_ISDIR(status.st_mode) and self.attribute(OPAQUE) == b"y"

    @property
    def parts(self) -> Parts:
        """Its names from the root on."""
        return (*self.level.parts, self.name)

    @property
    def path(self) -> bytes:
        """By which the kernel finds it, for the calls that take no directory descriptor."""
        return os.fsencode(fd_path(self.directory)) + b"/" + self.name

    def attribute(self, name: str) -> bytes:
        """The value of an extended attribute, b"" if it has none."""
        try:
            return os.getxattr(self.path, name, follow_symlinks=False)
        except OSError as reason:
            if reason.errno in (errno.ENODATA, errno.EOPNOTSUPP, *_GONE):
                return b""
            raise


class MergedTree:
    """A pile of directories, top first; one that does not exist counts as empty. Close it at the end."""

    def __init__(self, directories: Sequence[str]) -> None:
        self._roots: list[int] = []
        for directory in directories:
            try:
                self._roots.append(os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            except FileNotFoundError:
                continue
        self.top = MergedDirectory(None, b"", range(len(self._roots)))
        self._open: dict[int, int] = {}  # of the level visited last: layer → descriptor
        self._open_level = self.top

    def close(self) -> None:
        """Let go of the descriptors."""
        self._leave()
        while self._roots:
            os.close(self._roots.pop())

    def __enter__(self) -> MergedTree:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def names(self, level: MergedDirectory) -> dict[bytes, int]:
        """What is in a directory: each name, whiteouts too, with the number of the highest layer that has it."""
        found: dict[bytes, int] = {}
        for layer in level.layers:
            handle = self._directory(level, layer)
            if handle < 0:
                continue
            for name in os.listdir(fd_path(handle)):
                found.setdefault(os.fsencode(name), layer)
        return found

    def look(self, level: MergedDirectory, name: bytes, layer: int) -> TreeEntry | None:
        """What one layer has under a name."""
        handle = self._directory(level, layer)
        try:
            return (
                None
                if handle < 0
                else TreeEntry(level, name, handle, os.stat(name, dir_fd=handle, follow_symlinks=False))
            )
        except OSError as reason:
            if reason.errno in _GONE:
                return None
            raise

    def find(self, level: MergedDirectory, name: bytes) -> TreeEntry | None:
        """What the tree has under a name: of the highest layer that has it, and nothing if that is a whiteout."""
        for layer in level.layers:
            found = self.look(level, name, layer)
            if found:
                return None if is_whiteout(found.status) else found
        return None

    def enter(self, level: MergedDirectory, name: bytes) -> MergedDirectory:
        """The directory of that name: as many layers merge in it as overlayfs would merge."""
        layers: list[int] = []
        for layer in level.layers:
            found = self.look(level, name, layer)
            if not found:
                continue
            if not stat.S_ISDIR(found.status.st_mode):
                break  # deleted here, or a file: what lies below is hidden
            layers.append(layer)
            if found.opaque:
                break
        return MergedDirectory(level, name, layers)

    def directory(self, path: bytes) -> MergedDirectory | None:
        """The directory that a path of the tree's leads to, links followed with the tree's root for `/`.

        Returns: None when nothing is there. Errors: NotADirectoryError; OSError (ELOOP) for one that leads in circles.
        """
        levels, names, links = [self.top], _reversed(path), 0
        while names:
            name = names.pop()
            if name == b"..":
                if levels[1:]:
                    levels.pop()
                continue
            found = self.find(levels[-1], name)
            if not found:
                return None
            if stat.S_ISDIR(found.status.st_mode):
                levels.append(self.enter(levels[-1], name))
                continue
            if not stat.S_ISLNK(found.status.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fsdecode(path))
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fsdecode(path))
            target = os.readlink(found.name, dir_fd=found.directory)
            names += _reversed(target)
            if target.startswith(b"/"):
                del levels[1:]
        return levels[-1]

    def status(self, level: MergedDirectory) -> tuple[str, os.stat_result]:
        """How a directory looks: a path by which the kernel finds it (see `Found.path`), and its stat(2)."""
        path = fd_path(self._directory(level, level.layers[0]))
        return path, os.stat(path)

    def walk(self, start: MergedDirectory | None = None) -> Iterator[TreeEntry]:
        """Everything below a directory (the root), a directory before what it holds, by name; whiteouts as such."""
        start = start or self.top
        ways = [(start, iter(sorted(self.names(start).items())))]
        while ways:
            level, names = ways[-1]
            for name, layer in names:
                found = self.look(level, name, layer)
                if not found:
                    continue
                yield found
                if stat.S_ISDIR(found.status.st_mode):
                    inner = self.enter(level, name)
                    ways.append((inner, iter(sorted(self.names(inner).items()))))
                    break
            else:
                ways.pop()

    def _directory(self, level: MergedDirectory, layer: int) -> int:
        """A descriptor of a level's directory in one of its layers, good until another level is visited; -1: gone."""
        if level is not self._open_level:
            above = self._open if level.above is self._open_level else {}
            near = {
                number: self._opened(handle, (level.name,))
                for number, handle in above.items()
                if number in level.layers and handle >= 0
            }  # from where we are it is one step
            self._leave()
            self._open, self._open_level = near, level
        if layer not in self._open:
            self._open[layer] = self._opened(self._roots[layer], level.parts)
        return self._open[layer]

    @staticmethod
    def _opened(start: int, parts: Parts) -> int:
        try:
            return open_directory(start, parts)
        except KernelError as error:
            if error.errno not in _GONE:
                raise
            return -1

    def _leave(self) -> None:
        for handle in self._open.values():
            if handle >= 0:
                os.close(handle)
        self._open.clear()


def _reversed(path: bytes) -> list[bytes]:
    """The names in a path, the first one last."""
    return [name for name in path.split(b"/")[::-1] if name not in (b"", b".")]
