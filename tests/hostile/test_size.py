"""What is too large, too many or too deep: refused in one line, or taken; then all of it can be got rid of again."""

from __future__ import annotations

import gzip
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.hostile import archives
from harness.hostile.serve import serve
from harness.hostile.tars import entry, folder, tar

MB = 1 << 20
DEEP = 10_000
MILLION = 1_000_000


# ---- bombs -----------------------------------------------------------------------------------------------------------


def zeros(count: int, pack: list[str]) -> bytes:
    """A tar of one large file, compressed: a thousandth of it, or less."""
    script = f"head -c {count} /dev/zero >zeros; tar c zeros | {' '.join(pack)}"
    return subprocess.run(
        ["sh", "-ec", f"cd $(mktemp -d -p /dev/shm); trap 'rm -r $PWD' EXIT; {script}"], check=True, capture_output=True
    ).stdout


@pytest.mark.parametrize("pack", [["gzip", "-9"], ["xz", "-9"], ["bzip2"], ["zstd", "-19"]], ids=lambda pack: pack[0])
def test_a_bomb(guarded, fake, pack):
    bomb = zeros(60 * MB, pack)
    assert len(bomb) < 1 * MB
    config = {"max-image-size": 20 * MB}
    settings = archives.config(bomb)
    document = archives.manifest(settings, (bomb,), f"layer.v1.tar+{pack[0]}")
    serve(fake, document, settings, bomb)
    packed = subprocess.run(pack, input=tar(entry("x", data=bytes(30 * MB))), check=True, capture_output=True).stdout
    for file, content in (
        ("layer", bomb),
        ("docker", archives.docker(bomb)),
        ("oci", archives.oci(bomb)),
        ("archive", packed),
    ):
        (guarded.given / file).write_bytes(content)
        words = ("import", str(guarded.given / file)) if file == "layer" else ("load", "-i", str(guarded.given / file))
        guarded.assert_refused(guarded(*words, config=config), "more than 20971520 bytes when unpacked: max-image-size")
    guarded.assert_refused(guarded("pull", "-q", f"{fake.name}/x", config=config), "more than 20971520 bytes")


@pytest.fixture
def small_disk(guarded, host) -> Iterator[Path]:
    """The store is on a disk of 400 MiB: its last twentieth is more than what is written between two looks at it."""
    host.run("mount", "-t", "tmpfs", "-o", "size=400m,nr_inodes=20000", "none", str(guarded.store), check=True)
    yield guarded.store
    host.run("umount", str(guarded.store), check=True)


#: By this text our own refusal, which comes before the disk is full, is known from the kernel's.
SPARED = "no space left on device: an image may take what is free, but for the last twentieth"


@pytest.mark.parametrize(("pack", "size"), [(["cat"], 250 * MB), (["gzip"], 450 * MB)], ids=["plain", "gzip"])
def test_a_bomb_leaves_the_others_room_on_the_disk(guarded, host, small_disk, pack, size):
    (guarded.given / "layer").write_bytes(zeros(size, pack))
    guarded.assert_refused(guarded("import", str(guarded.given / "layer")), SPARED)
    used = int(host.run("df", "--output=used", str(small_disk), check=True).stdout.split()[-1])
    assert used < 1000  # KiB
    guarded.assert_empty()


def test_a_crowd_leaves_the_others_inodes(guarded, small_disk):
    (guarded.given / "layer").write_bytes(gzip.compress(tar(*(entry(f"{number}") for number in range(25_000)))))
    guarded.assert_refused(guarded("import", str(guarded.given / "layer")), SPARED)
    guarded.assert_empty()


def test_a_disk_that_is_full(guarded, host, small_disk):
    """Somebody else has filled it to the last byte."""
    (guarded.given / "layer").write_bytes(tar(entry("x", data=b"x" * 100_000)))
    assert guarded("images").code == 0
    host.run("dd", "if=/dev/zero", f"of={small_disk}/full", "bs=1M", check=False)
    guarded.assert_refused(guarded("import", str(guarded.given / "layer")), "no space left on device")
    os.unlink(f"/proc/{host.pid}/root{small_disk}/full")
    guarded.assert_empty()


