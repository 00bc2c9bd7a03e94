"""What Docker's daemon refuses before it makes anything: limits that cannot hold, capabilities that do not exist.

Each check says what is wrong in the daemon's words. The client has already seen to it that a size is a size.
Source: `verifyContainerSettings` and `verifyPlatformContainerSettings` of Docker's daemon.
"""

from __future__ import annotations

import os

from minirun.engine.spec import capabilities
from minirun.errors import BadParameter

_LEAST_MEMORY = 6 * 1024 * 1024
_NANO = 1_000_000_000


class Host:
    """What the checks have to know about this machine; each is looked up when it is asked for."""

    @property
    def name(self) -> str:
        """The host's name."""
        return os.uname().nodename

    @property
    def cpus(self) -> int:
        """How many CPUs this process may use."""
        return len(os.sched_getaffinity(0))

    def available(self, kind: str) -> str:
        """Which CPUs ("cpu") or memory nodes ("node") there are, as a list like "0-3,6"."""
        try:
            with open(f"/sys/devices/system/{kind}/online") as file:
                return file.read().strip()
        except FileNotFoundError:
            return "0"  # a kernel without NUMA has one node and does not speak of it


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


def _cpuset(wish: str, word: str, what: str, available: str) -> None:
    try:
        wished = cpuset(wish)
    except ValueError:
        raise BadParameter(f"Invalid value {wish} for cpuset {word}") from None
    if not wished <= cpuset(available):
        raise BadParameter(f"Requested {what} are not available - requested {wish}, available: {available}")


def cpuset(text: str) -> set[int]:
    """The numbers in a list like "0-2,5" (cpuset(7), "List format"). Errors: ValueError."""
    numbers: set[int] = set()
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        if not (first.isascii() and first.isdecimal()) or dash and not (last.isascii() and last.isdecimal()):
            raise ValueError(f"no list of numbers: {text}")
        low, high = int(first), int(last) if dash else int(first)
        if low > high or high > 8191:  # the kernel's own NR_CPUS ends there; a wish must not fill our memory
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
    """`--security-opt`: what is not known, or cannot be done yet, is refused rather than left out in silence.

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
