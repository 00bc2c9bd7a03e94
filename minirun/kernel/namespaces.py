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


class Opened:
    """An open namespace file: `.fd`, and the `.path` by which it was found; `with Opened(path) as namespace: ...`."""

    __slots__ = ("fd", "path")

    def __init__(self, path: str) -> None:
        """Open /proc/PID/ns/net, or a bind mount of it. Errors: KernelError."""
        self.path = path
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as reason:
            raise KernelError(f"open {path}", reason.errno or 0) from None

    def __str__(self) -> str:
        return self.path

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def is_ours(self) -> bool:
        """Whether we are in it already (a container with `--network host` shares the host's)."""
        return os.fstat(self.fd).st_ino == os.stat(f"/proc/self/ns/{os.path.basename(self.path)}").st_ino


def open_others(pid: int) -> dict[str, Opened]:
    """The namespaces of a process that are not ours too, by OCI word, in the order in which they must be entered."""
    opened = {}
    for word, (_, file) in NAMESPACES.items():
        namespace = Opened(f"/proc/{pid}/ns/{file}")
        if namespace.is_ours():
            os.close(namespace.fd)
        else:
            opened[word] = namespace
    return opened


def enter(opened: dict[str, Opened]) -> None:
    """Enter opened namespaces, in the table's order, and close them.

    The pid namespace among them takes effect for the next child only (see the module's head).
    """
    for word, (flag, _) in NAMESPACES.items():
        if word in opened:
            syscalls.setns(opened[word].fd, flag, opened[word].path)
            os.close(opened[word].fd)


class inside:
    """Be in another namespace for a moment: `with inside(namespace, CLONE_NEWNET): ...`.

    Only for namespaces that a process can leave again freely, such as network; it always comes back, also after an
    error, because a runtime that stays in a container's namespace would go on to do the container's work to the host.
    """

    def __init__(self, namespace: Opened, flag: int) -> None:
        self.namespace, self.flag = namespace, flag

    def __enter__(self) -> None:
        file = next(file for flag, file in NAMESPACES.values() if flag == self.flag)
        self.home = Opened(f"/proc/self/ns/{file}")
        syscalls.setns(self.namespace.fd, self.flag, self.namespace.path)

    def __exit__(self, *_: object) -> None:
        syscalls.setns(self.home.fd, self.flag, f"/proc/{os.getpid()}/ns/{os.path.basename(self.home.path)}")
        os.close(self.home.fd)
