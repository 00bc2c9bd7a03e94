"""Files become a tar again: what `export` writes, and the layer that `commit` makes (OCI image-spec, layer.md).

`tarfile` makes the headers (PAX, so that long names, large numbers and extended attributes have their place) and
nothing else, as in `stream`: it would remember each of a million entries. The contents go from file to tar inside the
kernel (sendfile(2)).

The same files give the same bytes: by name, owners as numbers, times in whole seconds, as Docker writes them. Holes
become zeros: the OCI wants no sparse entries, since not every reader knows them.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile

from minirun.errors import EngineError
from minirun.image.layer import metadata
from minirun.image.layer.apply import OPAQUE, WHITEOUT
from minirun.image.layer.metadata import XATTR
from minirun.image.sanitize import shown
from minirun.image.snapshot.merged_tree import MergedTree
from minirun.image.snapshot.overlayfs import is_whiteout
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.image.snapshot.merged_tree import TreeEntry


_KINDS = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}
_CHUNK, _MOST = 1 << 20, 1 << 30  # bytes, of one write(2) and one sendfile(2)


def write_tree(directories: Sequence[str], fd: int) -> None:
    """Write all that overlayfs would show of a pile of directories as a tar.

    Arguments: directories, top first; fd (int), where to: a file, a pipe.
    Errors: OSError of `fd` (a full disk, a closed pipe); KernelError for a file that cannot be read.
    """
    with MergedTree(directories) as tree:
        tar = _Tar(fd)
        for found in tree.walk():
            if not is_whiteout(found.status):
                tar.add(found)
        tar.end()


def write_layer(upper: str, fd: int) -> bool:
    """Write an upper directory of overlayfs as a layer. Returns: whether there was anything in it.

    Errors: as `write_tree`; EngineError for a file whose name would mean something else in a layer.
    """
    with MergedTree([upper]) as tree:
        tar = _Tar(fd)
        empty = True
        for found in tree.walk():
            empty = False
            if is_whiteout(found.status):
                tar.add_mark(found, b"/".join((*found.parts[:-1], WHITEOUT + found.name)))
                continue
            if found.name.startswith(WHITEOUT):
                raise EngineError(
                    f"{shown(_text(b'/'.join(found.parts)))}: a file whose name begins with .wh. cannot "
                    "be in a layer, where it means that another one is deleted"
                )
            tar.add(found)
            if found.opaque:
                tar.add_mark(found, b"/".join((*found.parts, OPAQUE)))
        tar.end()
    return not empty


class _Tar:
    """A tar that grows."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._headers = bytearray()  # not written yet
        self._names: dict[tuple[int, int], str] = {}  # of files that have several: device and inode → the first

    def add(self, found: TreeEntry) -> None:
        """One file or directory. Sockets have no place in a tar and are left out, as by Docker and GNU tar."""
        status = found.status
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return
        name = _text(b"/".join(found.parts))
        entry = _entry(name, status)
        entry.type = kind
        if status.st_nlink > 1 and kind != tarfile.DIRTYPE:
            first = self._names.setdefault((status.st_dev, status.st_ino), name)
            if first != name:
                entry.type, entry.linkname = tarfile.LNKTYPE, first
                self._add_header(entry)
                return
        try:
            entry.pax_headers = _xattrs(found)
            if kind == tarfile.REGTYPE:
                self._add_file(found, entry)
                return
            if kind == tarfile.SYMTYPE:
                entry.linkname = _text(os.readlink(found.name, dir_fd=found.directory))
        except FileNotFoundError:  # a running container has removed it
            return
        if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            entry.devmajor, entry.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
        self._add_header(entry)

    def add_mark(self, found: TreeEntry, name: bytes) -> None:
        """A whiteout, or the mark of an opaque directory: an empty file whose name says it all."""
        entry = _entry(_text(name), found.status)
        entry.mode = 0o600
        self._add_header(entry)

    def end(self) -> None:
        """Two blocks of zeros end a tar."""
        self._headers += bytes(2 * tarfile.BLOCKSIZE)
        self._flush()

    def _add_header(self, entry: tarfile.TarInfo) -> None:
        self._headers += entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        if len(self._headers) > _CHUNK:
            self._flush()

    def _add_file(self, found: TreeEntry, entry: tarfile.TarInfo) -> None:
        # O_PATH opens nothing: a running container may have put a device or a fifo here since we looked
        handle = os.open(found.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=found.directory)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                return
            source = os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(handle)
        try:
            entry.size = status.st_size
            self._add_header(entry)
            if entry.size:
                self._flush()
                self._copy(source, entry.size)
                self._headers += bytes(-entry.size % tarfile.BLOCKSIZE)
        finally:
            os.close(source)

    def _copy(self, source: int, size: int) -> None:
        """Exactly `size` bytes, whatever a running container makes of the file meanwhile."""
        while size:
            try:
                count = os.sendfile(self.fd, source, None, min(size, _MOST))
            except OSError as reason:
                if reason.errno != errno.EINVAL:
                    raise
                data = os.read(source, min(size, _CHUNK))  # `export >> FILE`: sendfile(2) does not append
                _write(self.fd, data)
                count = len(data)
            if not count:
                break
            size -= count
        while size:  # it has become shorter
            size -= os.write(self.fd, bytes(min(size, _CHUNK)))

    def _flush(self) -> None:
        _write(self.fd, self._headers)
        self._headers = bytearray()


def _write(fd: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _entry(name: str, status: os.stat_result) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode = stat.S_IMODE(status.st_mode)
    entry.uid, entry.gid = status.st_uid, status.st_gid
    entry.mtime = status.st_mtime_ns // 1_000_000_000
    return entry


def _xattrs(found: TreeEntry) -> dict[str, str]:
    """Its extended attributes as PAX headers (which have no way to write a "=" in a name)."""
    return {XATTR + name: _text(value) for name, value in metadata.own_xattrs(found.path).items() if "=" not in name}


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