# ---- a million -------------------------------------------------------------------------------------------------------


def write_many(path: Path, count: int) -> None:
    """A tar of so many empty files, a thousand to a directory; by and by, for nobody holds all of it."""
    nameless = entry("")[0].tobuf(tarfile.GNU_FORMAT)
    checksum = int(nameless[148:154], 8)
    with gzip.open(path, "wb", compresslevel=1) as file:
        for number in range(count):
            if number % 1000 == 0:
                file.write(folder(f"d{number // 1000}")[0].tobuf(tarfile.GNU_FORMAT))
            name = b"d%d/%d" % (number // 1000, number)
            summed = b"%06o\0 " % (checksum + sum(name))
            file.write(name.ljust(100, b"\0") + nameless[100:148] + summed + nameless[156:])
        file.write(bytes(1024))


def test_more_files_than_the_config_file_allows(guarded):
    write_many(guarded.given / "layer", 5000)
    guarded.assert_refused(
        guarded("import", str(guarded.given / "layer"), config={"max-image-files": 4000}),
        "more than 4000 files: max-image-files in the config file allows no more",
    )


@pytest.mark.slow
def test_a_million_files(guarded, host):
    host.run("mount", "-t", "tmpfs", "-o", "size=6g,nr_inodes=3000000", "none", str(guarded.store), check=True)
    try:
        write_many(guarded.given / "layer", MILLION)
        assert guarded.memory("import", str(guarded.given / "layer"), "a:1") < 100
        assert guarded("rmi", "a:1").code == 0
        guarded.assert_empty()
    finally:
        host.run("umount", str(guarded.store), check=True)


# ---- ten thousand levels ---------------------------------------------------------------------------------------------


@pytest.fixture
def memory(guarded, host) -> Iterator[None]:
    """The store is in memory: on a disk ten thousand directories take their time."""
    host.run("mount", "-t", "tmpfs", "none", str(guarded.store), check=True)
    yield
    host.run("umount", str(guarded.store), check=True)


def deepen(directory: str) -> None:
    """What a container can do with `mkdir a; cd a`."""
    handle = os.open(directory, os.O_RDONLY)
    for _ in range(DEEP):
        os.mkdir("b", dir_fd=handle)
        deeper = os.open("b", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = deeper
    os.close(handle)


def test_ten_thousand_levels_in_one_name(guarded, memory):
    (guarded.given / "layer").write_bytes(tar(entry("a/" * DEEP + "leaf", data=b"deep")))
    assert guarded.memory("import", str(guarded.given / "layer"), "a:1") < 100
    assert guarded("rmi", "a:1").code == 0
    guarded.assert_empty()


@pytest.mark.slow
def test_ten_thousand_levels(guarded, host, memory):
    """Whatever is made can be shown, packed and removed again."""
    names = [folder("a/" * depth) for depth in range(1, DEEP + 1)]
    (guarded.given / "layer").write_bytes(tar(*names, entry("a/" * DEEP + "leaf", data=b"deep")))
    assert guarded.memory("import", str(guarded.given / "layer"), "a:1") < 100
    assert guarded.memory("create", "--network", "none", "--name", "c1", "a:1", "true") < 100
    (upper,) = Path(f"/proc/{host.pid}/root{guarded.store}/containers").glob("*/upper")
    deepen(str(upper))
    assert guarded.memory("diff", "c1") < 100
    assert guarded.memory("export", "-o", str(guarded.given / "exported"), "c1") < 100
    with tarfile.open(guarded.given / "exported") as archive:
        depths = [entry.name.count("/") for entry in archive]
    assert depths.count(DEEP) == 1 and max(depths[: len(depths) - 10]) == DEEP  # the leaf; then b/b/b
    os.unlink(guarded.given / "exported")
    assert guarded("ps", "-a", "-s", "--format", "{{.Size}}").out == "0B (virtual 4B)\n"
    assert guarded.memory("commit", "c1", "b:1") < 100
    for words in (("rm", "c1"), ("rmi", "a:1", "b:1")):
        assert guarded(*words).code == 0
    guarded.assert_empty()
