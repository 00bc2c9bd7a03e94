"""Namespaces: what a process can see of the machine (namespaces(7)).

The pid namespace is the odd one out, and every runtime's author has met this: unshare(2) and setns(2) move a process
into the others at once, but for pids they only say where its *future children* will be born. A process cannot change
the pid it already has. So a container's first process is always a child of the one that asked for its namespace; the
kernel makes it pid 1 there.
"""

from __future__ import annotations

import os

from minirun.errors import KernelError
from minirun.kernel import syscalls
from minirun.kernel.syscalls import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
)

#: OCI word → (flag, file in /proc/PID/ns). The mount namespace is last: until then the host's paths still resolve.
NAMESPACES = {
    "user": (CLONE_NEWUSER, "user"),
    "cgroup": (CLONE_NEWCGROUP, "cgroup"),
    "ipc": (CLONE_NEWIPC, "ipc"),
    "uts": (CLONE_NEWUTS, "uts"),
    "network": (CLONE_NEWNET, "net"),
    "pid": (CLONE_NEWPID, "pid"),
    "mount": (CLONE_NEWNS, "mnt"),
}


def flags_of(words: list[str]) -> int:
    """The CLONE_NEW* bits for OCI namespace words."""
    flags = 0
    for word in words:
        flags |= NAMESPACES[word][0]
    return flags


def open_namespace(path: str) -> int:
    """A descriptor for a namespace file, /proc/PID/ns/net or a bind mount of it. Errors: KernelError."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as reason:
        raise KernelError(f"open {path}", reason.errno or 0) from None


def open_of(pid: int, words: list[str]) -> dict[str, int]:
    """Descriptors of a process's namespaces, by OCI word, in the order in which they must be entered."""
    return {word: open_namespace(f"/proc/{pid}/ns/{file}") for word, (_, file) in NAMESPACES.items() if word in words}


def enter(opened: dict[str, int]) -> None:
    """Enter opened namespaces, in the table's order, and close them.

    The pid namespace among them takes effect for the next child only (see the module's head).
    """
    for word, (flag, _) in NAMESPACES.items():
        if word in opened:
            syscalls.setns(opened[word], flag)
            os.close(opened[word])


class inside:
    """Be in another namespace for a moment: `with inside(fd, CLONE_NEWNET): ...`.

    Only for namespaces that a process can leave again freely, such as network; it always comes back, also after an
    error, because a runtime that stays in a container's namespace would go on to do the container's work to the host.
    """

    def __init__(self, fd: int, flag: int) -> None:
        self.fd, self.flag = fd, flag
        self.home = -1

    def __enter__(self) -> None:
        file = next(file for flag, file in NAMESPACES.values() if flag == self.flag)
        self.home = open_namespace(f"/proc/self/ns/{file}")
        syscalls.setns(self.fd, self.flag)

    def __exit__(self, *_: object) -> None:
        syscalls.setns(self.home, self.flag)
        os.close(self.home)
