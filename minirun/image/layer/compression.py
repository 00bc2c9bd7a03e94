"""gzip, xz, bzip2, zstd: recognised by how they begin, whatever a media type or a file's name says."""

from __future__ import annotations

import io
import os

from minirun.errors import EngineError
from minirun.image.layer.tee_reader import CHUNK, Tap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.image.quota import Allowance

#: How a compressed stream begins.
MAGIC = ((b"\x1f\x8b", "gzip"), (b"\xfd7zXZ\x00", "xz"), (b"BZh", "bzip2"), (b"\x28\xb5\x2f\xfd", "zstd"))
TRUNCATED = "unexpected EOF"


def recognise(source: io.RawIOBase) -> tuple[bytes, str]:
    """The first bytes of a stream, and how it is compressed by them: "" or a name in MAGIC."""
    head = b""
    while len(head) < 6 and (more := source.read(6 - len(head))):  # a pipe may hand over single bytes
        head += more
    return head, next((name for magic, name in MAGIC if head.startswith(magic)), "")


def decompress(
    source: io.RawIOBase, to: int, allowance: Allowance, passed: Callable[[int], None] | None = None
) -> None:
    """Write the plain bytes of a stream that may be compressed to a file.

    Arguments: to (int), the file's descriptor; allowance, how many there may be; passed, called with the number of
    source bytes that were read. Errors: EngineError when the compressed stream is damaged, cut short or too much.
    """
    head, compression = recognise(source)
    plain: Any = Tap(source, head, passed, digesting=False)
    if compression:
        plain = decompressor(compression, plain)
    buffer = memoryview(bytearray(CHUNK))
    with decompression():
        while count := plain.readinto(buffer):
            allowance.passed(count)
            rest = buffer[:count]
            while rest:
                rest = rest[os.write(to, rest) :]


def decompressor(compression: str, source: Tap) -> io.RawIOBase | io.BufferedIOBase:
    """The plain bytes of a compressed source. Arguments: compression (str), as `recognise` names it."""
    buffered = io.BufferedReader(source, CHUNK)
    if compression == "gzip":
        import gzip

        return gzip.GzipFile(fileobj=buffered)
    if compression == "xz":
        from minirun.image.layer.xz import Xz

        return Xz(buffered)
    if compression == "bzip2":
        import bz2

        return bz2.BZ2File(buffered)
    try:
        from compression import zstd  # type: ignore[import-not-found]  # Python 3.14
    except ImportError:
        # not `zstandard`, which takes a stream that was cut short for one that is whole
        from backports import zstd
    return zstd.ZstdFile(buffered)


class decompression:
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
