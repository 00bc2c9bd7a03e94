"""An archive of images, opened as a table: which member begins where. Nothing of it is unpacked.

`docker save` writes what names the images last, and layers may be links to one another; so an archive can only be
understood when all of it is there. One that is compressed, or comes through a pipe, is first written to one file of
our ingest; a plain file is read in place. Then the headers are walked, and a member is no more than a place in that
file. The names inside are keys of a dict and nothing else: none of them ever becomes a path.
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
from minirun.image.manifests import LARGEST
from minirun.image.sanitize import shown
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.image.quota import Quota

#: More members than any image needs: four for each of Docker's 127 layers.
MEMBERS_MAX = 100_000
#: And more letters in their names, which are held in memory.
LETTERS_MAX = 16 << 20
LINKS_MAX = 40
#: How Docker begins when the archive itself cannot be read.
BROKEN = "Error processing tar file(exit status 1)"


class Part(io.RawIOBase):
    """One member, as something to read from. Attribute: size (int, bytes)."""

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self.size = size
        self._fd, self._offset, self._left = fd, offset, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer)[: self._left]
        count = os.preadv(self._fd, [view], self._offset)
        if not count and self._left:
            raise EngineError(compression.TRUNCATED)  # the file has become shorter since
        self._offset += count
        self._left -= count
        return count


class Bundle:
    """An archive of images.

    Arguments: fd (int), open for reading; ingest (str), a directory for what cannot be read in place; allowance, how
    much that may be; on_read, called with the number of bytes each time some were read from a source that cannot.
    Errors: ClientError in Docker's words for what is no tar; KernelError for a full disk.
    """

    def __init__(self, fd: int, ingest: str, quota: Quota, on_read: Callable[[int], None] | None = None) -> None:
        self._own = -1
        self._places: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        try:
            if not _is_plain_file(fd):
                self._own = _written_down(fd, f"{ingest}/archive", quota, on_read)
            self._fd = self._own if self._own >= 0 else fd
            self._walk()
        except EngineError as error:
            self.close()
            raise ClientError(f"{BROKEN}: {error.message}", exit_code=1) from None

    def close(self) -> None:
        """Let go of the file that was written here."""
        if self._own >= 0:
            os.close(self._own)
            self._own = -1

    def __contains__(self, name: str) -> bool:
        return name in self._places or name in self._links

    def part(self, name: str) -> Part:
        """A member; links are followed inside the archive. Errors: EngineError when there is none of that name."""
        key = _inside(name)
        for _ in range(LINKS_MAX):
            if key in self._places:
                return Part(self._fd, *self._places[key])
            if key not in self._links:
                raise EngineError(f"{shown(name)} is not in the archive")
            key = self._links[key]
        raise EngineError(f"{shown(name)}: too many links")

    def read(self, name: str) -> bytes:
        """The content of a small member. Errors: EngineError when there is none, or it is not small."""
        part = self.part(name)
        if part.size > LARGEST:
            raise EngineError(f"{shown(name)} is larger than {LARGEST >> 20} MiB")
        return io.BufferedReader(part).read()

    def blob(self, descriptor: dict) -> bytes:
        """The content of a small blob of an OCI layout. Errors: EngineError when it is not what its digest says."""
        data = self.read(self.name_of(descriptor))
        if len(data) != descriptor["size"] or sha256(data) != descriptor["digest"]:
            raise EngineError(f"blob {descriptor['digest']} is damaged: its content does not match its digest")
        return data

    @staticmethod
    def name_of(descriptor: dict) -> str:
        """Where an OCI layout has a blob; the digest was checked."""
        return f"blobs/{descriptor['digest'].replace(':', '/')}"

    def _walk(self) -> None:
        headers = _Headers(self._fd)
        letters = 0
        for count, entry in enumerate(headers):
            letters += len(entry.name) + len(entry.linkname)
            if count >= MEMBERS_MAX:
                raise EngineError(f"more than {MEMBERS_MAX} members")
            if letters > LETTERS_MAX:
                raise EngineError(f"the names of its members are longer than {LETTERS_MAX >> 20} MiB")
            name = _inside(entry.name)
            self._places.pop(name, None)  # of two members with one name the later one is meant
            self._links.pop(name, None)
            if entry.issparse():
                raise EngineError(f"{shown(entry.name)} is a sparse member, which no image tool writes")
            if entry.isreg():
                self._places[name] = (entry.offset_data, entry.size)
            elif entry.issym():
                self._links[name] = _inside(entry.linkname, name.rpartition("/")[0])
            elif entry.islnk():
                self._links[name] = _inside(entry.linkname)


class _Headers(TarReader):
    """The headers of a tar in a file: the content between them is skipped without being read."""

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


def _inside(name: str, directory: str = "") -> str:
    """A member's name in its shortest form. Errors: EngineError when it leads out of the archive."""
    parts: list[str] = []
    for part in (name if name.startswith("/") else f"{directory}/{name}").split("/"):
        if part == ".." and not parts:
            raise EngineError(f"{shown(name)} leads out of the archive")
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _is_plain_file(fd: int) -> bool:
    """Whether the tar can be read where it is: in a file, from its beginning, not compressed."""
    if not stat.S_ISREG(os.fstat(fd).st_mode) or os.lseek(fd, 0, os.SEEK_CUR):
        return False
    begins = os.pread(fd, 6, 0)
    return not any(begins.startswith(magic) for magic, _ in compression.MAGIC)


def _written_down(fd: int, path: str, quota: Quota, on_read: Callable[[int], None] | None) -> int:
    """The plain tar in a file of ours. Returns: its descriptor."""
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
