"""The overlay's words, said to the kernel."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from minirun.image.snapshot import overlayfs

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")


def mounted(options: list[str], script: str) -> str:
    """The output of a shell script in the mounted overlay, in a mount namespace of its own."""
    run = subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            "-euc",
            'mount -t tmpfs none /mnt; mkdir /mnt/m; mount -t overlay overlay -o "$1" /mnt/m; cd /mnt/m; ' + script,
            "sh",
            ",".join(options),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return run.stdout


@pytest.mark.parametrize("place", ["plain", "with:colon", "with,comma", "back\\slash", "a:,\\ b"])
def test_the_kernel_understands_the_options(tmp_path: Path, place: str) -> None:
    root = tmp_path / place
    (root / "layers/one/etc").mkdir(parents=True)
    (root / "layers/one/etc/motd").write_text("hello\n")
    (root / "layers/two").mkdir()
    (root / "c").mkdir()
    layers = [str(root / "layers" / name) for name in ("one", "two")]
    options = overlayfs.mount(layers, str(root / "c"))["options"]
    shown = mounted(options, "cat etc/motd; echo changed > etc/motd; rm -r proc; find . | sort")
    assert shown.split() == [
        "hello",
        ".",
        "./.dockerenv",
        "./dev",
        "./dev/console",
        "./dev/pts",
        "./dev/shm",
        "./etc",
        "./etc/hostname",
        "./etc/hosts",
        "./etc/motd",
        "./etc/mtab",
        "./etc/resolv.conf",
        "./sys",
    ]
    assert (root / "c/upper/etc/motd").read_text() == "changed\n"
    assert (root / "layers/one/etc/motd").read_text() == "hello\n"
    assert mounted(options, "cat etc/motd").split() == ["changed"]  # it survives the mount


def test_a_volatile_one_can_be_mounted_again(tmp_path: Path) -> None:
    (tmp_path / "layer").mkdir()
    (tmp_path / "c").mkdir()
    for _ in range(2):
        assert (
            mounted(
                overlayfs.mount([str(tmp_path / "layer")], str(tmp_path / "c"), volatile=True)["options"], "echo ok"
            )
            == "ok\n"
        )
    overlayfs.remove(str(tmp_path / "c"))
    assert os.listdir(tmp_path / "c") == []
