"""What is read of a container's own files, when the container does not mean well."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun.lecture.compare import snapshot_process


@contextlib.contextmanager
def process_with_root(root: Path) -> Iterator[int]:
    """A process whose root is this directory."""
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.chroot(root)
            os.write(tell, b"!")
            signal.pause()
        finally:
            os._exit(1)
    os.close(tell)
    try:
        assert os.read(ready, 1) == b"!"
        yield pid
    finally:
        os.close(ready)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with an etc, and beside it a file that is none of its business."""
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / "root" / "etc").mkdir(parents=True)
    return tmp_path / "root"


def test_links_lead_nowhere_but_into_the_process_own_root(root: Path) -> None:
    (root / "etc/hosts").symlink_to("/../../../../secret")
    (root / "etc/hostname").symlink_to(root.parent / "secret")  # an absolute path, which begins at its root
    (root / "etc/real").write_text("one\ntwo\n")
    (root / "etc/resolv.conf").symlink_to("/etc/real")
    with process_with_root(root) as pid:
        found = snapshot_process.files(pid)
    assert found["/etc/hosts"] == found["/etc/hostname"] == ["(no such file or directory)"]
    assert found["/etc/resolv.conf"] == ["one", "two"]


def test_what_is_no_file_is_not_opened(root: Path) -> None:
    os.mkfifo(root / "etc/hosts")  # to open it for reading would wait for a writer
    os.mknod(root / "etc/hostname", 0o600 | 0o020000, os.makedev(5, 0))
    (root / "etc/resolv.conf").mkdir()
    with process_with_root(root) as pid:
        found = snapshot_process.files(pid)
    assert {name: found[name] for name in snapshot_process.ETC} == {
        name: ["(no file)"] for name in snapshot_process.ETC
    }
    assert found["/etc/hosts itself"] == {"mode": "prw-r--r--", "owner": "0", "group": "0"}


def test_a_large_file_is_read_to_a_limit_and_any_bytes_are_text(root: Path) -> None:
    (root / "etc/hosts").write_bytes(b"x" * (snapshot_process.LARGEST + 5))
    (root / "etc/hostname").write_bytes(b"\xff\n")
    with process_with_root(root) as pid:
        found = snapshot_process.files(pid)
    assert [len(line) for line in found["/etc/hosts"]] == [snapshot_process.LARGEST]
    assert found["/etc/hostname"] == ["\\xff"]


def test_a_magic_link_is_not_followed(root: Path) -> None:
    (root / "proc").mkdir()
    (root / "etc/hosts").symlink_to("/proc/1/root/etc/hosts")
    with process_with_root(root) as pid:
        assert snapshot_process.files(pid)["/etc/hosts"] == ["(no such file or directory)"]
