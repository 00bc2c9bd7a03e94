"""Decompression of layers and archives: gzip, xz, bzip2, zstd, told apart by their magic numbers, as Docker does.

A media type or a file name is not believed.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os

from minirun.errors import EngineError
from minirun.image.layer.tee_reader import CHUNK, TeeReader
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.image.quota import Quota

#: How a compressed stream begins.
MAGIC = ((b"\x1f\x8b", "gzip"), (b"\xfd7zXZ\x00", "xz"), (b"BZh", "bzip2"), (b"\x28\xb5\x2f\xfd", "zstd"))
TRUNCATED = "unexpected EOF"


def detect(source: io.RawIOBase) -> tuple[bytes, str]:
    """The first bytes of a stream, and how it is compressed by them: "" or a name in MAGIC."""
    head = b""
    while len(head) < 6 and (more := source.read(6 - len(head))):  # a pipe may hand over single bytes
        head += more
    return head, next((name for magic, name in MAGIC if head.startswith(magic)), "")


def decompress(source: io.RawIOBase, to: int, quota: Quota, on_read: Callable[[int], None] | None = None) -> None:
    """Write the plain bytes of a stream that may be compressed to a file.

    Arguments: to (int), the file's descriptor; allowance, how many there may be; on_read, called with the number of
    source bytes that were read. Errors: EngineError when the compressed stream is damaged, cut short or too much.
    """
    head, compression = detect(source)
    plain: Any = TeeReader(source, head, on_read, digesting=False)
    if compression:
        plain = decompressor(compression, plain)
    buffer = memoryview(bytearray(CHUNK))
    with decompression_errors():
        while count := plain.readinto(buffer):
            quota.add_bytes(count)
            rest = buffer[:count]
            while rest:
                rest = rest[os.write(to, rest) :]


def decompressor(compression: str, source: TeeReader) -> io.RawIOBase | io.BufferedIOBase:
    """The plain bytes of a compressed source. Arguments: compression (str), as `recognise` names it."""
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
        # not `zstandard`, which takes a stream that was cut short for one that is whole
        from backports import zstd
    return zstd.ZstdFile(buffered)


#: The packer decides how much memory an xz stream needs, up to gigabytes; `lzma.LZMAFile` grants it all. `xz -9` needs
#: 65 MiB, and no tool asks for more by itself.
XZ_MEMORY_MAX = 96 * 1024 * 1024
_XZ_CHUNK = 256 * 1024


class XzReader(io.RawIOBase):
    """The decompressed bytes of an .xz file: one stream or several, with zero padding between them.

    Arguments: source, an object with `read`. Errors: EOFError for one that is cut short, lzma.LZMAError for a damaged
    one, EngineError for one that wants too much memory.
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
        """Begin another stream, if there is one. Returns: its first bytes."""
        packed = self._stream.unused_data.lstrip(b"\0")
        while not packed:
            more = self._source.read(_XZ_CHUNK)
            if not more:
                return b""
            packed = more.lstrip(b"\0")
        self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY_MAX)
        return packed


class decompression_errors:
    """Puts what the decompressors raise into one line: `with decompression(): ...`."""

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, EOFError):
            raise EngineError(TRUNCATED) from None
        # zlib, lzma and zstd have errors of their own; gzip and bz2 raise OSError without an errno
        named = type(error).__name__ in ("error", "LZMAError", "ZstdError")
        if named or (isinstance(error, OSError) and not error.errno):
            raise EngineError(f"the compressed data is damaged: {str(error).lower()}") from None
