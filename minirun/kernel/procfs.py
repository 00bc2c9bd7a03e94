"""Files that are calls: /proc, /proc/sys, /sys and the cgroup tree. The second door to the kernel is `write`."""

from __future__ import annotations

import errno

from minirun.errors import ROOT_HINT, KernelError
from minirun.light import os
from minirun.trace import quoted, tell

BOOT_ID = "/proc/sys/kernel/random/boot_id"


def write(path: str, value: str | int) -> None:
    """Write to a file that is a call: `echo value > path`.

    Such a file takes its value in one write(2) or refuses it, so there is no half way and nothing to sync.
    Errors: KernelError.
    """
    tell("write(2)", lambda *_: f"echo {quoted(value)} > {quoted(path)}")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, str(value).encode())
        finally:
            os.close(fd)
    except OSError as reason:
        hint = ROOT_HINT if reason.errno in (errno.EPERM, errno.EACCES) and os.geteuid() != 0 else ""
        raise KernelError(f"write {value} to {path}", reason.errno or 0, hint=hint) from None


def read(path: str) -> str:
    """The text of such a file. Errors: KernelError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts = []
            while part := os.read(fd, 65536):
                parts.append(part)
        finally:
            os.close(fd)
    except OSError as reason:
        raise KernelError(f"read {path}", reason.errno or 0) from None
    return b"".join(parts).decode("utf-8", "surrogateescape")


def start_time(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None when it is gone, or has ended and waits for its parent.

    Pid and start time together name a process for good: pids are used again, this pair is not.
    """
    return (start_and_parent(pid) or (None, 0))[0]


def start_and_parent(pid: int) -> tuple[int, int] | None:
    """The same, and its parent's pid: a parent that is named here is alive, or the child would have another.

    Fields 22 and 4 of /proc/PID/stat, proc(5); the name in field 2 may hold anything, so the fields are counted from
    its last bracket.
    """
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(fd, 1024).decode("utf-8", "surrogateescape")  # one line of at most some 350 bytes
        finally:
            os.close(fd)
    except OSError:
        return None
    fields = text[text.rfind(")") + 2 :].split()
    return None if fields[0] in "ZX" else (int(fields[19]), int(fields[1]))


def boot_id() -> str:
    """What tells this boot of the machine from any other (random(4))."""
    return read(BOOT_ID).strip()
