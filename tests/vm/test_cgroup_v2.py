"""The tests that look at cgroups and at the network, on a machine with systemd and cgroup v2 alone (`make test-vm`).

MINIRUN_VM is a command that runs another one in such a machine, as root, in a copy of the directory in which it is
called, and ends with that one's exit code:

    make test-vm MINIRUN_VM="vm/run --tree . --net --timeout 7200 --"

The machine must be able to install Debian and Python packages, as `make test` does there. An emulated one takes its
time: most of an hour.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MACHINE = shlex.split(os.environ.get("MINIRUN_VM", ""))
LOOKED_AT = """tests/cli/test_limits.py tests/cli/test_confinement.py tests/cli/test_network.py tests/cli/test_run.py
    tests/cli/test_commit.py tests/kernel/engine/check/test_check.py tests/kernel/engine/test_pause.py
    tests/kernel/network/test_controller.py tests/kernel/network/test_endpoints.py"""
#: What belongs to this machine: an environment made here does not work there.
OURS = (".git", ".venv", "build", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis")

pytestmark = [pytest.mark.vm, pytest.mark.skipif(not MACHINE, reason="MINIRUN_VM does not say how to run a machine")]


@pytest.mark.timeout(7200)
def test_the_same_tests_pass_there(tmp_path):
    tree = shutil.copytree(ROOT, tmp_path / "minirun", symlinks=True, ignore=shutil.ignore_patterns(*OURS))
    machine = [shutil.which(MACHINE[0]) or os.path.abspath(MACHINE[0]), *MACHINE[1:]]
    script = f"stat -fc %T /sys/fs/cgroup && make test TESTS={shlex.quote(' '.join(LOOKED_AT.split()))}"
    done = subprocess.run([*machine, "sh", "-c", script], cwd=tree, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("cgroup2fs\n"), done.stdout + done.stderr
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
    assert " passed" in done.stdout
    assert " failed" not in done.stdout
