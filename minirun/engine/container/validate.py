"""The daemon's checks of a new container's configuration: limits, cpusets, capabilities, security options.

The client has checked the syntax before. The messages are the daemon's (moby, daemon/container.go
verifyContainerSettings and daemon/daemon_unix.go verifyPlatformContainerSettings).
"""

from __future__ import annotations

import os

from minirun.engine.spec import capabilities
from minirun.errors import BadParameter

_LEAST_MEMORY = 6 * 1024 * 1024
_NANO = 1_000_000_000


class Host:
    """What the checks need to know about this machine; a test has another one."""

    @property
    def name(self) -> str:
        """The host name (uname(2))."""
        return os.uname().nodename

    @property
    def cpus(self) -> int:
        """How many CPUs this process may use (sched_getaffinity(2))."""
        return len(os.sched_getaffinity(0))

    def available(self, kind: str) -> str:
        """The CPUs ("cpu") or memory nodes ("node") that are online, as a list like "0-3,6"."""
        try:
            with open(f"/sys/devices/system/{kind}/online") as file:
                return file.read().strip()
        except FileNotFoundError:
            return "0"  # a kernel without NUMA has one node and no such file


def limits(wanted: dict, host: Host) -> None:
    """The resources in a HostConfig. Errors: BadParameter."""
    _memory(wanted["Memory"], wanted["MemorySwap"], wanted["MemoryReservation"])
    _cpu(wanted, host)
    for key, word, kind, what in (
        ("CpusetCpus", "cpus", "cpu", "CPUs"),
        ("CpusetMems", "mems", "node", "memory nodes"),
    ):
        if wanted[key]:
            _cpuset(wanted[key], word, what, host.available(kind))
    if wanted["ShmSize"] < 0:
        raise BadParameter("SHM size can not be less than 0")
    score = wanted["OomScoreAdj"]
    if not -1000 <= score <= 1000:
        raise BadParameter(f"Invalid value {score}, range for oom score adj is [-1000, 1000]")


def _memory(memory: int, swap: int, reservation: int) -> None:
    if 0 != memory < _LEAST_MEMORY:
        raise BadParameter("Minimum memory limit allowed is 6MB")
    if memory > 0 and 0 < swap < memory:
        raise BadParameter("Minimum memoryswap limit should be larger than memory limit, see usage")
    if memory == 0 and swap > 0:
        raise BadParameter("You should always set the Memory limit when using Memoryswap limit, see usage")
    if 0 < reservation < _LEAST_MEMORY:
        raise BadParameter("Minimum memory reservation allowed is 6MB")
    if 0 < memory < reservation:
        raise BadParameter("Minimum memory limit can not be less than memory reservation limit, see usage")


def _cpu(wanted: dict, host: Host) -> None:
    nano, period, quota = wanted["NanoCpus"], wanted["CpuPeriod"], wanted["CpuQuota"]
    for name, other in (("Period", period), ("Quota", quota)):
        if nano > 0 and other > 0:
            raise BadParameter(f"Conflicting options: Nano CPUs and CPU {name} cannot both be set")
    if nano and not 0 <= nano <= host.cpus * _NANO:
        count = host.cpus
        raise BadParameter(f"Range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available")
    if wanted["CpuShares"] < 0:
        raise BadParameter(f"invalid CPU shares ({wanted['CpuShares']}): value must be a positive integer")
    if period and not 1000 <= period <= 1_000_000:
        raise BadParameter("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < quota < 1000:
        raise BadParameter("CPU cfs quota can not be less than 1ms (i.e. 1000)")


def _cpuset(requested: str, word: str, what: str, available: str) -> None:
    try:
        numbers = cpuset(requested)
    except ValueError:
        raise BadParameter(f"Invalid value {requested} for cpuset {word}") from None
    if not numbers <= cpuset(available):
        raise BadParameter(f"Requested {what} are not available - requested {requested}, available: {available}")


def cpuset(text: str) -> set[int]:
    """The numbers in a list like "0-2,5" (cpuset(7), "List format"). Errors: ValueError."""
    numbers: set[int] = set()
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        if not (first.isascii() and first.isdecimal()) or dash and not (last.isascii() and last.isdecimal()):
            raise ValueError(f"no list of numbers: {text}")
        low, high = int(first), int(last) if dash else int(first)
        if low > high or high > 8191:  # the kernel's largest NR_CPUS; more would only fill our memory
            raise ValueError(f"no list of numbers: {text}")
        numbers.update(range(low, high + 1))
    return numbers


def capability_names(wanted: dict) -> None:
    """CapAdd and CapDrop of a HostConfig. Errors: BadParameter."""
    for key in ("CapAdd", "CapDrop"):
        for word in wanted[key] or []:
            try:
                capabilities.full_name(word)
            except ValueError as reason:
                raise BadParameter(f"invalid {key}: {reason}") from None


def security(options: list[str]) -> None:
    """`--security-opt`: an unknown option, or one that minirun does not have yet, is refused and not silently ignored.

    Errors: BadParameter.
    """
    for option in options:
        key, separator, value = option.partition("=")
        if not separator:
            key, _, value = option.partition(":")
        if key == "no-new-privileges" and value in ("", "true", "false"):
            continue
        if (key, value) in (
            ("seccomp", "unconfined"),
            ("systempaths", "unconfined"),
            ("apparmor", "unconfined"),
            ("label", "disable"),
        ):
            continue
        if key in ("seccomp", "apparmor", "label"):
            raise BadParameter(f"minirun cannot do --security-opt {option} yet")
        raise BadParameter(f'invalid --security-opt 2: "{option}"')
