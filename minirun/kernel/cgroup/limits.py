"""The limits of a cgroup in both versions, two columns of one table (cgroups(7), the kernel's cgroup-v2.rst).

This is all that a reader of a limit has to know of the difference, and a slide for a lecture.
"""

from __future__ import annotations

#: config.json's name → v1 controller and file → v2 file. In the order in which they must be written: the memory limit
#: before memory+swap (which may not be smaller), the period before the quota.
LIMITS = (
    ("memory.limit", "memory", "memory.limit_in_bytes", "memory.max"),
    ("memory.swap", "memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
    ("memory.reservation", "memory", "memory.soft_limit_in_bytes", "memory.low"),
    ("memory.swappiness", "memory", "memory.swappiness", ""),
    ("cpu.shares", "cpu", "cpu.shares", "cpu.weight"),
    ("cpu.period", "cpu", "cpu.cfs_period_us", "cpu.max"),
    ("cpu.quota", "cpu", "cpu.cfs_quota_us", "cpu.max"),
    ("cpu.cpus", "cpuset", "cpuset.cpus", "cpuset.cpus"),
    ("cpu.mems", "cpuset", "cpuset.mems", "cpuset.mems"),
    ("pids.limit", "pids", "pids.max", "pids.max"),
    ("blockIO.weight", "blkio", "blkio.bfq.weight", "io.bfq.weight"),
)


def v2_value(name: str, resources: dict) -> str | int | None:
    """What a limit is in v2's words; None leaves the file alone.

    v2 counts swap alone where v1 counts memory+swap, weighs processors from 1 to 10000 where v1 has shares from 2 to
    262144 (the line between the ends is the one that runc and systemd draw), and takes quota and period in one line.
    """
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    if name == "memory.swap":
        swap, limit = memory["swap"], memory.get("limit") or 0
        return "max" if swap < 0 else swap - limit
    if name == "cpu.shares":
        return 1 + (cpu["shares"] - 2) * 9999 // 262142
    if name in ("cpu.quota", "cpu.period"):
        quota = cpu.get("quota") or -1
        return f"{quota if quota > 0 else 'max'} {cpu.get('period') or 100000}"
    value = wished(name, resources)
    return "max" if value == -1 else value


def wished(name: str, resources: dict) -> str | int | None:
    """The value of a limit in config.json's `linux.resources`; None where it is not set (0 means the same)."""
    group, key = name.split(".")
    value = (resources.get(group) or {}).get(key)
    return None if value in (None, 0, "") else value
