"""Reads a layer archive: one pass over the bytes digests, stores, decompresses and parses them.

A layer has two digests. The blob's digest is of the bytes as they are transferred and stored (perhaps compressed), the
diff id is of the plain tar. Both are needed, the source may be a pipe, and a layer may be larger than memory; so the
bytes pass once through two tee readers:

    source ──> TeeReader ──> decompressor ──> TeeReader ──> (ReadAhead) ──> TarReader ──> minirun.image.layer.apply
                   │ blob digest, blob file       │ diff id

`tarfile` is used to parse headers (ustar, GNU, PAX, sparse maps) and nothing else: it never touches the file system.
Its own loop takes a damaged header for the end of the archive; this one reports it.
"""

from __future__ import annotations

import io
import tarfile

from minirun.errors import EngineError
from minirun.image.content import layout as oci
from minirun.image.layer.compression import TRUNCATED, decompression_errors, decompressor, detect
from minirun.image.layer.readahead import ReadAhead
from minirun.image.layer.tee_reader import CHUNK, TeeReader
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from minirun.image.quota import Quota

#: The most bytes of headers of one entry, as in Go: they are parsed in memory, where they become many times larger.
HEADER_MAX = 1024 * 1024

#: The compressions that image-spec has a media type for.
MEDIA_TYPES = {"gzip": oci.LAYER_GZIP, "zstd": oci.LAYER_ZSTD}

INVALID = "archive/tar: invalid tar header"


class LayerReader:
    """Reads a layer archive.

    Arguments: source, a descriptor open for reading, or an object with `readinto`; blob (int), descriptor of the file
    that becomes the blob, or -1 for none; on_read, called with the number of source bytes after each read; quota,
    counts the plain bytes and the entries.
    Attributes once `drain` has returned: diff_id, digest (of the blob), size (of the blob), media_type.
    """

    def __init__(
        self,
        source: int | io.RawIOBase,
        blob: int = -1,
        on_read: Callable[[int], None] | None = None,
        quota: Quota | None = None,
    ) -> None:
        raw = io.FileIO(source, closefd=False) if isinstance(source, int) else source
        head, compression = detect(raw)
        arriving = TeeReader(raw, head, on_read)
        self._plain = TeeReader(decompressor(compression, arriving)) if compression else arriving
        # The blob is stored as it arrives if image-spec has a media type for its compression, so that its digest does
        # not change. xz and bzip2 have none: their layers are stored as the plain tar.
        self._stored = arriving if compression in MEDIA_TYPES else self._plain
        self._stored.copy = blob
        self.media_type = MEDIA_TYPES.get(compression, oci.LAYER)
        self._plain.quota = quota
        self._reader: io.BufferedReader[Any] = io.BufferedReader(self._plain, CHUNK)
        self._quota = quota

    def read_ahead(self) -> None:
        """Read in a thread from now on; to be called before the first entry is read."""
        self._reader = io.BufferedReader(ReadAhead(self._plain), CHUNK)

    def close(self) -> None:
        """Stop reading the source, which is not closed."""
        self._reader.close()

    def entries(self) -> TarReader:
        """The entries of the tar, to be read once."""
        return TarReader(self._reader, self._quota)

    def drain(self) -> None:
        """Read what follows the last entry (padding): the digests are of all bytes.

        Errors: EngineError when the compressed stream is damaged or truncated.
        """
        with decompression_errors():
            while self._reader.read(CHUNK):
                pass

    @property
    def diff_id(self) -> str:
        """The digest of the decompressed tar (OCI image-spec, config.md)."""
        return self._plain.digest

    @property
    def digest(self) -> str:
        """The digest of the blob: of the bytes as they are stored."""
        return self._stored.digest

    @property
    def size(self) -> int:
        """The size of the blob, in bytes."""
        return self._stored.size


class TarReader:
    """Iterates over the entries of a tar, which is read forwards only.

    `tarfile.TarInfo.fromtarfile` takes it for a TarFile: the attributes below are the ones that it uses.
    """

    encoding = "utf-8"
    errors = "surrogateescape"

    def __init__(self, reader: io.BufferedReader[Any], quota: Quota | None = None) -> None:
        self._reader = reader
        self._quota = quota
        self._position = 0
        self._header_bytes = 0
        self.offset = 0  # where the next header begins; set by tarfile
        self.fileobj = self

    @property
    def pax_headers(self) -> dict[str, str]:
        """Global PAX headers, which apply to all following entries: ignored, as in Docker. `git archive` has its commit
        in one; an attacker could give every file another name or size."""
        return {}

    def tell(self) -> int:
        """The position in the decompressed stream, in bytes (for tarfile)."""
        return self._position

    def read(self, size: int) -> bytes:
        """The next bytes of a header (tarfile calls this)."""
        self._header_bytes += size
        if not 0 <= size or self._header_bytes > HEADER_MAX:
            raise EngineError(f"{INVALID}: larger than {HEADER_MAX >> 20} MiB")
        return self._take(size)

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        while (entry := self._next()) is not None:
            if self._quota:
                self._quota.add_entry()
            yield entry

    def _next(self) -> tarfile.TarInfo | None:
        self._skip_to(self.offset)
        self._header_bytes = 0
        try:
            entry = tarfile.TarInfo.fromtarfile(self)  # type: ignore[arg-type]
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            return None
        except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]
            if self._position:
                return None  # no end marker, but no entry is cut: GNU tar and Docker accept this as well
            raise EngineError(f"the archive is empty: {TRUNCATED}") from None
        except tarfile.TruncatedHeaderError:  # type: ignore[attr-defined]
            raise EngineError(TRUNCATED) from None
        except tarfile.SubsequentHeaderError as reason:  # type: ignore[attr-defined]
            raise EngineError(TRUNCATED if "truncated" in str(reason) or "empty" in str(reason) else INVALID) from None
        except (tarfile.TarError, ValueError, LookupError, ArithmeticError, RecursionError):
            raise EngineError(INVALID) from None
        if entry.size < 0:
            raise EngineError(INVALID)
        return entry

    def data(self, entry: tarfile.TarInfo) -> Iterator[tuple[int, bytes]]:
        """The content of a regular file as (offset in the file, bytes); the holes of a sparse file are left out."""
        self._skip_to(entry.offset_data)
        pieces: Any = entry.sparse if entry.issparse() else [(0, entry.size)]
        for offset, length in pieces:
            while length > 0:
                chunk = self._take(min(length, CHUNK))
                if not chunk:
                    raise EngineError(TRUNCATED)
                yield offset, chunk
                offset += len(chunk)
                length -= len(chunk)

    def _take(self, size: int) -> bytes:
        with decompression_errors():
            data = self._reader.read(size)
        self._position += len(data)
        return data

    def _skip_to(self, position: int) -> None:
        if position < self._position:  # a wrong size: negative, or smaller than its own sparse map
            raise EngineError(INVALID)
        while self._position < position:
            if not self._take(min(position - self._position, CHUNK)):
                raise EngineError(TRUNCATED)
