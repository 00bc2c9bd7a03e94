"""A container's monitor, which stays with it: at work, and at rest (see `minirun.engine.shim.reexec`)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from harness.host import PATIENCE, wait_for

CHATTER = "n=0; while [ $n -lt 30 ]; do echo tick $n; n=$((n+1)); sleep 0.1; done; exit 7"
#: The same until somebody says enough.
ENDLESS = "n=0; while ! [ -e /enough ]; do echo tick $n; n=$((n+1)); sleep 0.1; done; exit 7"
#: Seconds after which a monitor rests, however much the machine has to do.
AT_LAST = 15


def monitor_of(minirun, host, name: str) -> int:
    container = minirun.ok("inspect", "-f", "{{.Id}}", name)
    return json.loads(host.run("cat", f"/run/minirun/containers/{container}/monitor.json").stdout)["pid"]


def is_at_rest(pid: int) -> bool:
    return b"minirun.engine.shim.reexec" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_it_rests_and_nobody_notices(minirun, host):
    minirun.ok("run", "-d", "--name", "c1", "alpine", "sh", "-c", ENDLESS)
    pid = monitor_of(minirun, host, "c1")
    assert wait_for(lambda: is_at_rest(pid), AT_LAST)
    assert minirun.ok("ps", "-q")
    assert minirun.ok("exec", "c1", "id", "-u") == "0"
    time.sleep(0.5)
    minirun.ok("exec", "c1", "touch", "/enough")
    assert minirun.ok("wait", "c1") == "7"
    lines = minirun.ok("logs", "c1").split("\n")
    assert len(lines) > 5
    assert lines == [f"tick {number}" for number in range(len(lines))]
    assert minirun.ok("inspect", "-f", "{{.State.ExitCode}}", "c1") == "7"


def test_who_is_attached_loses_nothing(minirun):
    result = minirun("run", "--rm", "alpine", "sh", "-c", CHATTER)
    assert result.code == 7
    assert result.out.split() == " ".join(f"tick {number}" for number in range(30)).split()


def test_standard_input_goes_on(minirun):
    process = minirun.popen("run", "--rm", "-i", "alpine", "cat", stdin=subprocess.PIPE)
    process.stdin.write("before\n")
    process.stdin.flush()
    assert process.stdout.readline() == "before\n"
    time.sleep(1.5)
    out, _ = process.communicate("after\n", timeout=PATIENCE)
    assert (out, process.returncode) == ("after\n", 0)


def test_at_rest_it_takes_little_memory(minirun, host):
    minirun.ok("run", "-d", "--name", "c1", "alpine", "sleep", "1000")
    pid = monitor_of(minirun, host, "c1")
    assert wait_for(lambda: is_at_rest(pid), AT_LAST)

    def private() -> int:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:"))

    assert wait_for(lambda: 0 < private() < 3072), f"{private()} KiB"


def test_it_rests_again_after_a_connect(minirun, host):
    """What follows the container's networks is much to load, and its memory is given back."""
    minirun.ok("network", "create", "foo")
    minirun.ok("run", "-d", "--name", "c1", "alpine", "sleep", "1000")
    pid = monitor_of(minirun, host, "c1")
    assert wait_for(lambda: is_at_rest(pid), AT_LAST)
    for verb in ("connect", "disconnect", "connect"):
        before = Path(f"/proc/{pid}/auxv").read_bytes()  # an executed program has its own random bytes somewhere else
        minirun.ok("network", verb, "foo", "c1")
        assert wait_for(lambda before=before: Path(f"/proc/{pid}/auxv").read_bytes() != before, AT_LAST)
        assert minirun.ok("exec", "c1", "echo", "here") == "here"
    assert is_at_rest(pid)
    assert b"dns_service" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_program_of_another_kind(minirun, tmp_path):
    """What is executable and no program is found out by execve(2), when nobody but the container hears of it."""
    (tmp_path / "bad").write_bytes(b"\0\0no program")
    (tmp_path / "bad").chmod(0o755)
    result = minirun("run", "--rm", "-v", f"{tmp_path}/bad:/bad", "alpine", "/bad")
    assert (result.code, result.err) == (1, "exec /bad: exec format error\n")


def test_a_shim_whose_modules_were_replaced_counts_as_killed(minirun, host, tmp_path):
    """minirun was upgraded while a container ran. The next command cleans up; only the exit code is lost."""
    shutil.copytree(Path(sysconfig.get_path("platlib")) / "minirun", tmp_path / "minirun")
    old = [sys.executable, "-IS", str(tmp_path / "minirun/__main__.py")]
    host.run(*old, "run", "-d", "--name", "c1", "alpine", "sh", "-c", ENDLESS)
    pid = monitor_of(minirun, host, "c1")
    assert wait_for(lambda: is_at_rest(pid), AT_LAST)
    shutil.rmtree(tmp_path / "minirun")
    minirun.ok("exec", "c1", "touch", "/enough")
    assert wait_for(lambda: not Path(f"/proc/{pid}").exists(), PATIENCE)
    assert minirun.ok("ps", "-a", "--format", "{{.Status}}").startswith("Exited (137)")
    minirun.ok("rm", "c1")
    assert host.run("ip", "-o", "link", "show", "master", "minirun0").stdout == ""
