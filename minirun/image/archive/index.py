"""Indexes an archive of images: name of each member → its position. Nothing is unpacked.

`docker save` writes manifest.json last, and layers may be links to each other; so all of an archive is needed before
it can be interpreted. A compressed one, or one from a pipe, is first written to a file in the ingest; a plain file is
read in place. Then the headers are read, and each member is a range of that file. The names in the archive are
untrusted: they are keys of a dict and never become paths.
"""

from __future__ import annotations

import errno
import io
import os
import stat

from minirun import store
from minirun.errors import ClientError, EngineError, KernelError
from minirun.image.digest import sha256
from minirun.image.layer import compression
from minirun.image.layer.tar_stream import INVALID, TarReader
from minirun.image.manifests import MAX_DOCUMENT
from minirun.image.sanitize import printable
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.image.quota import Quota

#: Far more members than an image needs: four for each of at most 127 layers.
MAX_MEMBERS = 100_000
#: Characters of all names, which are held in memory.
MAX_NAME_BYTES = 16 << 20
MAX_LINKS = 40
#: The beginning of Docker's message for an archive that is not a valid tar.
TAR_ERROR = "Error processing tar file(exit status 1)"


class Member(io.RawIOBase):
    """Reads one member of the archive. Attribute: size (int, bytes)."""

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self.size = size
        self._fd, self._offset, self._remaining = fd, offset, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer)[: self._remaining]
        count = os.preadv(self._fd, [view], self._offset)
        if not count and self._remaining:
            raise EngineError(compression.TRUNCATED)  # the file was truncated meanwhile
        self._offset += count
        self._remaining -= count
        return count


class ArchiveIndex:
    """The members of an archive of images.

    Arguments: fd (int), open for reading; ingest (str), a directory for the copy of an archive that cannot be read in
    place; quota, counts the bytes of that copy; on_read, called with the number of bytes after each read for it.
    Errors: ClientError with Docker's message for an invalid tar; KernelError for a full disk.
    """

    def __init__(self, fd: int, ingest: str, quota: Quota, on_read: Callable[[int], None] | None = None) -> None:
        self._copy_fd = -1
        self._positions: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        try:
            if not _is_plain_file(fd):
                self._copy_fd = _decompress_to_file(fd, f"{ingest}/archive", quota, on_read)
            self._fd = self._copy_fd if self._copy_fd >= 0 else fd
            self._walk()
        except EngineError as error:
            self.close()
            raise ClientError(f"{TAR_ERROR}: {error.message}", exit_code=1) from None

    def close(self) -> None:
        """Close the copy, if there is one."""
        if self._copy_fd >= 0:
            os.close(self._copy_fd)
            self._copy_fd = -1

    def __contains__(self, name: str) -> bool:
        return name in self._positions or name in self._links

    def member(self, name: str) -> Member:
        """The member of that name; links are followed inside the archive. Errors: EngineError when there is none."""
        path = _normalize(name)
        for _ in range(MAX_LINKS):
            if path in self._positions:
                return Member(self._fd, *self._positions[path])
            if path not in self._links:
                raise EngineError(f"{printable(name)} is not in the archive")
            path = self._links[path]
        raise EngineError(f"{printable(name)}: too many links")

    def read(self, name: str) -> bytes:
        """The content of a member. Errors: EngineError when there is none, or it is larger than MAX_DOCUMENT."""
        member = self.member(name)
        if member.size > MAX_DOCUMENT:
            raise EngineError(f"{printable(name)} is larger than {MAX_DOCUMENT >> 20} MiB")
        return io.BufferedReader(member).read()

    def blob(self, descriptor: dict) -> bytes:
        """The content of a blob of an OCI layout. Errors: EngineError when it does not match its descriptor."""
        data = self.read(self.name_of(descriptor))
        if len(data) != descriptor["size"] or sha256(data) != descriptor["digest"]:
            raise EngineError(f"blob {descriptor['digest']} is damaged: its content does not match its digest")
        return data

    @staticmethod
    def name_of(descriptor: dict) -> str:
        """The name of a blob's member in an OCI layout. Its digest has been validated."""
        return f"blobs/{descriptor['digest'].replace(':', '/')}"

    def _walk(self) -> None:
        headers = _HeaderReader(self._fd)
        name_bytes = 0
        for count, entry in enumerate(headers):
            name_bytes += len(entry.name) + len(entry.linkname)
            if count >= MAX_MEMBERS:
                raise EngineError(f"more than {MAX_MEMBERS} members")
            if name_bytes > MAX_NAME_BYTES:
                raise EngineError(f"the names of its members are longer than {MAX_NAME_BYTES >> 20} MiB")
            name = _normalize(entry.name)
            self._positions.pop(name, None)  # of two members with one name the last one counts
            self._links.pop(name, None)
            if entry.issparse():
                raise EngineError(f"{printable(entry.name)} is a sparse member, which no image tool writes")
            if entry.isreg():
                self._positions[name] = (entry.offset_data, entry.size)
            elif entry.issym():
                self._links[name] = _normalize(entry.linkname, name.rpartition("/")[0])
            elif entry.islnk():
                self._links[name] = _normalize(entry.linkname)


class _HeaderReader(TarReader):
    """Reads the headers of a tar in a file, and seeks over the contents."""

    def __init__(self, fd: int) -> None:
        super().__init__(io.BufferedReader(io.FileIO(fd, closefd=False)))
        self._end = os.fstat(fd).st_size

    def _skip_to(self, position: int) -> None:
        if position < self._position:
            raise EngineError(INVALID)
        if position > self._end:
            raise EngineError(compression.TRUNCATED)
        self._reader.seek(position)
        self._position = position


def _normalize(name: str, directory: str = "") -> str:
    """A member's name without "." and "..". Errors: EngineError when it leaves the archive with ".."."""
    parts: list[str] = []
    for member in (name if name.startswith("/") else f"{directory}/{name}").split("/"):
        if member == ".." and not parts:
            raise EngineError(f"{printable(name)} leads out of the archive")
        if member == "..":
            parts.pop()
        elif member not in ("", "."):
            parts.append(member)
    return "/".join(parts)


def _is_plain_file(fd: int) -> bool:
    """Whether the archive can be read in place: an uncompressed regular file at offset 0."""
    if not stat.S_ISREG(os.fstat(fd).st_mode) or os.lseek(fd, 0, os.SEEK_CUR):
        return False
    return not compression.is_compressed(fd)


def _decompress_to_file(fd: int, path: str, quota: Quota, on_read: Callable[[int], None] | None) -> int:
    """Write the plain tar to a file. Returns: its descriptor."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        compression.decompress(io.FileIO(fd, closefd=False), file, quota, on_read)
        os.lseek(file, 0, os.SEEK_SET)
    except OSError as reason:
        os.close(file)
        raise KernelError("write down the archive", reason.errno or errno.EIO, hint=store.disk_hint(reason)) from None
    except EngineError:
        os.close(file)
        raise
    return file
