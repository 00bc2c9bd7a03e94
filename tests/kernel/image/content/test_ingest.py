"""`chattr +T` where drafts are made; advice that a file system need not take."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.tarball import make_tar
from minirun.image.archive import import_tar
from minirun.image.content import ingest
from minirun.image.images import Images


def attributes(directory: Path) -> str:
    """What lsattr(1) shows of a directory; skips where it shows nothing."""
    if not shutil.which("lsattr"):
        pytest.skip("lsattr is not here")
    done = subprocess.run(["lsattr", "-d", directory], capture_output=True, text=True, check=False)
    return done.stdout.partition(" ")[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="owners of files take root")
def test_drafts_lie_apart(tmp_path: Path) -> None:
    if subprocess.run(["chattr", "+T", tmp_path], capture_output=True, check=False).returncode:
        pytest.skip("not a file system that knows the attribute")
    images = Images(str(tmp_path / "images"))
    for name in ("a", "b"):
        import_tar.import_tar(images, make_tar(tmp_path / f"{name}.tar", name), name)
        assert "T" in attributes(tmp_path / "images/tmp")
    before = attributes(tmp_path / "images/tmp")
    assert before.replace("T", "-") == attributes(tmp_path / "images/blobs")


def test_a_file_system_without_it_is_left_alone() -> None:
    before = os.stat("/proc/self").st_mode
    ingest.spread_subdirectories("/proc/self")
    assert os.stat("/proc/self").st_mode == before
    with pytest.raises(FileNotFoundError):
        ingest.spread_subdirectories("/nowhere")
