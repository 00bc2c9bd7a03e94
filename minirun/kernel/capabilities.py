"""Capabilities: the privileges of root in 41 parts, and the five sets in which a thread holds them (capabilities(7)).

permitted     what it may use                           effective   what the kernel checks now
inheritable   kept over execve if the file has it too    ambient     kept over execve, also without root
bounding      the limit of what execve can give, to this process and its children
"""

from __future__ import annotations

from minirun.errors import MinirunError
from minirun.kernel import procfs

#: In the order of the kernel's numbers (linux/capability.h); bit N of a set is NAMES[N].
NAMES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP
MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
""".split()
NUMBERS = {f"CAP_{name}": number for number, name in enumerate(NAMES)}


def mask(names: list[str]) -> int:
    """The bits of a list of "CAP_..." names. Errors: MinirunError for a name that Linux does not have."""
    bits = 0
    for name in names:
        if name not in NUMBERS:
            raise MinirunError(f"unknown capability: {name}")
        bits |= 1 << NUMBERS[name]
    return bits


def held() -> dict[str, int]:
    """The five sets of this process, by the names in /proc/PID/status: CapInh, CapPrm, CapEff, CapBnd, CapAmb."""
    lines = procfs.read("/proc/self/status").splitlines()
    return {line[:6]: int(line[7:], 16) for line in lines if line.startswith("Cap")}


def _setpriv_name(number: int) -> str:
    """A capability as setpriv(1) calls it; "cap_41" for one that is newer than our table."""
    return NAMES[number].lower() if number < len(NAMES) else f"cap_{number}"


def limit_bounding(allowed: int) -> None:
    """Drop from the bounding set what is not in `allowed` (int, bits); needs CAP_SETPCAP."""
    from minirun.kernel import syscalls  # who only wants the names need not load it

    # What this kernel has, which may be more than our table knows: those are dropped by number too.
    bounding = held()["CapBnd"]
    for number in range(bounding.bit_length()):
        if bounding >> number & 1 and not allowed >> number & 1:
            syscalls.prctl("CAPBSET_DROP", number, shell=f"setpriv --bounding-set -{_setpriv_name(number)}")


def limit(sets: dict[str, list[str]]) -> None:
    """Set the effective, permitted, inheritable and ambient sets to the OCI lists in `sets` (missing: empty)."""
    from minirun.kernel import syscalls

    # capset(2) refuses an effective set beyond the permitted one; runc intersects in the same way.
    permitted = mask(sets.get("permitted") or [])
    syscalls.capset(mask(sets.get("effective") or []) & permitted, permitted, mask(sets.get("inheritable") or []))
    # Ambient last: a capability can be raised only if it is permitted and inheritable (prctl(2)).
    ambient = mask(sets.get("ambient") or [])
    if ambient or held()["CapAmb"]:  # a user may have started us with some
        syscalls.cap_ambient_clear()
    for number in range(ambient.bit_length()):
        if ambient >> number & 1:
            syscalls.cap_ambient_raise(number)
