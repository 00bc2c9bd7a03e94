"""Applies a layer: unpacks its tar into a directory for overlayfs (OCI image-spec, layer.md; containerd archive.Apply).

A layer is a tar of changes. A deletion is in it as a whiteout, an empty file with a special name, which becomes
overlayfs's own kind of whiteout (overlayfs in the kernel's documentation):

    etc/.wh.motd          character device 0:0 named etc/motd        etc/motd of the layers below is gone
    etc/.wh..wh..opq      trusted.overlay.opaque=y on etc            nothing of etc in the layers below is seen

The tar is untrusted input and we are root, so no path in it is resolved by an ordinary system call: the parent
directory is opened with openat2(2) (minirun.image.layer.beneath_fs), and the last name, which has no slash, is created
in that open directory by a call that does not follow links. As in Docker, absolute paths and symbolic links are
resolved inside the layer, and a path that leaves it with ".." is refused.
"""

from __future__ import annotations

import errno
import os
import stat

from minirun import rmtree, store
from minirun.errors import EngineError, KernelError
from minirun.image.layer import metadata
from minirun.image.layer.beneath_fs import ConfinedRoot, Parts, fd_path, split
from minirun.image.sanitize import printable
from minirun.image.snapshot import overlayfs
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable, Sequence

    from minirun.image.layer.tar_stream import TarReader

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
AUFS_METADATA = b".wh..wh."  # .wh..wh.plnk, .wh..wh.aufs and the like: AUFS's own files

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def apply_layer(entries: TarReader, directory: str, below: Sequence[str] = ()) -> int:
    """Unpack a layer.

    Arguments: entries, the tar; directory (str), an empty directory that no other process writes to; below, the layers
    under this one, top first: a parent directory without an entry of its own gets its owner and mode from there.
    Returns: the bytes of its files, as Docker counts the size of a layer.
    Errors: EngineError (a refused or damaged entry) and KernelError (the disk), with the entry's name; the caller
    removes what was unpacked until then. Nothing outside `directory` is changed in any case.
    """
    layer = _LayerWriter(directory, below)
    size = 0
    try:
        for entry in entries:
            try:
                layer.add(entry, entries)
            except OSError as reason:
                raise KernelError(
                    f"unpack {printable(entry.name)}", reason.errno or errno.EIO, hint=store.disk_hint(reason)
                ) from None
            except KernelError as error:
                raise KernelError(f"unpack {printable(entry.name)}", error.errno, hint=error.hint) from None
            except EngineError as error:
                raise EngineError(f"unpack {printable(entry.name)}: {error}") from None
            except (ValueError, OverflowError):
                raise EngineError(f"unpack {printable(entry.name)}: a number is out of range") from None
            size += _size(entry)
    finally:
        layer.root.close()
    return size


def _size(entry: tarfile.TarInfo) -> int:
    """The bytes that an entry counts for: st_size of a file, and of a symbolic link, the length of its target."""
    if entry.issym():
        return len(entry.linkname.encode("utf-8", "surrogateescape"))
    return entry.size if entry.isreg() else 0


