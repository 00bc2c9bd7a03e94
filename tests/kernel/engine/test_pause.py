"""A container that is held still: it goes on, whoever is killed. Whether it moves is asked of its own clock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import minirun as package
from harness.host import PATIENCE, wait_for

ROOT = os.path.dirname(os.path.dirname(package.__file__))
SCRIPT = """
import sys, time
sys.path.insert(0, sys.argv[1])
from minirun.engine.container import index
from minirun.engine.daemon import Daemon
from minirun.engine.pause import paused
container = index.find(Daemon(), "c1")
with container.lock(), paused(container):
    print("frozen", flush=True)
    sys.stdin.read()
print("thawed", flush=True)
"""


class Clock:
    """A container that writes the time, as fast as it can."""

    def __init__(self, minirun, host) -> None:
        container = minirun.begin("alpine", "sh", "-c", "while :; do date +%s%N > /tick; done")
        self.file = host.data / "containers" / container.id / "upper/tick"
        assert wait_for(self.runs)

    def runs(self) -> bool:
        """Whether it writes something new, soon."""
        try:
            seen = self.file.stat().st_mtime_ns
            return bool(wait_for(lambda: self.file.stat().st_mtime_ns != seen, 0.3))
        except FileNotFoundError:
            return False


@pytest.fixture
def clock(minirun, host) -> Clock:
    return Clock(minirun, host)


@pytest.fixture
def holder(host, clock) -> Iterator[subprocess.Popen]:
    """Somebody who holds the container still until his input ends."""
    process = host.popen(sys.executable, "-c", SCRIPT, ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == "frozen\n"
    yield process
    process.kill()
    process.communicate(timeout=PATIENCE)


def guardian_of(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def test_still_and_on_again(clock, holder):
    assert not clock.runs()
    assert holder.communicate(timeout=PATIENCE)[0] == "thawed\n"
    assert clock.runs()


def test_whoever_holds_it_is_killed(clock, holder):
    holder.kill()
    assert wait_for(clock.runs)


def test_the_guardian_is_killed(clock, holder):
    os.kill(guardian_of(holder.pid), signal.SIGKILL)
    assert not clock.runs()
    assert holder.communicate(timeout=PATIENCE)[0] == "thawed\n"
    assert clock.runs()


def test_both_are_killed(minirun, clock, holder):
    guardian = guardian_of(holder.pid)
    assert "frozen" not in minirun("system", "check").out  # somebody is at work on it
    for pid in (guardian, holder.pid):
        os.kill(pid, signal.SIGKILL)
    holder.wait()
    assert not clock.runs()
    assert "(c1) is frozen" in minirun("system", "check").out
    assert not clock.runs()
    assert "(c1) is frozen" in minirun("system", "check", "--repair").out
    assert clock.runs()
    assert minirun.ok("system", "check").endswith("Nothing is left over.")
