"""An image as large as people have them, made of nothing: the same bytes on every machine, in ten seconds.

What a pull costs depends on what is in the layers: how many files, how large, how well they can be packed. So the
files are like those of a distribution with a language's tools in it: most of them small, a few large (a log-normal
distribution, 36 KiB on average), half of them text, most others like machine code, a few packed already. Layers are
packed with gzip, as registries have them, to two fifths of their size.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
import random
import tarfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

TYPE = "application/vnd.docker."
POOL = 3 << 20  # bytes of each kind of content, of which files are pieces
MIDDLE, SPREAD, LARGEST = 6000, 1.9, 2 << 20  # of the size of a file


class Image:
    """The image in a directory, as skopeo's transport "dir:" reads it. Attributes: place (Path), files (int).

    Arguments: place, the directory, which is made; megabytes (int), of files; layers (int).
    """

    def __init__(self, place: Path, megabytes: int, layers: int) -> None:
        self.place, self.megabytes = place, megabytes
        place.mkdir()
        with ProcessPoolExecutor(2) as workers:
            size = (megabytes << 20) // layers
            made = list(workers.map(_write_layer, [place] * layers, range(layers), [size] * layers))
        self.files = sum(count for count, _, _ in made)
        config = self._blob(
            json.dumps(
                {
                    "architecture": "amd64",
                    "os": "linux",
                    "created": "2026-01-01T00:00:00Z",
                    "config": {"Cmd": ["sh"]},
                    "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id, _ in made]},
                    "history": [{"created": "2026-01-01T00:00:00Z"}] * layers,
                }
            ).encode()
        )
        (place / "manifest.json").write_text(
            json.dumps(
                {
                    "schemaVersion": 2,
                    "mediaType": f"{TYPE}distribution.manifest.v2+json",
                    "config": {"mediaType": f"{TYPE}container.image.v1+json", **config},
                    "layers": [{"mediaType": f"{TYPE}image.rootfs.diff.tar.gzip", **blob} for _, _, blob in made],
                }
            )
        )
        (place / "version").write_text("Directory Transport Version: 1.1\n")

    def _blob(self, data: bytes) -> dict:
        digest = hashlib.sha256(data).hexdigest()
        (self.place / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}


def _write_layer(place: Path, number: int, size: int) -> tuple[int, str, dict]:
    """Write a layer. Returns: the number of its files, its diff id, what a descriptor says of its blob."""
    path = place / f"layer-{number}"
    with path.open("wb") as file, gzip.GzipFile("", "wb", 1, file, mtime=0) as packed:
        tar = _Digested(packed)
        count = _write_tar(tar, number, size)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    path.rename(place / digest)
    return (
        count,
        f"sha256:{tar.sha256.hexdigest()}",
        {"digest": f"sha256:{digest}", "size": (place / digest).stat().st_size},
    )


class _Digested(io.RawIOBase):
    """Hands on what is written to it, and digests it."""

    def __init__(self, to: gzip.GzipFile) -> None:
        self.to, self.sha256 = to, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.sha256.update(data)
        return self.to.write(data)


def _write_tar(to: _Digested, number: int, size: int) -> int:
    """Write files of `size` (int) bytes in sum, thirty to a directory. Returns: how many."""
    dice, pool = random.Random(number), _pool()
    count = 0
    with tarfile.open(fileobj=io.BufferedWriter(to, 1 << 20), mode="w|", format=tarfile.USTAR_FORMAT) as tar:
        for directory in ("usr", "usr/lib"):
            tar.addfile(_entry(directory, tarfile.DIRTYPE, 0o755))
        while size > 0:
            if count % 30 == 0:
                directory = f"usr/lib/package-{number}-{count // 30}"
                tar.addfile(_entry(directory, tarfile.DIRTYPE, 0o755))
            length = min(size, LARGEST, int(dice.lognormvariate(0, SPREAD) * MIDDLE))
            entry = _entry(f"{directory}/file-{count % 30}", tarfile.REGTYPE, 0o644)
            entry.size = length
            begin = dice.randrange(POOL - length)
            tar.addfile(entry, io.BytesIO(dice.choice(pool)[begin : begin + length]))
            count, size = count + 1, size - length
    return count


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, 1_700_000_000
    return entry


@functools.cache
def _pool() -> list[bytes]:
    """Text (of 4,000 words, some more frequent than others), something like machine code, and noise."""
    dice = random.Random(0)
    frequent = [1 / (1 + place) for place in range(4000)]
    words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz_", k=dice.randint(2, 12))) for _ in frequent]
    codes = [dice.randbytes(dice.randint(2, 12)) + bytes(3) for _ in frequent]
    text = " ".join(dice.choices(words, frequent, k=POOL // 5)).encode()
    code = b"".join(code + dice.randbytes(1) for code in dice.choices(codes, frequent, k=POOL // 5))
    return [text[:POOL]] * 5 + [code[:POOL]] * 4 + [dice.randbytes(POOL)]
