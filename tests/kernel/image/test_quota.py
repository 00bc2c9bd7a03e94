"""How large an image may become: bombs end in one line, whichever way they come, and nothing of them stays."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.hostile import archives, tars
from minirun.engine.daemon import Daemon
from minirun.errors import EngineError, MinirunError
from minirun.image import quota
from minirun.image.archive.load import load
from minirun.image.content.image_writer import ImageWriter
from minirun.image.images import Images
from minirun.image.layer.compression import XzReader
from minirun.image.quota import Limits, Quota

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners of files take root")
MB = 1_000_000
ZEROS = tars.tar(tars.entry("zeros", data=bytes(20 * MB)))
PACKERS = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": lambda data: subprocess.run(["zstd", "-c"], input=data, check=True, capture_output=True).stdout,
    "plain": bytes,
}


def allowing(tmp_path: Path, size: int = 0, files: int = 0) -> Images:
    return Images(str(tmp_path / "images"), lambda: Limits(size, files))


def refused(images: Images, data: bytes) -> str:
    with pytest.raises(EngineError) as caught, ImageWriter(images.layout) as writer:
        writer.add_layer(io.BytesIO(data))  # type: ignore[arg-type]
    root = Path(images.layout.root)
    assert [list((root / part).iterdir()) for part in ("blobs/sha256", "layers", "tmp")] == [[], [], []]
    return str(caught.value)


@pytest.mark.parametrize("packer", PACKERS)
def test_a_layer_that_becomes_too_large(tmp_path: Path, packer: str) -> None:
    assert refused(allowing(tmp_path, size=10 * MB), PACKERS[packer](ZEROS)) == (
        "unpack zeros: more than 10000000 bytes when unpacked: max-image-size in the config file allows no more"
    )


def test_what_is_behind_the_last_entry_counts_too(tmp_path: Path) -> None:
    small = tars.tar(tars.entry("a")) + bytes(20 * MB)
    assert "more than 10000000 bytes" in refused(allowing(tmp_path, size=10 * MB), gzip.compress(small))


def test_the_layers_of_an_image_count_together(tmp_path: Path) -> None:
    images = allowing(tmp_path, size=10 * MB)
    layers = [tars.tar(tars.entry(name, data=bytes(6 * MB))) for name in ("a", "b")]
    with pytest.raises(EngineError, match="unpack b: more than 10000000 bytes"), ImageWriter(images.layout) as writer:
        for layer in layers:
            writer.add_layer(io.BytesIO(layer))  # type: ignore[arg-type]


def test_an_archive_of_images_that_becomes_too_large(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(gzip.compress(archives.docker(ZEROS)))
    images = allowing(tmp_path, size=10 * MB)
    with pytest.raises(MinirunError, match=r"^Error processing tar file\(exit status 1\): more than 10000000 bytes"):
        load(images, str(tmp_path / "archive"), print)
    assert os.listdir(f"{images.layout.root}/tmp") == []


def test_a_layer_of_too_many_files(tmp_path: Path) -> None:
    crowd = tars.tar(*(tars.entry(f"{number}") for number in range(101)))
    assert refused(allowing(tmp_path, files=100), crowd) == (
        "more than 100 files: max-image-files in the config file allows no more"
    )


def small_disk(monkeypatch: pytest.MonkeyPatch, space: Callable[[], int], files: Callable[[], int]) -> None:
    def statvfs(_: object) -> os.statvfs_result:
        return os.statvfs_result((4096, 1, 1 << 40, 1 << 40, space(), 1 << 30, files(), files(), 0, 255))

    monkeypatch.setattr(quota.os, "statvfs", statvfs)


def test_the_last_twentieth_of_the_disk_is_spared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [100 * MB]
    small_disk(monkeypatch, lambda: left[0], lambda: 1000)
    quota = Quota(str(tmp_path), Limits())
    quota.expect(95 * MB)
    with pytest.raises(EngineError, match="^no space left on device"):
        quota.expect(96 * MB)
    left[0] = 5 * MB
    quota.add_bytes(10 * MB)
    left[0] -= 1
    with pytest.raises(EngineError, match="^no space left on device"):
        quota.add_bytes(10 * MB)


def test_the_last_twentieth_of_its_inodes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [10_000]
    small_disk(monkeypatch, lambda: MB, lambda: left[0])
    quota = Quota(str(tmp_path), Limits())
    for _ in range(1000):
        quota.add_entry()
    left[0] = 499
    with pytest.raises(EngineError, match="^no space left on device"):
        for _ in range(1000):
            quota.add_entry()


def test_a_disk_without_a_number_of_inodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_disk(monkeypatch, lambda: MB, lambda: 0)
    quota = Quota(str(tmp_path), Limits())
    for _ in range(2000):
        quota.add_entry()


def test_the_config_file_says_how_large(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"max-image-size": 5000, "max-image-files": 0}')
    found = Daemon("/DATA", "/RUN", str(config)).image_quota()
    assert (found.size, found.files) == (5000, 0)
    config.write_text("{}")
    found = Daemon("/DATA", "/RUN", str(config)).image_quota()
    assert (found.size, found.files) == (quota.SIZE, quota.FILES)


def test_xz_that_wants_all_memory(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 27, "mode": lzma.MODE_FAST, "mf": lzma.MF_HC3}]
    data = lzma.compress(ZEROS, filters=filters)
    assert refused(Images(str(tmp_path / "images")), data) == "xz wants more than 96 MiB of memory"


@pytest.mark.parametrize("between", [b"", bytes(4), bytes(300_000)])
def test_xz_in_several_streams(between: bytes) -> None:
    halves = os.urandom(300_000), bytes(500_000)
    data = b"".join(lzma.compress(half, preset=9) + between for half in halves)
    assert io.BufferedReader(XzReader(io.BufferedReader(io.BytesIO(data)))).read() == b"".join(halves)  # type: ignore[arg-type]
    with pytest.raises(EOFError):
        io.BufferedReader(XzReader(io.BufferedReader(io.BytesIO(data.rstrip(b"\0")[:-5])))).read()  # type: ignore[arg-type]
    with pytest.raises(lzma.LZMAError):
        io.BufferedReader(XzReader(io.BufferedReader(io.BytesIO(data + b"rubbish behind it")))).read()  # type: ignore[arg-type]
