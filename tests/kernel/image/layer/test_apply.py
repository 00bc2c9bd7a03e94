"""Unpacking layers, friendly and hostile: one crafted tar for each case, the result read from the kernel.

Every hostile tar is unpacked beside a directory `outside` that it tries to reach, and what is outside of the layer
has to be the same afterwards, to the byte, the owner, the mode and the time. Here is what becomes of those that are
taken, and what the messages say; that those are refused which lead out is in tests/hostile.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import minirun
from harness.hostile.tars import SAMPLES, entry, folder, hard, link, mended, tar
from minirun.errors import MinirunError
from minirun.image.layer import apply
from minirun.image.layer.tar_stream import LayerReader

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and device nodes take root")


# ---- the workbench -------------------------------------------------------------------------------------------------


def snapshot(root: Path) -> dict[str, tuple]:
    """All there is to say of a directory and what is in it."""
    found = {}
    for path in [root, *sorted(root.rglob("*"))]:
        status = os.lstat(path)
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path)] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns,
            status.st_nlink,
            status.st_ino,
            content,
            {
                name: os.getxattr(path, name, follow_symlinks=False)
                for name in os.listxattr(path, follow_symlinks=False)
            },
        )
    return found


@pytest.fixture
def top(tmp_path: Path) -> Iterator[Path]:
    """A directory with `layer`, to unpack into, and `outside`, which nothing may touch."""
    (tmp_path / "layer").mkdir()
    (tmp_path / "outside" / "etc").mkdir(parents=True)
    (tmp_path / "outside" / "secret").write_text("do not touch")
    before = snapshot(tmp_path / "outside")
    names = sorted(os.listdir(tmp_path))
    yield tmp_path
    assert snapshot(tmp_path / "outside") == before
    assert set(os.listdir(tmp_path)) - {"lower"} == set(names)
    subprocess.run(["rm", "-rf", tmp_path / "layer"], check=True)  # deeper than Python's own removal goes


@pytest.fixture
def unpack(top: Path) -> Callable[..., Path]:
    def run(data: bytes, below: tuple[str, ...] = ()) -> Path:
        read, write = os.pipe()
        if not (child := os.fork()):  # a pipe holds 64 KiB; a child feeds it
            os.close(read)
            try:
                with os.fdopen(write, "wb") as file:
                    file.write(data)
            finally:
                os._exit(0)
        os.close(write)
        try:
            stream = LayerReader(read)
            apply.apply_layer(stream.entries(), str(top / "layer"), below)
            stream.drain()
        finally:
            os.close(read)
            os.waitpid(child, 0)
        return top / "layer"

    return run


def refused(unpack: Callable[..., Path], data: bytes) -> str:
    with pytest.raises(MinirunError) as caught:
        unpack(data)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    return str(caught.value)


def merged(top: Path, *lower: str, script: str) -> str:
    """What the kernel shows when the directories, top first, are an overlay: the output of a script run in it."""
    stack = ":".join(str(top / name) for name in lower)
    mounting = f"mount -t tmpfs none /mnt; mkdir /mnt/m /mnt/e; mount -t overlay o -o lowerdir={stack}:/mnt/e /mnt/m"
    command = ["unshare", "--mount", "sh", "-euc", f"{mounting}; cd /mnt/m; {script}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


# ---- what an honest layer holds ------------------------------------------------------------------------------------


def test_every_kind_of_file_arrives_as_it_was(unpack: Callable[..., Path]) -> None:
    root = unpack(
        tar(
            folder("./", mode=0o750, uid=5, mtime=1000),
            folder("bin", mode=0o1777, uid=7, gid=8, mtime=2000),
            entry("bin/su", data=b"#!", mode=0o4755, uid=0, gid=3, mtime=3000),
            entry("bin/empty", mode=0o2600, uid=70000),
            link("bin/sh", "/bin/busybox"),
            hard("bin/su2", "bin/su"),
            entry("null", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3),
            entry("pipe", tarfile.FIFOTYPE, mode=0o620),
            entry("disk", tarfile.BLKTYPE, mode=0o660, devmajor=8, devminor=17, gid=6),
        )
    )
    seen = {
        name: os.lstat(root / name)
        for name in ("", "bin", "bin/su", "bin/empty", "bin/sh", "bin/su2", "null", "pipe", "disk")
    }
    assert {name: stat.filemode(status.st_mode) for name, status in seen.items()} == {
        "": "drwxr-xr-x",
        "bin": "drwxrwxrwt",
        "bin/su": "-rwsr-xr-x",
        "bin/empty": "-rw---S---",
        "bin/sh": "lrwxrwxrwx",
        "bin/su2": "-rwsr-xr-x",
        "null": "crw-rw-rw-",
        "pipe": "prw--w----",
        "disk": "brw-rw----",
    }
    assert [seen[name].st_mtime for name in ("bin", "bin/su")] == [2000, 3000]
    assert (seen[""].st_uid, seen[""].st_gid) == (0, 0)  # as with Docker
    assert (seen["bin"].st_uid, seen["bin"].st_gid, seen["bin/su"].st_gid, seen["bin/empty"].st_uid) == (7, 8, 3, 70000)
    assert (root / "bin/su").read_bytes() == b"#!"
    assert os.readlink(root / "bin/sh") == "/bin/busybox"
    assert seen["bin/su"].st_ino == seen["bin/su2"].st_ino
    assert seen["null"].st_rdev == os.makedev(1, 3)
    assert seen["disk"].st_rdev == os.makedev(8, 17)


def test_it_equals_what_gnu_tar_unpacks(unpack: Callable[..., Path], tmp_path: Path) -> None:
    source, peer = tmp_path / "outside" / "etc", tmp_path / "lower"
    peer.mkdir()
    data = subprocess.run(
        ["tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C", "/etc", "-c", "--format=pax", "."],
        check=True,
        capture_output=True,
    ).stdout
    subprocess.run(
        ["tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C", peer, "-xp"], input=data, check=True
    )
    root = unpack(data)
    assert source.exists()
    listing = ["find", ".", "-printf", "%p %y %m %U %G %T@ %s %l %n\n"]
    ours, theirs = (
        sorted(
            line
            for line in subprocess.run(
                listing, cwd=where, check=True, capture_output=True, text=True
            ).stdout.splitlines()
            if " d " not in line
        )
        for where in (root, peer)
    )
    assert ours == theirs
    assert subprocess.run(["diff", "-r", "--no-dereference", root, peer], check=False).returncode == 0


def test_nanoseconds_survive_and_senseless_times_do_not(unpack: Callable[..., Path]) -> None:
    root = unpack(
        tar(
            entry("fine", pax_headers={"mtime": "1700000000.123456789"}),
            entry("never", pax_headers={"mtime": "nan"}),
            entry("early", pax_headers={"mtime": "-5"}),
            entry("late", pax_headers={"mtime": "99999999999999999999"}),
        )
    )
    assert [os.lstat(root / name).st_mtime_ns for name in ("fine", "never", "early", "late")] == [
        1700000000123456789,
        0,
        0,
        0,
    ]


def test_extended_attributes_and_capabilities(unpack: Callable[..., Path]) -> None:
    capability = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)  # cap_net_raw=ep
    root = unpack(
        tar(
            entry(
                "ping",
                data=b"x",
                mode=0o755,
                uid=5,
                pax_headers={
                    "SCHILY.xattr.security.capability": capability.decode("utf-8", "surrogateescape"),
                    "SCHILY.xattr.user.note": "a=b\nc",
                },
            ),
            folder("d", pax_headers={"SCHILY.xattr.user.d": "\udcff"}),
            entry("l", tarfile.SYMTYPE, linkname="x", pax_headers={"SCHILY.xattr.trusted.mine": "1"}),
        )
    )
    assert os.getxattr(root / "ping", "security.capability") == capability
    assert os.getxattr(root / "ping", "user.note") == b"a=b\nc"
    assert os.getxattr(root / "d", "user.d") == b"\xff"
    assert os.getxattr(root / "l", "trusted.mine", follow_symlinks=False) == b"1"


def test_a_global_header_says_nothing_of_the_files(unpack: Callable[..., Path]) -> None:
    head = tarfile.TarInfo.create_pax_global_header({"comment": "0123456", "mtime": "5", "uid": "7", "path": "other"})
    root = unpack(head + tar(entry("x", data=b"1", mtime=9)))
    assert (os.listdir(root), os.stat(root / "x").st_mtime, os.stat(root / "x").st_uid) == (["x"], 9, 0)


def test_an_attribute_without_a_value_is_none(unpack: Callable[..., Path]) -> None:
    root = unpack(tar(entry("x", pax_headers={"SCHILY.xattr.user.a": "", "SCHILY.xattr.user.b": "1"})))
    assert os.listxattr(root / "x") == ["user.b"]


def test_a_hard_link_keeps_the_capabilities_of_its_file(unpack: Callable[..., Path]) -> None:
    capability = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0).decode("utf-8", "surrogateescape")
    root = unpack(
        tar(entry("a", data=b"x", pax_headers={"SCHILY.xattr.security.capability": capability}), hard("b", "a"))
    )
    assert os.getxattr(root / "b", "security.capability")


@pytest.mark.parametrize(
    "form", ["--format=gnu", "--format=pax", "--format=pax --sparse-version=0.0", "--format=pax --sparse-version=0.1"]
)
def test_sparse_files_stay_sparse(unpack: Callable[..., Path], tmp_path: Path, form: str) -> None:
    whole = b"A" * 4096 + b"\0" * (1 << 22) + b"B" * 100 + b"\0" * (1 << 20)
    (tmp_path / "lower").mkdir()
    with open(tmp_path / "lower/sparse", "wb") as file:
        file.write(b"A" * 4096)
        file.seek((1 << 22) + 4096)
        file.write(b"B" * 100)
        file.truncate(len(whole))
    data = subprocess.run(
        ["tar", "-S", *form.split(), "-C", tmp_path / "lower", "-c", "sparse"], check=True, capture_output=True
    ).stdout
    assert len(data) < 100_000
    root = unpack(data)
    assert (root / "sparse").read_bytes() == whole
    assert os.stat(root / "sparse").st_blocks * 512 < 100_000


def test_long_and_odd_names(unpack: Callable[..., Path]) -> None:
    odd = "\udcff\udcfe new\nline \\ \x1b[31m"
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        root = unpack(
            tar(
                entry("d/" * 60 + "n" * 255, data=b"1"),
                link("long", "t" * 3000),
                entry(odd, data=b"2"),
                entry(".wh", data=b"3"),
                form=form,
            )
        )
        assert (root / ("d/" * 60 + "n" * 255)).read_bytes() == b"1"
        assert len(os.readlink(root / "long")) == 3000
        assert os.fsencode(odd) in os.listdir(os.fsencode(root))
        assert (root / ".wh").read_bytes() == b"3"


@pytest.mark.parametrize("levels", [1000, 10_000])
def test_a_thousand_levels(unpack: Callable[..., Path], levels: int) -> None:
    root = unpack(tar(entry("a/" * levels + "leaf", data=b"deep")))
    fd = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        below = os.open("a", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    assert os.listdir(fd) == ["leaf"]
    os.close(fd)


def test_directories_that_are_not_described_are_made(unpack: Callable[..., Path]) -> None:
    root = unpack(tar(entry("a/b/c")))
    assert [stat.S_IMODE(os.stat(root / name).st_mode) for name in ("", "a", "a/b")] == [0o755] * 3


def test_directories_that_are_not_described_look_like_those_below(unpack: Callable[..., Path], top: Path) -> None:
    (top / "lower/home/me").mkdir(parents=True)
    os.chown(top / "lower/home/me", 1000, 1001)
    os.chmod(top / "lower/home/me", 0o2700)
    os.chmod(top / "lower", 0o711)
    root = unpack(tar(entry("home/me/file")), below=(str(top / "lower"),))
    status = os.stat(root / "home/me")
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o2700, 1000, 1001)
    assert stat.S_IMODE(os.stat(root).st_mode) == 0o711


def test_directories_keep_their_times_however_they_are_filled(unpack: Callable[..., Path], top: Path) -> None:
    (top / "lower/old/deep").mkdir(parents=True)
    for name in ("old/deep", "old"):
        os.utime(top / "lower" / name, (500, 500))
    root = unpack(
        tar(
            folder("before", mtime=200),
            entry("before/x"),
            entry("after/x"),
            folder("after", mtime=300),
            folder("twice", mtime=1),
            entry("twice/x"),
            folder("twice", mtime=400),
            entry("twice/y"),
            link("way", "before"),
            entry("way/through/x"),
            entry("old/deep/new/x"),
            hard("before/through/y", "twice/x"),
        ),
        below=(str(top / "lower"),),
    )
    names = ("before", "after", "twice", "old", "old/deep")
    assert [os.stat(root / name).st_mtime for name in names] == [200, 300, 400, 500, 500]


def test_a_later_entry_replaces_an_earlier_one(unpack: Callable[..., Path]) -> None:
    root = unpack(
        tar(
            entry("a", data=b"old"),
            hard("keep", "a"),
            entry("a", data=b"new"),
            folder("d"),
            entry("d/x"),
            entry("d", data=b"now a file"),
            entry("e"),
            folder("e"),
            entry("e/y"),
            folder("f"),
            entry("f/z"),
            folder("f", mode=0o700),
        )
    )
    assert (root / "a").read_bytes() == b"new"
    assert (root / "keep").read_bytes() == b"old"
    assert (root / "d").read_bytes() == b"now a file"
    assert (root / "e/y").exists()
    assert (root / "f/z").exists()
    assert stat.S_IMODE(os.stat(root / "f").st_mode) == 0o700


def test_a_file_that_was_archived_twice(unpack: Callable[..., Path]) -> None:
    assert (unpack(tar(entry("a", data=b"1"), hard("a", "./a"))) / "a").read_bytes() == b"1"


@pytest.mark.parametrize("program", ["gzip", "xz", "bzip2", "zstd"])
def test_compressed_layers(unpack: Callable[..., Path], program: str) -> None:
    data = subprocess.run(
        [program, "-c"], input=tar(entry("a", data=b"1" * 1_000_000)), check=True, capture_output=True
    ).stdout
    assert (unpack(data) / "a").stat().st_size == 1_000_000


def test_a_zstd_layer_that_is_damaged_or_cut_short(unpack: Callable[..., Path]) -> None:
    assert refused(unpack, b"\x28\xb5\x2f\xfd" + b"x" * 100).startswith("the compressed data is damaged: ")
    whole = subprocess.run(
        ["zstd", "-c"], input=tar(entry("a", data=os.urandom(300_000))), check=True, capture_output=True
    ).stdout
    assert refused(unpack, whole[:-2]) in ("unexpected EOF", "unpack a: unexpected EOF")


# ---- whiteouts -----------------------------------------------------------------------------------------------------


def test_whiteouts_are_what_the_kernel_takes_for_deleted(unpack: Callable[..., Path], top: Path) -> None:
    for name in ("etc/gone", "etc/stays", "opaque/old", "again/old", "dir/old", "first/old"):
        (top / "lower" / name).parent.mkdir(parents=True, exist_ok=True)
        (top / "lower" / name).write_text("lower")
    root = unpack(
        tar(
            folder("etc"),
            entry("etc/.wh.gone"),
            entry("etc/.wh..wh.plnk"),
            entry(".wh.dir"),
            folder("opaque"),
            entry("opaque/new"),
            entry("opaque/.wh..wh..opq"),
            entry(".wh.again"),
            folder("again"),
            entry("again/new"),
            folder("first"),
            entry("first/new"),
            entry(".wh.first"),
        )
    )
    status = os.lstat(root / "etc/gone")
    assert stat.S_ISCHR(status.st_mode)
    assert status.st_rdev == 0
    assert os.getxattr(root / "opaque", "trusted.overlay.opaque") == b"y"
    assert sorted(merged(top, "layer", "lower", script="find . -type f").split()) == [
        "./again/new",
        "./etc/stays",
        "./first/new",
        "./opaque/new",
    ]


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh..", "d/.wh..."])
def test_a_whiteout_for_the_directory_itself_or_its_parent(unpack: Callable[..., Path], name: str) -> None:
    assert "whiteout" in refused(unpack, tar(folder("d"), entry(name)))


def test_a_whiteout_aimed_through_a_link(unpack: Callable[..., Path], top: Path) -> None:
    root = unpack(
        tar(
            link("way", str(top / "outside")),
            folder(str(top / "outside").lstrip("/")),
            entry("way/.wh.secret"),
            entry("way/.wh..wh..opq"),
        )
    )
    inside = root / str(top / "outside").lstrip("/")
    assert stat.S_ISCHR(os.lstat(inside / "secret").st_mode)
    assert os.getxattr(inside, "trusted.overlay.opaque") == b"y"


# ---- hostile names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../outside/x", "a/../../outside/x", "./../outside/x", "..", "a/b/../../../x", "/../x", "../"]
)
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_dots_that_lead_out_are_refused(unpack: Callable[..., Path], name: str, kind: bytes) -> None:
    assert refused(unpack, tar(entry("x"), entry(name, kind, linkname="x"))).endswith("the name leads out of the layer")


def test_dots_that_stay_inside_are_fine(unpack: Callable[..., Path]) -> None:
    assert (unpack(tar(entry("a/../b/./c", data=b"1"))) / "b/c").read_bytes() == b"1"


def test_absolute_names_mean_the_layer_s_root(unpack: Callable[..., Path], top: Path) -> None:
    root = unpack(tar(entry(f"{top}/outside/secret", data=b"x"), entry("//etc//passwd", data=b"y")))
    assert (root / "etc/passwd").read_bytes() == b"y"
    assert Path(f"{root}{top}/outside/secret").read_bytes() == b"x"


@pytest.mark.parametrize("target", ["/", "..", "../..", "../outside", "/proc/self/root", "/proc/self/cwd", "."])
def test_writing_through_a_link_stays_inside(unpack: Callable[..., Path], top: Path, target: str) -> None:
    absolute = str(top / "outside" / "secret").lstrip("/")
    try:
        root = unpack(
            tar(
                link("way", target),
                entry("way/secret", data=b"hacked"),
                entry(f"way/{absolute}", data=b"hacked"),
                folder("way/etc", mode=0o777),
            )
        )
    except MinirunError as error:
        assert "unpack" in str(error)  # the link leads nowhere in the layer
    else:
        assert (root / "secret").read_bytes() == b"hacked"


def test_a_file_over_a_link_replaces_the_link(unpack: Callable[..., Path], top: Path) -> None:
    root = unpack(tar(link("x", str(top / "outside/secret")), entry("x", data=b"mine", mode=0o777, uid=5)))
    assert (root / "x").read_bytes() == b"mine"
    assert not (root / "x").is_symlink()


def test_a_directory_over_a_link_replaces_the_link(unpack: Callable[..., Path], top: Path) -> None:
    root = unpack(tar(link("x", str(top / "outside")), folder("x", mode=0o777), entry("x/secret", data=b"mine")))
    assert (root / "x/secret").read_bytes() == b"mine"


def test_a_device_over_a_link_replaces_the_link(unpack: Callable[..., Path], top: Path) -> None:
    root = unpack(
        tar(
            link("x", str(top / "outside/secret")),
            entry("x", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3, uid=9),
        )
    )
    assert stat.S_ISCHR(os.lstat(root / "x").st_mode)


def test_a_hard_link_to_a_link_links_the_link(unpack: Callable[..., Path], top: Path) -> None:
    root = unpack(tar(link("s", str(top / "outside/secret")), hard("h", "s"), entry("h", data=b"mine")))
    assert (root / "h").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "name",
    [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "trusted.overlay.metacopy",
        "trusted.overlay.whiteout",
        "trusted.overlay.overlay.opaque",
        "user.overlay.opaque",
    ],
)
def test_attributes_that_speak_to_overlayfs_are_dropped(unpack: Callable[..., Path], name: str) -> None:
    headers = {f"SCHILY.xattr.{name}": "y", "SCHILY.xattr.user.kept": "1"}
    root = unpack(tar(folder("d", pax_headers=headers), entry("f", pax_headers=headers)))
    assert os.listxattr(root / "d") == os.listxattr(root / "f") == ["user.kept"]


@pytest.mark.parametrize("fields", [{"uid": -1}, {"gid": 0xFFFFFFFF}, {"uid": 1 << 40}])
def test_owners_that_cannot_be(unpack: Callable[..., Path], fields: dict[str, int]) -> None:
    assert "out of range" in refused(unpack, tar(entry("x", **fields), form=tarfile.GNU_FORMAT))


@pytest.mark.parametrize("fields", [{"devmajor": -1}, {"devmajor": 1 << 40}, {"devminor": 1 << 50}])
def test_devices_that_cannot_be(unpack: Callable[..., Path], fields: dict[str, int]) -> None:
    refused(unpack, tar(entry("x", tarfile.CHRTYPE, **fields), form=tarfile.GNU_FORMAT))


def test_the_message_is_one_safe_line(unpack: Callable[..., Path]) -> None:
    message = refused(unpack, tar(entry("../\x1b[2J\n\u202e" + "x" * 5000)))
    assert len(message) < 250


# ---- damaged archives ----------------------------------------------------------------------------------------------

WHOLE = tar(folder("d"), entry("d/a", data=b"x" * 2000), link("l", "d"), entry("n" * 200, data=b"y"))


@pytest.mark.parametrize("cut", [1, 100, 512 + 100, 1024 + 1, 1024 + 700, 1024 + 2000, len(WHOLE) - 1024 - 400])
def test_what_is_cut_short_is_refused(unpack: Callable[..., Path], cut: int) -> None:
    assert "unexpected EOF" in refused(unpack, WHOLE[:cut])


def test_an_empty_archive_is_refused_and_one_without_entries_is_not(unpack: Callable[..., Path]) -> None:
    assert "empty" in refused(unpack, b"")
    assert os.listdir(unpack(b"\0" * 1024)) == []


def test_the_end_mark_may_be_missing(unpack: Callable[..., Path]) -> None:
    assert (unpack(WHOLE[:-1024]) / "d/a").exists()


def test_a_damaged_header_is_no_end(unpack: Callable[..., Path]) -> None:
    for place in (3, 512 + 3):
        assert refused(unpack, WHOLE[:place] + b"?" + WHOLE[place + 1 :]) == "archive/tar: invalid tar header"
    assert refused(unpack, b"this is no tar at all" * 100) == "archive/tar: invalid tar header"


def test_damaged_compression(unpack: Callable[..., Path]) -> None:
    packed = gzip.compress(os.urandom(20_000) + WHOLE)
    assert "unexpected EOF" in refused(unpack, gzip.compress(WHOLE)[:-20])
    assert refused(unpack, packed[:100] + b"\xff" * 50 + packed[150:])
    assert "damaged" in refused(unpack, gzip.compress(WHOLE) + b"rubbish behind it")


def test_headers_without_end(unpack: Callable[..., Path]) -> None:
    info, data = entry("././@LongLink", tarfile.GNUTYPE_LONGNAME, b"name\0")
    block = info.tobuf(tarfile.GNU_FORMAT) + data + b"\0" * (512 - len(data))
    assert "invalid tar header" in refused(unpack, block * 5000)


@pytest.mark.parametrize("size", [-1, -512, -(1 << 60)])
def test_sizes_below_zero(unpack: Callable[..., Path], size: int) -> None:
    info, _ = entry("x")
    info.size = size
    assert "invalid tar header" in refused(unpack, info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 2048)


def test_a_sparse_map_that_lies(unpack: Callable[..., Path]) -> None:
    for sparse in ("0,999999", "-5,10", "9223372036854775000,1", "0,x", "1"):
        info, data = entry(
            "x",
            data=b"d" * 512,
            pax_headers={
                "GNU.sparse.map": sparse,
                "GNU.sparse.size": "512",
                "GNU.sparse.major": "0",
                "GNU.sparse.minor": "1",
            },
        )
        try:
            unpack(tar((info, data)))
        except MinirunError as error:
            assert "\n" not in str(error)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.integers(0, 6000), st.binary(min_size=1, max_size=12)), max_size=4),
    st.booleans(),
)
def test_any_damage_ends_in_one_line(top: Path, corpus: bytes, damage: list[tuple[int, bytes]], mend: bool) -> None:
    data = bytearray(corpus)
    for place, change in damage:
        place %= len(data)
        data[place : place + len(change)] = change
    if mend:  # so that the damage gets through
        data = bytearray(mended(data))
    subprocess.run(["find", top / "layer", "-mindepth", "1", "-delete"], check=True)
    with open(top / "layer/data", "wb") as file:
        file.write(data)
    with open(top / "layer/data", "rb") as file:
        (top / "layer/tree").mkdir()
        try:
            apply.apply_layer(LayerReader(file.fileno()).entries(), str(top / "layer/tree"))
        except MinirunError as error:
            assert "\n" not in str(error)
            assert str(error).isprintable()


def test_nothing_is_kept_in_memory() -> None:
    """A reader that remembers its entries would need gigabytes for a million of them."""
    block = tar(entry("x", data=b"y" * 512))[:1024]
    script = (
        "from minirun.image.layer.tar_stream import LayerReader\n"
        "for _ in LayerReader(0).entries(): pass\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", script],
                input=block * count,
                check=True,
                capture_output=True,
                cwd=Path(minirun.__file__).parents[1],
            ).stdout
        )
        for count in (100, 30_000)
    ]
    assert peaks[1] < peaks[0] + 4096


def test_the_reader_reads_forwards_only() -> None:
    data = io.BytesIO(tar(entry("a", data=b"1"), entry("b", data=b"2")))
    read, write = os.pipe()
    os.write(write, data.getvalue())
    os.close(write)
    try:
        entries = LayerReader(read).entries()
        assert [(info.name, b"".join(chunk for _, chunk in entries.data(info))) for info in entries] == [
            ("a", b"1"),
            ("b", b"2"),
        ]
    finally:
        os.close(read)
