"""Writes a tar of a directory tree: for `export`, and the layer that `commit` makes (OCI image-spec, layer.md).

`tarfile` makes the headers (PAX, for long names, large numbers and extended attributes) and nothing else: its TarFile
keeps every entry in memory. The contents are copied inside the kernel (sendfile(2)).

The same files give the same bytes: sorted by name, numeric owners, times in whole seconds, as Docker writes them. Holes
are written as zeros: image-spec has no sparse entries, because not every reader supports them.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile

from minirun import store
from minirun.errors import EngineError
from minirun.image.layer import metadata
from minirun.image.layer.apply import OPAQUE, WHITEOUT
from minirun.image.layer.metadata import XATTR
from minirun.image.sanitize import printable
from minirun.image.snapshot.merged_tree import MergedTree
from minirun.image.snapshot.overlayfs import is_whiteout
from minirun.image.snapshot.read_file import open_regular
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
_CHUNK, _SENDFILE_MAX = 1 << 20, 1 << 30  # bytes, of one write(2) and one sendfile(2)


def write_tree(directories: Sequence[str], fd: int) -> None:
    """Write a tar of a merged tree, as overlayfs would show it.

    Arguments: directories, top first; fd (int), the output: a file, a pipe.
    Errors: OSError of `fd` (a full disk, a closed pipe); KernelError for a file that cannot be read.
    """
    with MergedTree(directories) as tree:
        tar = _TarWriter(fd)
        for entry in tree.walk():
            if not is_whiteout(entry.status):
                tar.add(entry)
        tar.end()


def write_layer(upper: str, fd: int) -> bool:
    """Write the upper directory of an overlay as a layer, with whiteouts. Returns: whether it has any entries.

    Errors: as `write_tree`; EngineError for a file whose name would be a whiteout in a layer.
    """
    with MergedTree([upper]) as tree:
        tar = _TarWriter(fd)
        empty = True
        for entry in tree.walk():
            empty = False
            if is_whiteout(entry.status):
                tar.add_marker(entry, b"/".join((*entry.parts[:-1], WHITEOUT + entry.name)))
                continue
            if entry.name.startswith(WHITEOUT):
                raise EngineError(
                    f"{printable(_decode(b'/'.join(entry.parts)))}: a file whose name begins with .wh. cannot "
                    "be in a layer, where it means that another one is deleted"
                )
            tar.add(entry)
            if entry.opaque:
                tar.add_marker(entry, b"/".join((*entry.parts, OPAQUE)))
        tar.end()
    return not empty


class _TarWriter:
    """Writes tar entries to a descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._headers = bytearray()  # not written yet
        self._hard_links: dict[tuple[int, int], str] = {}  # (device, inode) → the first name

    def add(self, entry: TreeEntry) -> None:
        """Write one entry. A tar cannot hold sockets: they are left out, as by Docker and GNU tar."""
        status = entry.status
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return
        name = _decode(b"/".join(entry.parts))
        header = _header(name, status)
        header.type = kind
        if status.st_nlink > 1 and kind != tarfile.DIRTYPE:
            first = self._hard_links.setdefault((status.st_dev, status.st_ino), name)
            if first != name:
                header.type, header.linkname = tarfile.LNKTYPE, first
                self._add_header(header)
                return
        try:
            header.pax_headers = _xattrs(entry)
            if kind == tarfile.REGTYPE:
                self._add_file(entry, header)
                return
            if kind == tarfile.SYMTYPE:
                header.linkname = _decode(os.readlink(entry.name, dir_fd=entry.parent_fd))
        except FileNotFoundError:  # removed by the running container
            return
        if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            header.devmajor, header.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
        self._add_header(header)

    def add_marker(self, entry: TreeEntry, name: bytes) -> None:
        """Write a whiteout, or the marker of an opaque directory: an empty file with a special name."""
        header = _header(_decode(name), entry.status)
        header.mode = 0o600
        self._add_header(header)

    def end(self) -> None:
        """Write the end of the tar: two blocks of zeros."""
        self._headers += bytes(2 * tarfile.BLOCKSIZE)
        self._flush()

    def _add_header(self, header: tarfile.TarInfo) -> None:
        self._headers += header.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        if len(self._headers) > _CHUNK:
            self._flush()

    def _add_file(self, entry: TreeEntry, header: tarfile.TarInfo) -> None:
        source = open_regular(entry.name, entry.parent_fd)
        if source < 0:
            return
        try:
            header.size = os.fstat(source).st_size
            self._add_header(header)
            if header.size:
                self._flush()
                self._copy(source, header.size)
                self._headers += bytes(-header.size % tarfile.BLOCKSIZE)
        finally:
            os.close(source)

    def _copy(self, source: int, size: int) -> None:
        """Copy exactly `size` bytes, also when the running container changes the file's size meanwhile."""
        while size:
            try:
                count = os.sendfile(self.fd, source, None, min(size, _SENDFILE_MAX))
            except OSError as reason:
                if reason.errno != errno.EINVAL:
                    raise
                data = os.read(source, min(size, _CHUNK))  # `export >> FILE`: sendfile(2) refuses O_APPEND
                store.write_all(self.fd, data)
                count = len(data)
            if not count:
                break
            size -= count
        while size:  # the file has become shorter
            size -= os.write(self.fd, bytes(min(size, _CHUNK)))

    def _flush(self) -> None:
        store.write_all(self.fd, self._headers)
        self._headers = bytearray()


def _header(name: str, status: os.stat_result) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.mode = stat.S_IMODE(status.st_mode)
    header.uid, header.gid = status.st_uid, status.st_gid
    header.mtime = status.st_mtime_ns // 1_000_000_000
    return header


def _xattrs(entry: TreeEntry) -> dict[str, str]:
    """The extended attributes as PAX headers (in which a name cannot contain "=")."""
    return {XATTR + name: _decode(value) for name, value in metadata.own_xattrs(entry.path).items() if "=" not in name}


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
