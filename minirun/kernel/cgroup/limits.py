"""The limits of a cgroup in both versions, as two columns of one table (cgroups(7), the kernel's cgroup-v2.rst)."""

from __future__ import annotations

#: config.json's name → v1 controller and file → v2 file, in the order in which they must be written. The memory limit
#: before memory+swap, which may not be smaller (EINVAL); the period before the quota, which the kernel checks against
#: it.
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
    """The value of a limit for its v2 file; None where it is not set.

    Arguments: name (str), of LIMITS; resources (dict), config.json's `linux.resources`.
    """
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    if name == "memory.swap":
        # v2 counts swap alone, v1 and the OCI spec memory and swap together.
        swap, limit = memory["swap"], memory.get("limit") or 0
        return "max" if swap < 0 else swap - limit
    if name == "cpu.shares":
        # Shares of 2 to 262144 become weights of 1 to 10000, by the straight line that runc and systemd use.
        return 1 + (cpu["shares"] - 2) * 9999 // 262142
    if name in ("cpu.quota", "cpu.period"):
        # Quota and period are one line of cpu.max in v2.
        quota = cpu.get("quota") or -1
        return f"{quota if quota > 0 else 'max'} {cpu.get('period') or 100000}"
    value = setting(name, resources)
    return "max" if value == -1 else value


def setting(name: str, resources: dict) -> str | int | None:
    """The value of a limit in config.json's `linux.resources`; None where it is not set, or 0, which means the same."""
    group, key = name.split(".")
    value = (resources.get(group) or {}).get(key)
    return None if value in (None, 0, "") else value
