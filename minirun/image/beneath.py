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
from minirun.image import attributes, overlay
from minirun.kernel import syscalls

TYPE_CHECKING = False
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


class Beneath:
    """An open directory and the ways inside it.

    Arguments: directory (str), one that nobody else changes meanwhile; below, the directories that overlayfs will put
    under it, top first: a directory that has to be made without being told how gets its looks from there.
    Attributes: root (int), its descriptor; times, {parts: ns}, what `set_times` sets directories to.
    """

    def __init__(self, directory: str, below: Sequence[str] = ()) -> None:
        self.root = os.open(directory, _DIRECTORY | os.O_CLOEXEC)
        self.below = below
        self.times: dict[Parts, int] = {}
        # A tar goes directory by directory, so the last one opened is most often the next one wanted.
        self._last = self.root
        self._last_parts: Parts = ()
        self._dress(self.root, ())

    def close(self) -> None:
        """Let go of the descriptors."""
        if self._last != self.root:
            os.close(self._last)
        os.close(self.root)

    def parent_of(self, parts: Parts) -> int:
        """The open directory that the last of `parts` is in; directories that are missing on the way are made.

        The descriptor stays ours and is good until the next call.
        """
        wanted = parts[:-1]
        if wanted != self._last_parts:
            try:
                handle = self.open(wanted)
            except KernelError as error:
                if error.errno != errno.ENOENT:
                    raise
                handle = self._make_way(wanted)
            if self._last != self.root:
                os.close(self._last)
            self._last, self._last_parts = handle, wanted
        return self._last

    def open(self, parts: Parts) -> int:
        """A new descriptor (O_PATH) of the directory `parts`, which must exist; the caller closes it."""
        return open_directory(self.root, parts, links=True)

    def set_times(self) -> None:
        """Set the directories' times, at the end, because filling a directory changes it.

        One that has become something else since is left out.
        """
        for parts, ns in self.times.items():
            try:
                handle = self.open(parts)
            except KernelError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    continue
                raise
            attributes.set_time(by_descriptor(handle), ns)
            os.close(handle)

    def _make_way(self, parts: Parts) -> int:
        handle = os.dup(self.root)
        for depth, part in enumerate(parts, 1):
            try:
                os.mkdir(part, 0o700, dir_fd=handle)
                made = True
            except FileExistsError:
                made = False
            try:
                is_link = stat.S_ISLNK(os.stat(part, dir_fd=handle, follow_symlinks=False).st_mode)
                deeper = self.open(parts[:depth]) if is_link else syscalls.openat2(
                    handle, os.fsdecode(part), _DIRECTORY, 0, _STRICT)
            finally:
                os.close(handle)
            handle = deeper
            if made:
                self._dress(handle, parts[:depth])
        return handle

    def _dress(self, handle: int, parts: Parts) -> None:
        """Owner, mode and time of a directory nobody described: as in the layers below, else root's and 0755."""
        status = overlay.status(self.below, parts)
        mode = 0o755
        if status and stat.S_ISDIR(status.st_mode):
            mode = stat.S_IMODE(status.st_mode)
            os.chown(by_descriptor(handle), status.st_uid, status.st_gid)
            self.times[parts] = status.st_mtime_ns
        os.chmod(by_descriptor(handle), mode)


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


def by_descriptor(fd: int) -> str:
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