class _LayerWriter:
    """Writes the entries of one layer."""

    def __init__(self, directory: str, below: Sequence[str]) -> None:
        self.root = ConfinedRoot(directory, below)

    def add(self, entry: tarfile.TarInfo, entries: TarReader) -> None:
        """Create one entry."""
        parts = split(entry.name)
        if not parts:
            if not entry.isdir():
                raise EngineError("the layer's root can only be a directory")
            return  # `/` stays root's and 0755, as in Docker: the archived directory may have been a home directory
        parent, name = self.root.parent_of(parts), parts[-1]
        if name.startswith(WHITEOUT):
            self._whiteout(parent, name)
        elif entry.isdir():
            self._directory(parent, name, entry)
        elif entry.isreg():
            self._file(parent, name, entry, entries)
        elif entry.islnk():
            self._hard_link(parent, parts, entry)
        else:
            self._special(parent, name, entry)

    # ---- one method for each kind of entry ---------------------------------------------------------------------

    def _directory(self, parent: int, name: bytes, entry: tarfile.TarInfo) -> None:
        opaque = False
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                opaque = overlayfs.is_whiteout(status)  # deleted and created again: the layers below must stay hidden
                _remove(parent, name)
                os.mkdir(name, 0o700, dir_fd=parent)
        self._set_directory_metadata(parent, name, entry)
        if opaque:
            _make_opaque(parent, name)

    def _set_directory_metadata(self, parent: int, name: bytes, entry: tarfile.TarInfo) -> None:
        fd = os.open(name, _OPEN, dir_fd=parent)
        try:
            metadata.apply_to_open(fd, entry)
            self.root.set_time(fd, metadata.mtime_ns(entry))
        finally:
            os.close(fd)

    def _file(self, parent: int, name: bytes, entry: tarfile.TarInfo, entries: TarReader) -> None:
        fd = _create(
            parent,
            name,
            lambda: os.open(
                name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent
            ),
        )
        try:
            for offset, data in entries.data(entry):
                while data:
                    written = os.pwrite(fd, data, offset)
                    offset, data = offset + written, data[written:]
            if entry.issparse():
                os.ftruncate(fd, entry.size)  # a hole at the end is not written
            metadata.apply_to_open(fd, entry)
        finally:
            os.close(fd)

    def _hard_link(self, parent: int, parts: Parts, entry: tarfile.TarInfo) -> None:
        source = split(entry.linkname)
        if source == parts:
            return  # `tar c a a` writes the second `a` as a hard link to itself
        if not source:
            raise EngineError("a hard link to a directory")
        directory = self.root.open(source[:-1])
        try:
            if stat.S_ISDIR(os.stat(source[-1], dir_fd=directory, follow_symlinks=False).st_mode):
                raise EngineError("a hard link to a directory")
            _create(
                parent,
                parts[-1],
                lambda: os.link(source[-1], parts[-1], src_dir_fd=directory, dst_dir_fd=parent, follow_symlinks=False),
            )
        finally:
            os.close(directory)
        # The inode has its owner, mode and xattrs already; chown(2) would clear its security.capability.

    def _special(self, parent: int, name: bytes, entry: tarfile.TarInfo) -> None:
        if entry.issym():
            target = entry.linkname.encode("utf-8", "surrogateescape")
            _create(parent, name, lambda: os.symlink(target, name, dir_fd=parent))
        elif entry.isdev():  # device nodes and fifos
            kind = stat.S_IFIFO if entry.isfifo() else stat.S_IFCHR if entry.ischr() else stat.S_IFBLK
            device = 0 if entry.isfifo() else os.makedev(entry.devmajor, entry.devminor)
            _create(parent, name, lambda: os.mknod(name, kind | 0o600, device, dir_fd=parent))
        else:
            raise EngineError(f"an entry of unknown type {entry.type!r}")
        metadata.apply_to_name(parent, name, entry)

    def _whiteout(self, parent: int, name: bytes) -> None:
        if name == OPAQUE:
            return _make_opaque(parent, b".")
        hidden = name[len(WHITEOUT) :]
        if name.startswith(AUFS_METADATA):
            return None
        if hidden in (b"", b".", b".."):
            raise EngineError("a whiteout for no name")
        try:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=parent)
        except FileExistsError:  # this layer has a new file there; of a directory the layers below must stay hidden
            if stat.S_ISDIR(os.stat(hidden, dir_fd=parent, follow_symlinks=False).st_mode):
                _make_opaque(parent, hidden)
        return None


def _create(parent: int, name: bytes, create: Callable[[], object]) -> int:
    """Create a file; what an earlier entry has created under the same name is removed."""
    try:
        return create()  # type: ignore[return-value]
    except FileExistsError:
        _remove(parent, name)
        return create()  # type: ignore[return-value]


def _remove(parent: int, name: bytes) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except IsADirectoryError:
        rmtree.remove_tree(f"{fd_path(parent)}/{os.fsdecode(name)}")


def _make_opaque(parent: int, name: bytes) -> None:
    fd = os.open(name, _OPEN, dir_fd=parent)
    try:
        os.setxattr(fd, overlayfs.OPAQUE, b"y")
    finally:
        os.close(fd)
