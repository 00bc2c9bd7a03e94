"""What an image has at a path, copied out of a pile of its layers: whole, and nowhere else."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from minirun.image.snapshot.copy_up import copy_up
from minirun.image.snapshot.merged_tree import MergedTree

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="device nodes and owners")
LAYERS = r"""
mkdir -p low/data/d/e top/data/new low/etc; cd low/data
echo 1 > f; ln f second; ln -s /etc/passwd abs; ln -s f rel; mkfifo fifo; mknod null c 1 3; mknod blk b 7 0
chown 7:8 f; chmod 6750 f; chown 70000:3000000 d; chmod 1777 d; chown -h 5:6 rel; chown 5:6 fifo; chmod 600 null
truncate -s 3M holes; echo x | dd of=holes bs=1 seek=1000000 conv=notrunc 2>/dev/null
touch "a b" "$(printf '\377')" "$(printf 'new\nline')"; echo 1 > gone; echo host > ../etc/passwd
echo 1 > d/e/deep; touch -d '2001-02-03 04:05:06.789' f d/e/deep; touch -h -d '2002-01-01' rel
touch -d '2003-01-01' d/e; touch -d '2004-01-01' d
cd ../../top; mknod data/gone c 0 0; echo 2 > data/new/two; chown 9:9 data; chmod 2711 data
touch -d '2005-01-01' data; ln -s data link; ln -s /link/../link way; ln -s circle circle; ln -s ../../../data out
"""


def looks(path: Path) -> dict[str, tuple]:
    """Everything below a directory, and the directory itself: all that counts of each."""
    found = {}
    for name in [
        b".",
        *sorted(
            subprocess.run(
                ["find", ".", "-mindepth", "1", "-print0"], cwd=path, check=True, capture_output=True
            ).stdout.split(b"\0")[:-1]
        ),
    ]:
        place = os.path.join(os.fsencode(path), name)
        status = os.lstat(place)
        what = (
            os.readlink(place)
            if stat.S_ISLNK(status.st_mode)
            else (Path(os.fsdecode(place)).read_bytes() if stat.S_ISREG(status.st_mode) else status.st_rdev)
        )
        attributes = {
            key: os.getxattr(place, key, follow_symlinks=False) for key in os.listxattr(place, follow_symlinks=False)
        }
        found[name] = (
            oct(status.st_mode),
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns,
            what,
            attributes,
            0 if stat.S_ISDIR(status.st_mode) else status.st_nlink,
        )
    return found


@pytest.fixture
def stack(tmp_path: Path) -> list[str]:
    """Two layers, top first."""
    subprocess.run(["sh", "-ec", LAYERS], cwd=tmp_path, check=True)
    capability = bytes.fromhex("0100000202040000000000000000000000000000")
    os.setxattr(tmp_path / "low/data/f", "security.capability", capability)
    os.setxattr(tmp_path / "low/data/d", "user.mine", b"\xff")
    return [str(tmp_path / "top"), str(tmp_path / "low")]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where to."""
    (tmp_path / "target").mkdir(mode=0o700)
    return tmp_path / "target"


@pytest.mark.parametrize("path", ["/data", "/link", "/way/", "data/new/..", "/out", "/../data"])
def test_all_is_as_overlayfs_shows_it(stack, target, tmp_path, path):
    assert copy_up(stack, path, str(target))
    subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            "-ec",
            'mount -t tmpfs none /mnt; mkdir /mnt/m; mount -t overlay overlay -o "$1" /mnt/m; cp -a /mnt/m/data "$2"',
            "sh",
            "lowerdir=" + ":".join(stack),
            tmp_path / "expected",
        ],
        check=True,
    )
    copied = looks(target)
    assert copied == looks(tmp_path / "expected")
    assert b"./gone" not in copied and b"./new/two" in copied
    assert copied[b"./f"][5]["security.capability"]
    assert os.stat(target / "f").st_ino == os.stat(target / "second").st_ino
    assert os.stat(target / "holes").st_blocks < 100


def test_what_is_not_there(stack, target):
    assert not copy_up(stack, "/nosuch/dir", str(target))
    assert not copy_up(stack, "/data/gone", str(target))
    assert os.listdir(target) == []


@pytest.mark.parametrize("path", ["/data/f", "/data/rel", "/data/abs", "/data/f/x", "/data/null"])
def test_what_is_no_directory(stack, target, path):
    with pytest.raises(NotADirectoryError):
        copy_up(stack, path, str(target))
    assert os.listdir(target) == []


def test_a_path_in_circles(stack, target):
    with pytest.raises(OSError, match="symbolic links"):
        copy_up(stack, "/circle/x", str(target))


def test_a_link_never_leads_out(stack, target, tmp_path):
    """Neither one on the way, nor one that is copied: it is made, never passed."""
    (tmp_path / "low/way-out").symlink_to(tmp_path)
    assert not copy_up(stack, "/way-out/target", str(target))
    (tmp_path / "low/data/zz").symlink_to(tmp_path / "low")
    assert copy_up(stack, "/data", str(target))
    assert os.readlink(target / "zz") == str(tmp_path / "low")


def test_overlays_own_marks_stay_behind(stack, target, tmp_path):
    os.setxattr(tmp_path / "low/data/d", "trusted.overlay.opaque", b"y")
    os.setxattr(tmp_path / "low/data/f", "trusted.overlay.metacopy", b"")
    copy_up(stack, "/data", str(target))
    assert os.listxattr(target / "d") == ["user.mine"]
    assert os.listxattr(target / "f") == ["security.capability"]


def test_thousands_of_levels(tmp_path, target):
    """A hostile image may have them; they take no stack and few descriptors."""
    import resource

    deep = os.open(tmp_path, os.O_RDONLY)
    for name in ("low", *["d"] * 3000):
        os.mkdir(name, dir_fd=deep)
        deeper = os.open(name, os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = deeper
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=deep))
    os.close(deep)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, limits[1]))
    try:
        assert copy_up([str(tmp_path / "low")], "/d", str(target))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    with MergedTree([str(target)]) as tree:
        assert sum(1 for _ in tree.walk()) == 3000
    subprocess.run(["rm", "-rf", tmp_path / "low", target], check=True)
