"""An image store beside files that nothing may touch: whatever comes into the store, these stay as they are."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.registry.servers import FakeRegistry

#: Runs a command; the last line of its output is the most memory that it had, in MiB.
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, end="")
sys.exit(code)
"""


def snapshot(root: Path) -> dict[str, tuple]:
    """Type, mode, owner, times, links, content and extended attributes of a directory and all that is in it."""
    found = {}
    for path in [root, *sorted(root.rglob("*"))]:
        status = os.lstat(path)
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        attributes = {
            name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
        }
        found[str(path)] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_nlink,
            status.st_ino,
            content,
            attributes,
        )
    return found


class GuardedStore:
    """`.bait` (Path), what the cases aim at; `guarded(...)` calls minirun with a store beside it.

    Attributes: minirun, the program; given (Path), for archives and settings; store (Path), its data root.
    """

    def __init__(self, minirun, top: Path) -> None:
        self.minirun, self.given, self.store = minirun, top / "given", top / "top/store"
        self.bait = top / "top/bait/dir"
        for directory in (self.given, self.bait, self.store, top / "top/etc"):
            directory.mkdir(parents=True)
        (self.bait / "secret").write_text("do not touch")
        os.link(self.bait / "secret", top / "top/etc/shadow")
        os.symlink("bait", top / "top/link")
        os.mkfifo(top / "top/etc/pipe")
        self._top = top
        self._before = self._snapshot()
        self._nothing = self.listed()

    def __call__(self, *words: str, config: dict | None = None, **options: object):
        """Call minirun. Arguments: config (dict), what its config file says."""
        (self.given / "config.json").write_text(json.dumps(config or {}))
        return self.minirun(
            *words, MINIRUN_ROOT=str(self.store), MINIRUN_CONFIG=str(self.given / "config.json"), **options
        )

    def memory(self, *words: str) -> int:
        """Run it, which must go well. Returns: the most memory that it had, in MiB."""
        before, self.minirun.words = self.minirun.words, [sys.executable, "-c", MEASURE, *self.minirun.words]
        try:
            result = self(*words, timeout=800)
        finally:
            self.minirun.words = before
        assert (result.code, result.err) == (0, ""), result
        return int(result.out.rpartition("\n")[2])

    def _snapshot(self) -> dict[str, tuple]:
        return {
            path: looks
            for part in ("bait", "etc", "link")
            for path, looks in snapshot(self._top / "top" / part).items()
        } | {"": tuple(sorted(os.listdir(self._top / "top")))}

    def listed(self) -> tuple[str, str]:
        """The images, and what `system check` says is left over."""
        return self("images", "-a").out, self("system", "check").out.partition("\n\n")[2]

    def assert_unchanged(self) -> None:
        """Nothing outside of the store has changed."""
        assert self._snapshot() == self._before

    def assert_refused(self, result, text: str) -> None:
        """It ended with Docker's exit code and one line (a hint may follow), and nothing has changed."""
        assert result.code == 1, result
        lines = [line for line in result.err.splitlines() if not line.startswith("hint: ")]
        assert len(lines) == 1 and lines[0].isprintable() and len(lines[0]) < 500, result
        assert text in lines[0]
        self.assert_unchanged()

    def assert_empty(self) -> None:
        """No image is listed, and `system check` finds nothing that is left over."""
        assert self.listed() == self._nothing

    def forget(self) -> None:
        """Remove all images."""
        self("image", "prune", "-a", "-f")


@pytest.fixture
def guarded(minirun, tmp_path: Path) -> Iterator[GuardedStore]:
    guarded = GuardedStore(minirun, tmp_path)
    yield guarded
    guarded.assert_unchanged()
    guarded.assert_empty()


@pytest.fixture
def fake(host, tmp_path: Path) -> Iterator[FakeRegistry]:
    with FakeRegistry(host, tmp_path / "given/fake").running() as fake:
        yield fake
