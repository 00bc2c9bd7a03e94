"""xz, with an eye on its memory: who packs says how much whoever unpacks must have, and that may be gigabytes.

`xz -9` wants 65 MiB, and nobody's tool more than that on its own; `lzma.LZMAFile` gives what is asked for.
"""

from __future__ import annotations

import io
import lzma

from minirun.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MEMORY_MAX = 96 * 1024 * 1024
_CHUNK = 256 * 1024


class Xz(io.RawIOBase):
    """The plain bytes of an .xz file: of one stream, or of several one after the other, with zeros between them.

    Arguments: source, an object with `read`. Errors: EOFError for one that is cut short, lzma.LZMAError for a damaged
    one, EngineError for one that wants too much memory.
    """

    def __init__(self, source: io.BufferedReader[Any]) -> None:
        self._source = source
        self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, MEMORY_MAX)

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
                packed = self._source.read(_CHUNK)
                if not packed:
                    raise EOFError
            try:
                plain = self._stream.decompress(packed, len(view))
            except lzma.LZMAError as reason:
                if "emory usage limit" not in str(reason):
                    raise
                raise EngineError(f"xz wants more than {MEMORY_MAX >> 20} MiB of memory") from None
            packed = b""
            if plain:
                view[: len(plain)] = plain
                return len(plain)

    def _next_stream(self) -> bytes:
        """Begin another stream, if there is one. Returns: its first bytes."""
        packed = self._stream.unused_data.lstrip(b"\0")
        while not packed:
            more = self._source.read(_CHUNK)
            if not more:
                return b""
            packed = more.lstrip(b"\0")
        self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, MEMORY_MAX)
        return packed
