"""Namespaces: what a process can see of the machine (namespaces(7)).

The pid namespace is different from the others: unshare(2) and setns(2) move a process into those at once, but for pids
they only say where its *future children* will be born, since a process cannot change the pid that it has. So a
container's first process is always a child of the one that asked for its namespace, and is pid 1 there.
"""

from __future__ import annotations

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
from minirun.light import os

#: OCI type → (flag, file in /proc/PID/ns), in the order in which namespaces must be entered. The user namespace first:
#: it gives the capabilities for the others. The mount namespace last: until then the host's paths resolve.
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
    """The CLONE_NEW* flags of a list of OCI namespace types."""
    # One unshare(2) with all flags: the kernel makes a user namespace first, which has the rights for the others.
    flags = 0
    for word in words:
        flags |= NAMESPACES[word][0]
    return flags


class Namespace:
    """An open namespace file: `.fd` (int), and the `.path` (str) that was opened; closed by `with`."""

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

    def __enter__(self) -> Namespace:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    @property
    def file(self) -> str:
        """The last component of the path: the file's name in /proc/PID/ns."""
        return self.path.rpartition("/")[2]

    def is_ours(self) -> bool:
        """Whether this process is in it already (a container with `--network host` shares the host's)."""
        # The inode number is the namespace's identity (namespaces(7)).
        return os.fstat(self.fd).st_ino == os.stat(f"/proc/self/ns/{self.path.rpartition('/')[2]}").st_ino


def open_others(pid: int) -> dict[str, Namespace]:
    """Open the namespaces of a process that are not ours too: OCI type → Namespace, in the order of entering."""
    opened = {}
    for word, (_, file) in NAMESPACES.items():
        namespace = Namespace(f"/proc/{pid}/ns/{file}")
        # setns(2) into the own user namespace is EINVAL, and into the others a waste.
        if namespace.is_ours():
            os.close(namespace.fd)
        else:
            opened[word] = namespace
    return opened


def enter(opened: dict[str, Namespace]) -> None:
    """Enter opened namespaces in the order of NAMESPACES, and close them (setns(2)).

    The pid namespace among them takes effect for the next child only, as the module's docstring says.
    """
    for word, (flag, _) in NAMESPACES.items():
        if word in opened:
            syscalls.setns(opened[word].fd, flag, opened[word].path)
            os.close(opened[word].fd)


class inside:
    """Enter another namespace for a while: `with inside(namespace, CLONE_NEWNET): ...`.

    Only for namespaces that a process can leave again freely, such as network and uts. It goes back after an error too:
    a runtime that stayed in a container's namespace would apply the host's work to the container.
    """

    def __init__(self, namespace: Namespace, flag: int) -> None:
        self.namespace, self.flag = namespace, flag

    def __enter__(self) -> None:
        file = next(file for flag, file in NAMESPACES.values() if flag == self.flag)
        # Namespace before we leave: afterwards there may be no path to it (a new mount namespace has another /proc).
        self.home = Namespace(f"/proc/self/ns/{file}")
        syscalls.setns(self.namespace.fd, self.flag, self.namespace.path)

    def __exit__(self, *_: object) -> None:
        syscalls.setns(self.home.fd, self.flag, f"/proc/{os.getpid()}/ns/{self.home.path.rpartition('/')[2]}")
        os.close(self.home.fd)
