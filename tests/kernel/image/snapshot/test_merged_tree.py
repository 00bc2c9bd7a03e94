"""A pile of directories walked without a mount: what overlayfs would show, and what a hostile container may make."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from minirun.errors import EngineError
from minirun.image.layer import tar_writer
from minirun.image.snapshot.merged_tree import MergedTree
from minirun.image.snapshot.overlayfs import is_whiteout

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="whiteouts are device nodes")
DEEP = 10_000
LAYERS = """
mkdir -p low/a/b mid/a/b top/a low/c mid/c low/d top/d low/e mid/e/f top/e
echo 1 > low/a/b/one; echo 2 > mid/a/b/two; echo 3 > top/a/three; echo 1 > low/c/gone; echo 1 > low/d/hidden
echo 1 > low/file; echo 2 > mid/file; echo 1 > low/was-file; mkdir top/was-file; mkdir low/was-dir; echo > top/was-dir
mknod top/c c 0 0; mknod mid/a/b/one c 0 0; ln -s a top/link; echo 1 > low/e/shines; echo 2 > mid/e/f/x
setfattr -n trusted.overlay.opaque -v y top/d; setfattr -n trusted.overlay.opaque -v y mid/e
"""


@pytest.fixture
def stack(tmp_path: Path) -> list[str]:
    """Three directories, top first."""
    script = LAYERS.replace(
        "setfattr -n trusted.overlay.opaque -v y ",
        'python3 -c \'import os, sys; os.setxattr(sys.argv[1], "trusted.overlay.opaque", b"y")\' ',
    )
    subprocess.run(["sh", "-ec", script], cwd=tmp_path, check=True)
    return [str(tmp_path / name) for name in ("top", "mid", "low")]


def test_the_walk_is_what_overlayfs_shows(stack, tmp_path):
    shown = subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            "-ec",
            "mount -t tmpfs none /mnt; mkdir /mnt/m; "
            'mount -t overlay overlay -o "$1" /mnt/m; '
            "cd /mnt/m; find . -mindepth 1 | cut -c3-",
            "sh",
            "lowerdir=" + ":".join(stack),
        ],
        capture_output=True,
        check=True,
        text=True,
    ).stdout.splitlines()
    with MergedTree(stack) as tree:
        walked = [b"/".join(found.parts).decode() for found in tree.walk() if not is_whiteout(found.status)]
    assert sorted(walked) == sorted(shown)
    assert "a/b/one" not in walked
    assert {"a/b/two", "a/three", "e/f/x", "file", "was-file"} <= set(walked)


def test_an_archive_has_the_content_of_the_highest_layer(stack):
    read, write = os.pipe()
    tar_writer.write_tree(stack, write)
    os.close(write)
    with os.fdopen(read, "rb") as pipe, tarfile.open(fileobj=io.BytesIO(pipe.read())) as tar:
        assert tar.extractfile("file").read() == b"2\n"
        assert tar.getmember("was-file").isdir()
        assert tar.getmember("link").linkname == "a"


@pytest.mark.parametrize("target", ["/etc", "../outside", "loop"])
def test_a_link_is_never_followed(tmp_path, target):
    """A directory that becomes a link between two looks is a link, or gone."""
    upper, outside = tmp_path / "upper", tmp_path / "outside"
    (upper / "dir/sub").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret").touch()
    with MergedTree([str(upper)]) as tree:
        walk = tree.walk()
        assert next(walk).parts == (b"dir",)
        shutil.rmtree(upper / "dir")
        os.symlink("dir" if target == "loop" else target, upper / "dir")
        assert list(walk) == []


def test_a_fifo_in_a_files_place_is_not_opened(tmp_path):
    """Who opened it would wait for ever."""
    upper = tmp_path / "upper"
    upper.mkdir()
    (upper / "x").write_text("x")
    with MergedTree([str(upper)]) as tree, (tmp_path / "tar").open("wb") as file:
        tar = tar_writer._TarWriter(file.fileno())
        found = next(tree.walk())
        (upper / "x").unlink()
        os.mkfifo(upper / "x")
        tar.add(found)
        tar.end()
    assert (tmp_path / "tar").stat().st_size == 1024
    assert stat.S_ISFIFO((upper / "x").stat().st_mode)


def test_a_socket_has_no_place_in_a_tar_and_a_name_may_not_be_a_whiteouts(tmp_path):
    import socket

    upper = tmp_path / "upper"
    upper.mkdir()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(upper / "s"))
    with (tmp_path / "tar").open("wb") as file:
        tar_writer.write_layer(str(upper), file.fileno())
        assert (tmp_path / "tar").stat().st_size == 1024
        (upper / ".wh.x").touch()
        with pytest.raises(EngineError, match=r"\.wh\.x: a file whose name begins with \.wh\. cannot be in a layer"):
            tar_writer.write_layer(str(upper), file.fileno())
