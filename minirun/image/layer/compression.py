"""Decompression of layers and archives: gzip, xz, bzip2 and zstd, detected by their magic numbers, as Docker does.

Media types and file names are not trusted.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
from contextlib import contextmanager

from minirun import store
from minirun.errors import EngineError
from minirun.image.layer.tee_reader import CHUNK, TeeReader
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from minirun.image.quota import Quota

#: Magic numbers: how a compressed stream begins.
MAGIC = ((b"\x1f\x8b", "gzip"), (b"\xfd7zXZ\x00", "xz"), (b"BZh", "bzip2"), (b"\x28\xb5\x2f\xfd", "zstd"))
TRUNCATED = "unexpected EOF"


def detect(source: io.RawIOBase) -> tuple[bytes, str]:
    """The first bytes of a stream, and its compression: a name in MAGIC, "" for none."""
    head = b""
    while len(head) < 6 and (more := source.read(6 - len(head))):  # one read of a pipe may return a single byte
        head += more
    return head, next((name for magic, name in MAGIC if head.startswith(magic)), "")


def is_compressed(fd: int) -> bool:
    """Whether a file begins with a magic number of MAGIC. Arguments: fd (int), its descriptor."""
    head = os.pread(fd, 6, 0)
    return any(head.startswith(magic) for magic, _ in MAGIC)


def decompress(source: io.RawIOBase, to: int, quota: Quota, on_read: Callable[[int], None] | None = None) -> None:
    """Decompress a stream, which may be plain, into a file.

    Arguments: to (int), the file's descriptor; quota, counts the plain bytes; on_read, called with the number of source
    bytes after each read. Errors: EngineError when the stream is damaged, truncated or too large.
    """
    head, compression = detect(source)
    plain: Any = TeeReader(source, head, on_read, digesting=False)
    if compression:
        plain = decompressor(compression, plain)
    buffer = memoryview(bytearray(CHUNK))
    with decompression_errors():
        while count := plain.readinto(buffer):
            quota.add_bytes(count)
            store.write_all(to, buffer[:count])


def decompressor(compression: str, source: TeeReader) -> io.RawIOBase | io.BufferedIOBase:
    """A reader of the plain bytes of a compressed source. Arguments: compression (str), as `detect` returns it."""
    buffered = io.BufferedReader(source, CHUNK)
    if compression == "gzip":
        return gzip.GzipFile(fileobj=buffered)
    if compression == "xz":
        return XzReader(buffered)
    if compression == "bzip2":
        return bz2.BZ2File(buffered)
    try:
        from compression import zstd  # type: ignore[import-not-found]  # Python 3.14
    except ImportError:
        # not `zstandard`, which does not report a truncated stream
        from backports import zstd
    return zstd.ZstdFile(buffered)


#: An xz stream says how much memory its decompression needs, up to gigabytes, and `lzma.LZMAFile` allows it. `xz -9`
#: needs 65 MiB, and no tool uses more by default.
XZ_MEMORY_MAX = 96 * 1024 * 1024
_XZ_CHUNK = 256 * 1024


class XzReader(io.RawIOBase):
    """The decompressed bytes of an .xz file: one stream or several, with zero padding between them.

    Arguments: source, an object with `read`. Errors: EOFError for a truncated stream, lzma.LZMAError for a damaged one,
    EngineError for one that needs more memory than XZ_MEMORY_MAX.
    """

    def __init__(self, source: io.BufferedReader[Any]) -> None:
        self._source = source
        self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY_MAX)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer)
        packed = b""
        while True:
            if self._stream.eof:
                packed = self._next_stream()
                if not packed:
                    return 0
            elif self._stream.needs_input:
                packed = self._source.read(_XZ_CHUNK)
                if not packed:
                    raise EOFError
            try:
                plain = self._stream.decompress(packed, len(view))
            except lzma.LZMAError as reason:
                if "emory usage limit" not in str(reason):
                    raise
                raise EngineError(f"xz wants more than {XZ_MEMORY_MAX >> 20} MiB of memory") from None
            packed = b""
            if plain:
                view[: len(plain)] = plain
                return len(plain)

    def _next_stream(self) -> bytes:
        """Start the next stream of the file. Returns: its first bytes; b"" at the end of the file."""
        packed = self._stream.unused_data.lstrip(b"\0")
        while not packed:
            more = self._source.read(_XZ_CHUNK)
            if not more:
                return b""
            packed = more.lstrip(b"\0")
        self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY_MAX)
        return packed


@contextmanager
def decompression_errors() -> Iterator[None]:
    """Turns the decompressors' exceptions into EngineError: `with decompression_errors(): ...`."""
    try:
        yield
    except EOFError:
        raise EngineError(TRUNCATED) from None
    except Exception as error:
        # zlib, lzma and zstd have exceptions of their own; gzip and bz2 raise OSError without an errno
        damaged = type(error).__name__ in ("error", "LZMAError", "ZstdError")
        if damaged or (isinstance(error, OSError) and not error.errno):
            raise EngineError(f"the compressed data is damaged: {str(error).lower()}") from None
        raise
