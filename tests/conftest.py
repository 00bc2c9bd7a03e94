"""The fixtures of all tests: an image store made once, throw-away hosts, and a look for what a test has left behind.

A test asks for `host` (a throw-away host, see harness/host.py) or for `minirun` (the program, called in that host).
After it, the containers that it made are removed, and then nothing of ours may be left: no link, cgroup, mount,
process, address, directory. A leak is a failure of the test that leaked. A host that came out clean serves the next
test.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.host import ROOT
from harness.minirun_host import MinirunHost, Program, command

pytest_plugins = ["harness.second_try"]

# `make test &` in a script, and some runners, start us with ^C ignored, and so would be all that the tests start: an
# ignored signal stays ignored over execve(2), one with a handler gets its default again.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# ---- what is made once -----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _scratch() -> Iterator[Path]:
    """A directory of this run, on a disk: overlayfs does not take every file system for its upper layer."""
    if os.geteuid() != 0:
        pytest.skip("needs root: containers are made of namespaces, mounts and cgroups")
    with tempfile.TemporaryDirectory(
        prefix="minirun-tests-", dir=os.environ.get("MINIRUN_TEST_DIR", "/var/tmp"), ignore_cleanup_errors=True
    ) as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


@pytest.fixture(scope="session")
def alpine_tar(_scratch: Path) -> Path:
    """Alpine's root file system as a tar. The recipe keeps what it has downloaded under /var/cache/minirun."""
    tar = _scratch / "alpine.tar"
    done = subprocess.run([ROOT / "rootfs" / "alpine", "--output", tar], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"rootfs/alpine: {done.stderr}")
    return tar


@pytest.fixture(scope="session")
def image_store(_scratch: Path, alpine_tar: Path) -> Path:
    """A data root with the image alpine:latest, imported once; each host gets a copy made of hard links."""
    store = _scratch / "store"
    done = subprocess.run(
        [*command(), "--root", store, "--exec-root", _scratch / "run", "import", alpine_tar, "alpine"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return store


@pytest.fixture(scope="session")
def minirun_command() -> list[str]:
    """The command line of the program under test."""
    return command()


@pytest.fixture(scope="session")
def _hosts(_scratch: Path, image_store: Path) -> Iterator[list[MinirunHost]]:
    """Hosts that came out clean of a test, for the next one."""
    idle: list[MinirunHost] = []
    yield idle
    for machine in idle:
        machine.__exit__()


# ---- for each test ---------------------------------------------------------------------------------------------


@pytest.fixture
def host(
    _hosts: list[MinirunHost], _scratch: Path, image_store: Path, request: pytest.FixtureRequest
) -> Iterator[MinirunHost]:
    """A throw-away host with minirun on it, where nothing of ours is."""
    machine = _hosts.pop() if _hosts else MinirunHost(_scratch, image_store).__enter__()
    yield machine
    clean = False
    try:
        machine.tidy_up()
        if not machine.spoiled and not getattr(request.node, "failed", False):
            machine.assert_clean()
            clean = True
    finally:
        if clean:
            _hosts.append(machine)
        else:
            machine.__exit__()


@pytest.fixture
def new_host(_scratch: Path, image_store: Path, request: pytest.FixtureRequest) -> Iterator[MinirunHost]:
    """A throw-away host on which minirun was never used, and that no other test will get."""
    with MinirunHost(_scratch, image_store) as machine:
        yield machine
        machine.tidy_up()
        if not machine.spoiled and not getattr(request.node, "failed", False):
            machine.assert_clean()


@pytest.fixture
def minirun(host: MinirunHost) -> Program:
    """The program, in a throw-away host."""
    return host.minirun


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """Let fixtures know that their test has failed: it may have left what it would have cleared."""
    report = yield
    if report.when == "call" and report.failed:
        item.failed = True  # type: ignore[attr-defined]
    return report
