"""`run`, `exec`, `start`, `stop` and `ps` take their code from one file (see `minirun.hot_path`).

A test that fails here names modules that are loaded from their .pyc files: ENTRY_POINTS in minirun/hot_path.py lacks a
line for them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

#: What is loaded before there is a finder that could read the archive.
BEFORE = {"__init__", "bootstrap"}
#: Done once before: it makes the archive ready, and the bridge with its rules.
RUN = ("run", "--rm", "alpine", "true")
#: It ends by itself, long after its shim has executed a fresh interpreter.
STAY = ("run", "-d", "--name", "c1", "-p", "8080:80", "alpine", "sleep", "14")


@pytest.fixture(scope="module", autouse=True)
def archive():
    """The archive of the sources as they are installed now, should one have been edited since."""
    if "MINIRUN" in os.environ:
        pytest.skip("not the program beside this Python")
    subprocess.run([sys.executable, "-m", "minirun.hot_path"], cwd="/", check=True)


@pytest.fixture
def opened(minirun, host, tmp_path):
    """Run a command to the end of all its processes; the files of minirun's code that were opened, in order."""

    def opened(*words: str) -> list[str]:
        trace = tmp_path / "trace"
        done = host.run("strace", "-fqq", "-e", "trace=openat,execve", "-o", str(trace), *minirun.words, *words)
        assert done.returncode == 0, done.stderr
        lines = [line for line in trace.read_text().splitlines() if "ENOENT" not in line]
        assert any("/minirun/__main__.py" in line for line in lines)
        opened.again = any('execve("/proc/self/exe"' in line for line in lines)
        return re.findall(r"/minirun/(\S+\.(?:pyc|bin))\"", "\n".join(lines))

    minirun.ok(*RUN)
    return opened


def stems(files: list[str]) -> set[str]:
    return {re.sub(r"__pycache__/|\.cpython-\d+|\.pyc$", "", name) for name in files if name.endswith(".pyc")}


def archives(files: list[str]) -> int:
    return sum(name.endswith(".bin") for name in files)


def test_run(opened):
    files = opened(*RUN)
    assert stems(files) == BEFORE
    assert archives(files) == 1, "all of it in one read"


def test_exec_start_stop_and_ps(minirun, opened):
    minirun.begin("alpine", "sleep", "1000")
    assert stems(opened("ps")) == BEFORE
    assert stems(opened("exec", "c1", "true")) == BEFORE
    assert stems(opened("stop", "-t", "0", "c1")) == BEFORE
    minirun.ok("rm", "c1")
    minirun.ok("create", "--name", "c1", "alpine", "true")
    assert stems(opened("start", "-a", "c1")) == BEFORE


def test_ps_reads_the_first_part_only(minirun, opened):
    minirun.begin("alpine", "sleep", "1000")
    files = opened("ps")
    assert archives(files) == 1 and len(files) == 3


@pytest.mark.slow
def test_the_idle_shim(opened):
    """Executed anew, and at the end of its container."""
    files = opened(*STAY)
    assert opened.again, "the shim has not executed a fresh interpreter"
    assert stems(files) == BEFORE
