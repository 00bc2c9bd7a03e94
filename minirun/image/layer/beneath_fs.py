"""A directory that nothing can lead out of: openat2(2) and its RESOLVE_ flags.

A path from a stranger is dangerous in the moment the kernel walks along it: `a/b` is somewhere else when `a` is a
symbolic link to `/etc`, and no check beforehand helps, for the check is a walk too. openat2(2) walks and confines in
one call: with RESOLVE_IN_ROOT an open directory is `/` for that walk, so `..` stops there, absolute links start
there, and links into /proc (RESOLVE_NO_MAGICLINKS), which could jump anywhere, end the walk with an error.
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

#: A name taken apart; () is the directory itself.
Parts = tuple  # of bytes

_DIRECTORY = os.O_PATH | os.O_DIRECTORY
_CONFINED = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_STRICT = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
_PATH_MAX = 4000  # bytes; the kernel takes no path of more than 4095 in one call


def split(name: str) -> Parts:
    """The parts of a name from a tar, as bytes, () for the root. A leading slash means the root too.

    Errors: EngineError for a name that leads out.
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
    """An open directory and the ways inside it.

    To fill a directory changes its time. So each keeps the time that it had before it was entered: it is set again
    when the directory is left, and nothing has to be remembered of a million of them.

    Arguments: directory (str), one that nobody else changes meanwhile; below, the directories that overlayfs will put
    under it, top first: a directory that has to be made without being told how gets its looks from there.
    Attributes: root (int), its descriptor.
    """

    def __init__(self, directory: str, below: Sequence[str] = ()) -> None:
        self.root = os.open(directory, _DIRECTORY | os.O_CLOEXEC)
        self.below = below
        self._dress(self.root, ())
        # A tar goes directory by directory, so the last one opened is most often the next one wanted.
        self._enter(os.dup(self.root), ())

    def close(self) -> None:
        """Leave the last directory, and let go of the descriptors."""
        self._leave()
        os.close(self.root)

    def parent_of(self, parts: Parts) -> int:
        """The open directory that the last of `parts` is in; directories that are missing on the way are made.

        The descriptor stays ours and is good until the next call.
        """
        wanted = parts[:-1]
        if wanted != self._last_parts:
            try:
                handle = self._one_deeper(wanted)
            except KernelError as error:
                if error.errno != errno.ENOENT:
                    raise
                handle = self._make_way(wanted)
            self._leave()
            self._enter(handle, wanted)
        return self._last

    def open(self, parts: Parts) -> int:
        """A new descriptor (O_PATH) of the directory `parts`, which must exist; the caller closes it."""
        return open_directory(self.root, parts, links=True)

    def set_time(self, directory: int, ns: int) -> None:
        """Set the time of an open directory, in ns since 1970; of the one that is being filled, when it is left."""
        metadata.set_time(fd_path(directory), ns)
        if os.path.samestat(os.fstat(directory), self._before):
            self._time = ns

    def _enter(self, handle: int, parts: Parts) -> None:
        self._last, self._last_parts = handle, parts
        self._before = os.fstat(handle)
        self._time = self._before.st_mtime_ns

    def _leave(self) -> None:
        metadata.set_time(fd_path(self._last), self._time)
        os.close(self._last)

    def _one_deeper(self, wanted: Parts) -> int:
        """The same as `open`, quicker where it is one step from the last one: ten thousand levels are as many steps."""
        if wanted and wanted[:-1] == self._last_parts:
            try:
                return syscalls.openat2(self._last, os.fsdecode(wanted[-1]), _DIRECTORY, 0, _STRICT)
            except KernelError as error:
                if error.errno != errno.ELOOP:  # a link: where it leads is a matter of the root
                    raise
        return self.open(wanted)

    def _make_way(self, parts: Parts) -> int:
        handle = os.dup(self.root)
        for depth, part in enumerate(parts, 1):
            try:
                made = _made(handle, part)
                is_link = stat.S_ISLNK(os.stat(part, dir_fd=handle, follow_symlinks=False).st_mode)
                deeper = (
                    self.open(parts[:depth])
                    if is_link
                    else syscalls.openat2(handle, os.fsdecode(part), _DIRECTORY, 0, _STRICT)
                )
            finally:
                os.close(handle)
            handle = deeper
            if made:
                self._dress(handle, parts[:depth])
        return handle

    def _dress(self, handle: int, parts: Parts) -> None:
        """Owner, mode and time of a directory nobody described: as in the layers below, else root's and 0755."""
        status = overlayfs.status(self.below, parts)
        path = fd_path(handle)
        if status and stat.S_ISDIR(status.st_mode):
            os.chown(path, status.st_uid, status.st_gid)
            os.chmod(path, stat.S_IMODE(status.st_mode))
            metadata.set_time(path, status.st_mtime_ns)
        else:
            os.chmod(path, 0o755)


def open_directory(root: int, parts: Parts, *, links: bool = False) -> int:
    """A new descriptor (O_PATH) of a directory beneath the open directory `root`, however deep; the caller closes it.

    Arguments: links (bool), follow links on the way, with `root` for `/`; else they end it.
    Errors: KernelError, of which ENOENT, ENOTDIR and ELOOP say that there is no such directory.
    """
    handle, how = os.dup(root), _CONFINED if links else _STRICT
    for piece in _pieces(parts):
        try:
            deeper = syscalls.openat2(handle, os.fsdecode(piece), _DIRECTORY, 0, how)
        finally:
            os.close(handle)
        # Only the first piece may have links in it: a later one would take a directory in the middle for `/`.
        handle, how = deeper, _STRICT
    return handle


def _made(parent: int, name: bytes) -> bool:
    """Make a directory, whose parent keeps its time; False when there is something of that name."""
    before = os.fstat(parent).st_mtime_ns
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        return False
    metadata.set_time(fd_path(parent), before)
    return True


def fd_path(fd: int) -> str:
    """A path to what a descriptor stands for, for the calls that take no O_PATH descriptor."""
    return f"/proc/self/fd/{fd}"


def _pieces(parts: Parts) -> Iterator[bytes]:
    """The path in pieces short enough for the kernel."""
    piece = b""
    for part in parts:
        if piece and len(piece) + len(part) >= _PATH_MAX:
            yield piece
            piece = b""
        piece = piece + b"/" + part if piece else part
    if piece:
        yield piece
