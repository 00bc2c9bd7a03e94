"""Limits, read from the kernel's own cgroup files, and felt by the processes they are for."""

from __future__ import annotations

import json
import re

import pytest

from harness.host import wait_for

HOG = "dd if=/dev/zero of=/dev/shm/x bs=1M count=60 2>/dev/null"  # pages of a tmpfs count as the container's memory


@pytest.fixture
def v1(host):
    """Whether this machine's controllers are those of cgroup v1."""
    from harness.host import cgroup_trees

    return any(kind == "cgroup" for _, kind, _ in cgroup_trees())


def test_without_options_nothing_is_limited(minirun, v1):
    container = minirun.begin("alpine", "sleep", "100")
    assert container.limit("memory.limit_in_bytes", "memory.max") in ("9223372036854771712", "max")
    assert container.limit("pids.max", "pids.max") == "max"
    assert container.limit("cpu.cfs_quota_us", "cpu.max") in ("-1", "max 100000")
    assert container.limit("cpu.shares", "cpu.weight") == ("1024" if v1 else "100")


@pytest.mark.parametrize(
    ("options", "memory", "v1_swap", "v2_swap"),
    [
        (["-m", "64m"], 64 << 20, 128 << 20, 64 << 20),
        (["-m", "64m", "--memory-swap", "96m"], 64 << 20, 96 << 20, 32 << 20),
        (["-m", "64m", "--memory-swap", "64m"], 64 << 20, 64 << 20, 0),
        (["-m", "64m", "--memory-swap", "-1"], 64 << 20, 9223372036854771712, "max"),
    ],
)
def test_memory_and_swap(minirun, v1, options, memory, v1_swap, v2_swap):
    container = minirun.begin(*options, "alpine", "sleep", "100")
    assert container.limit("memory.limit_in_bytes", "memory.max") == str(memory)
    assert container.limit("memory.memsw.limit_in_bytes", "memory.swap.max") == str(v1_swap if v1 else v2_swap)


def test_memory_reservation(minirun):
    container = minirun.begin("--memory-reservation", "32m", "alpine", "sleep", "100")
    assert container.limit("memory.soft_limit_in_bytes", "memory.low") == str(32 << 20)


@pytest.mark.parametrize(
    ("options", "quota", "period"),
    [
        (["--cpus", "0.5"], "50000", "100000"),
        (["--cpus", "1.25"], "125000", "100000"),
        (["--cpu-period", "50000", "--cpu-quota", "25000"], "25000", "50000"),
    ],
)
def test_cpus(minirun, v1, options, quota, period):
    container = minirun.begin(*options, "alpine", "sleep", "100")
    if v1:
        assert (container.limit("cpu.cfs_quota_us", ""), container.limit("cpu.cfs_period_us", "")) == (quota, period)
    else:
        assert container.limit("", "cpu.max") == f"{quota} {period}"


def test_cpu_shares(minirun, v1):
    container = minirun.begin("-c", "512", "alpine", "sleep", "100")
    assert container.limit("cpu.shares", "cpu.weight") == ("512" if v1 else "20")


def test_cpuset(minirun):
    container = minirun.begin("--cpuset-cpus", "0", "alpine", "sleep", "100")
    assert container.limit("cpuset.cpus", "cpuset.cpus") == "0"
    assert container.sh("grep Cpus_allowed_list /proc/1/status").split() == ["Cpus_allowed_list:", "0"]


def test_pids_limit(minirun):
    container = minirun.begin("--pids-limit", "5", "alpine", "sleep", "100")
    assert container.limit("pids.max", "pids.max") == "5"
    result = minirun("exec", "c1", "sh", "-c", "for n in 1 2 3 4 5 6 7 8; do sleep 1 & done")
    assert "can't fork: Resource temporarily unavailable" in result.err


@pytest.mark.parametrize("value", ["0", "-1"])
def test_pids_unlimited(minirun, value):
    assert minirun.begin("--pids-limit", value, "alpine", "sleep", "100").limit("pids.max", "pids.max") == "max"


def test_every_process_is_in_every_cgroup(minirun, host):
    container = minirun.begin("alpine", "sh", "-c", "sleep 100 & sleep 100")
    from harness.host import cgroup_trees

    assert len(container.cgroups()) == len(cgroup_trees())
    for directory in container.cgroups():
        assert wait_for(lambda: len((directory / "cgroup.procs").read_text().split()) == 2), directory  # noqa: B023


def test_out_of_memory(minirun):
    result = minirun("run", "--name", "oom", "-m", "32m", "--memory-swap", "32m", "alpine", "sh", "-c", "exec " + HOG)
    assert (result.out, result.err, result.code) == ("", "", 137)
    state = json.loads(minirun.ok("inspect", "oom"))[0]["State"]
    assert (state["Status"], state["OOMKilled"], state["ExitCode"]) == ("exited", True, 137)
    assert re.search(r"Exited \(137\)", minirun.ok("ps", "-a"))


def test_a_child_out_of_memory(minirun):
    result = minirun("run", "--name", "oom", "-m", "32m", "alpine", "sh", "-c", f"{HOG}; echo rc=$?")
    assert (result.out, result.code) == ("rc=137\n", 0)
    state = json.loads(minirun.ok("inspect", "oom"))[0]["State"]
    assert (state["OOMKilled"], state["ExitCode"]) == (True, 0)


def test_no_oom_without_reason(minirun):
    minirun("run", "--name", "w1", "-m", "32m", "alpine", "sh", "-c", "kill -9 $$; exit 137")
    assert json.loads(minirun.ok("inspect", "w1"))[0]["State"]["OOMKilled"] is False


@pytest.mark.timing("within 0.6 s the loop must have used up its quota")
def test_cpu_time_is_limited(minirun):
    """Half a second of work at a tenth of a processor is throttled: the kernel counts it."""
    container = minirun.begin("--cpus", "0.1", "alpine", "sh", "-c", "while :; do :; done")
    import time

    time.sleep(0.6)
    assert int(re.search(r"nr_throttled (\d+)", container.limit("cpu.stat", "cpu.stat"))[1]) > 0


def test_shm_size(minirun):
    assert "size=131072k" in minirun.sh("grep ' /dev/shm ' /proc/self/mountinfo", "--shm-size", "128m")
    assert "size=65536k" in minirun.sh("grep ' /dev/shm ' /proc/self/mountinfo")
