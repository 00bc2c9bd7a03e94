"""The tests that look at cgroups, on a machine with systemd and cgroup v2 alone (`make test-vm`).

MINIRUN_VM is a command that runs another one in such a machine, in a copy of this tree, and ends with its exit code:

    make test-vm MINIRUN_VM="vm/run --tree . --net --timeout 3000 --"

The machine must be able to install Debian and Python packages, as `make test` does there.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MACHINE = shlex.split(os.environ.get("MINIRUN_VM", ""))
LOOKED_AT = "tests/cli/test_limits.py tests/cli/test_confinement.py tests/cli/test_run.py tests/kernel/test_check.py"

pytestmark = [pytest.mark.vm, pytest.mark.skipif(not MACHINE, reason="MINIRUN_VM does not say how to run a machine")]


def in_machine(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MACHINE, "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.timeout(3600)
def test_the_same_tests_pass_there():
    done = in_machine(f"stat -fc %T /sys/fs/cgroup && make test TESTS='{LOOKED_AT}'")
    assert done.stdout.startswith("cgroup2fs"), done.stdout + done.stderr
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
    assert " passed" in done.stdout
    assert " failed" not in done.stdout
