"""Path resolution that cannot leave a directory: openat2(2) and its RESOLVE_ flags.

An untrusted path is dangerous while the kernel resolves it: `a/b` is somewhere else when `a` is a symbolic link to
`/etc`, and a check beforehand does not help, because the link can be made after the check. openat2(2) resolves and
confines in one call: with RESOLVE_IN_ROOT an open directory is `/` for this resolution, so `..` stops there and
absolute links start there; RESOLVE_NO_MAGICLINKS refuses the links in /proc, which lead anywhere.
"""

from __future__ import annotations

import errno
import os
import stat

from minirun.errors import EngineError, KernelError
from minirun.image.layer import metadata
from minirun.image.snapshot import overlayfs
from minirun.kernel import syscalls
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: The names in a path; () is the root itself.
Parts = tuple  # of bytes

_DIRECTORY = os.O_PATH | os.O_DIRECTORY
_CONFINED = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_STRICT = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
_PATH_MAX = 4000  # bytes; one call takes a path of at most 4095 (PATH_MAX)


def split(name: str) -> Parts:
    """The names in the path of a tar entry, as bytes, () for the root. A leading slash is ignored.

    Errors: EngineError for a path that leaves the root with "..".
    """
    raw = name.encode("utf-8", "surrogateescape")
    if b"\0" in raw:
        raise EngineError("the name has a zero byte")
    parts: list[bytes] = []
    for part in raw.split(b"/"):
        if part == b"..":
            if not parts:
                raise EngineError("the name leads out of the layer")
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return tuple(parts)


class ConfinedRoot:
    """A directory in which files are created by untrusted paths; no path leaves it (as Go's os.Root).

    Creating a file changes the modification time of its directory. So the time of the current directory is noted when
    it is entered and set again when it is left; nothing is stored for the others, of which there may be a million.

    Arguments: directory (str), which no other process changes meanwhile; below, the layers that overlayfs will have
    under it, top first: a missing parent directory that has to be made gets its metadata from there.
    Attributes: fd (int), its descriptor (O_PATH).
    """

    def __init__(self, directory: str, below: Sequence[str] = ()) -> None:
        self.fd = os.open(directory, _DIRECTORY | os.O_CLOEXEC)
        self.below = below
        self._set_metadata(self.fd, ())
        # A tar is written directory by directory, so the next entry is most often in the same one.
        self._enter(os.dup(self.fd), ())

    def close(self) -> None:
        """Leave the current directory and close all descriptors."""
        self._leave()
        os.close(self.fd)

    def parent_of(self, parts: Parts) -> int:
        """The open parent directory of the path `parts`; missing parents are made.

        The caller must not close the descriptor; it is valid until the next call.
        """
        path = parts[:-1]
        if path != self._current_parts:
            try:
                fd = self._open_near(path)
            except KernelError as error:
                if error.errno != errno.ENOENT:
                    raise
                fd = self._make_directories(path)
            self._leave()
            self._enter(fd, path)
        return self._current

    def open(self, parts: Parts) -> int:
        """A new descriptor (O_PATH) of the directory `parts`, which must exist; the caller closes it."""
        return open_directory(self.fd, parts, links=True)

    def set_time(self, directory: int, ns: int) -> None:
        """Set the modification time of an open directory, ns since 1970; if it is the current one, it keeps it."""
        metadata.set_time(fd_path(directory), ns)
        if os.path.samestat(os.fstat(directory), self._current_stat):
            self._current_mtime = ns

    def _enter(self, fd: int, parts: Parts) -> None:
        self._current, self._current_parts = fd, parts
        self._current_stat = os.fstat(fd)
        self._current_mtime = self._current_stat.st_mtime_ns

    def _leave(self) -> None:
        metadata.set_time(fd_path(self._current), self._current_mtime)
        os.close(self._current)

    def _open_near(self, path: Parts) -> int:
        """`open` in one step when it is a child of the current directory: else ten thousand levels cost the square."""
        if path and path[:-1] == self._current_parts:
            try:
                return syscalls.openat2(self._current, os.fsdecode(path[-1]), _DIRECTORY, 0, _STRICT)
            except KernelError as error:
                if error.errno != errno.ELOOP:  # a symbolic link must be resolved from the root
                    raise
        return self.open(path)

    def _make_directories(self, parts: Parts) -> int:
        fd = os.dup(self.fd)
        for depth, part in enumerate(parts, 1):
            try:
                created = _mkdir(fd, part)
                is_link = stat.S_ISLNK(os.stat(part, dir_fd=fd, follow_symlinks=False).st_mode)
                next_fd = (
                    self.open(parts[:depth])
                    if is_link
                    else syscalls.openat2(fd, os.fsdecode(part), _DIRECTORY, 0, _STRICT)
                )
            finally:
                os.close(fd)
            fd = next_fd
            if created:
                self._set_metadata(fd, parts[:depth])
        return fd

    def _set_metadata(self, fd: int, parts: Parts) -> None:
        """Set owner, mode and time of a directory without a tar entry: as in the layers below, else root's and 0755."""
        status = overlayfs.lstat(self.below, parts)
        path = fd_path(fd)
        if status and stat.S_ISDIR(status.st_mode):
            os.chown(path, status.st_uid, status.st_gid)
            os.chmod(path, stat.S_IMODE(status.st_mode))
            metadata.set_time(path, status.st_mtime_ns)
        else:
            os.chmod(path, 0o755)


def open_directory(root: int, parts: Parts, *, links: bool = False) -> int:
    """A new descriptor (O_PATH) of a directory beneath the open directory `root`, however deep; the caller closes it.

    Arguments: links (bool), follow symbolic links, with `root` for `/`; else they are an error (ELOOP).
    Errors: KernelError; ENOENT, ENOTDIR and ELOOP mean that there is no such directory.
    """
    fd, how = os.dup(root), _CONFINED if links else _STRICT
    for piece in _path_chunks(parts):
        try:
            next_fd = syscalls.openat2(fd, os.fsdecode(piece), _DIRECTORY, 0, how)
        finally:
            os.close(fd)
        # Links are followed in the first chunk only: in a later one `/` would be a directory in the middle.
        fd, how = next_fd, _STRICT
    return fd


def _mkdir(parent: int, name: bytes) -> bool:
    """Make a directory; its parent keeps its modification time. Returns: False when the name exists."""
    before = os.fstat(parent).st_mtime_ns
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        return False
    metadata.set_time(fd_path(parent), before)
    return True


def fd_path(fd: int) -> str:
    """A path through /proc/self/fd, for the system calls that take no O_PATH descriptor."""
    return f"/proc/self/fd/{fd}"


def _path_chunks(parts: Parts) -> Iterator[bytes]:
    """The path in chunks that are short enough for one system call."""
    piece = b""
    for part in parts:
        if piece and len(piece) + len(part) >= _PATH_MAX:
            yield piece
            piece = b""
        piece = piece + b"/" + part if piece else part
    if piece:
        yield piece
