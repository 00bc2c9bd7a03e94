"""Files of the kernel: /proc (proc(5)), /proc/sys, /sys and cgroups. `write` is the second of the four doors."""

from __future__ import annotations

import errno

from minirun.errors import ROOT_HINT, KernelError
from minirun.light import os
from minirun.trace import quoted, tell

BOOT_ID = "/proc/sys/kernel/random/boot_id"


def write(path: str, value: str | int) -> None:
    """Write a value to a file of the kernel: `echo value > path`. Errors: KernelError."""
    tell("write(2)", lambda *_: f"echo {quoted(value)} > {quoted(path)}")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            # One write(2): the kernel parses each by itself, so a value in two parts would be two values.
            os.write(fd, str(value).encode())
        finally:
            os.close(fd)
    except OSError as reason:
        hint = ROOT_HINT if reason.errno in (errno.EPERM, errno.EACCES) and os.geteuid() != 0 else ""
        raise KernelError(f"write {value} to {path}", reason.errno or 0, hint=hint) from None


def read(path: str) -> str:
    """The text of a file of the kernel. Errors: KernelError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # Up to the end of file: st_size is 0 here, and a read(2) may return less than there is.
            parts = []
            while part := os.read(fd, 65536):
                parts.append(part)
        finally:
            os.close(fd)
    except OSError as reason:
        raise KernelError(f"read {path}", reason.errno or 0) from None
    return b"".join(parts).decode("utf-8", "surrogateescape")


def start_time(pid: int) -> int | None:
    """The start time of a process (int, clock ticks since boot); None when it is gone or a zombie.

    Pid and start time together identify a process: pids are used again, the pair is not.
    """
    return (start_and_parent(pid) or (None, 0))[0]


def start_and_parent(pid: int) -> tuple[int, int] | None:
    """The start time of a process and its parent's pid; None when it is gone or a zombie.

    The parent is alive at this moment: the kernel gives a child another parent when its own ends.
    """
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(fd, 1024).decode("utf-8", "surrogateescape")  # one line of at most some 350 bytes
        finally:
            os.close(fd)
    except OSError:
        return None
    # Fields 22 and 4 (proc(5)), counted from the end of field 2: the name may contain spaces and brackets.
    fields = text[text.rfind(")") + 2 :].split()
    return None if fields[0] in "ZX" else (int(fields[19]), int(fields[1]))


def boot_id() -> str:
    """The UUID of this boot of the machine (random(4)): start times of two boots cannot be compared."""
    return read(BOOT_ID).strip()
