"""Network namespaces with a name, as `ip netns` has them (ip-netns(8)).

A name is a file in /run/netns on which the namespace is mounted: `ip netns exec NAME ...` opens it. The mount keeps
the namespace alive, with all that is in it, also when its last process has left; so whoever gives a name must take it
away again. /run/netns itself is a shared mount: a name that is given or taken away in one mount namespace is so in
those that came from it, and does not stay behind in a copy, holding a dead container's network.
"""

from __future__ import annotations

import errno
import os

from minirun import store
from minirun.errors import KernelError
from minirun.kernel import syscalls
from minirun.kernel.syscalls import MNT_DETACH, MS_BIND, MS_REC, MS_SHARED
from minirun.trace import step

DIRECTORY = "/run/netns"
MODE = 0o444  # of a name's file, or what a narrow umask leaves of it


def inode(pid: int) -> int:
    """What tells a process's network namespace from all others now alive. Errors: KernelError when it is gone."""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError as reason:
        raise KernelError(f"stat /proc/{pid}/ns/net", reason.errno or 0) from None


def publish(pid: int, name: str) -> bool:
    """Give a process's network namespace a name. False when the name is taken; what is there is not touched.

    The caller writes name and `inode(pid)` down before, so that a name is found again whatever happens.
    """
    if not name or name.startswith(".") or "/" in name:
        return False
    with step("name the network namespace"):
        _ensure_shared_directory()
        path = f"{DIRECTORY}/{name}"
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE))
        except FileExistsError:
            return False
        except OSError as reason:
            raise KernelError(f"create {path}", reason.errno or 0, hint=store.disk_hint(reason)) from None
        try:
            syscalls.mount(f"/proc/{pid}/ns/net", path, "none", MS_BIND)
        except BaseException:
            store.discard(path)
            raise
    return True


def path_of(name: str, inode: int, pid: int) -> str:
    """Where a process's network namespace is found: under its name if `publish` could give it, else by its process."""
    path = f"{DIRECTORY}/{name}"
    try:
        named = bool(name) and os.stat(path).st_ino == inode
    except OSError:
        named = False
    return path if named else f"/proc/{pid}/ns/net"


def withdraw(name: str, inode: int) -> bool:
    """Take a name away if it stands for the namespace with this inode number; False when it does not.

    An empty file of our mode with nothing mounted on it is one that `publish` was killed over; `ip netns` and people
    leave files of other modes.
    """
    path = f"{DIRECTORY}/{name}"
    try:
        found = os.stat(path)
        if found.st_dev == os.stat(DIRECTORY).st_dev:
            if found.st_size or found.st_mode & 0o777 not in (MODE, MODE & ~0o077):
                return False
            store.discard(path)
            return True
        if found.st_ino != inode:
            return False
    except FileNotFoundError:
        return False
    with step("take the network namespace's name away"):
        try:
            syscalls.umount2(path, MNT_DETACH)
        except KernelError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):  # not mounted any more
                raise
        store.discard(path)
    return True


def _ensure_shared_directory() -> None:
    """Make /run/netns a shared mount of its own, as the first `ip netns add` does."""
    store.make_directory(DIRECTORY, 0o755)
    try:
        syscalls.mount("", DIRECTORY, "none", MS_SHARED | MS_REC)
    except KernelError as error:
        if error.errno != errno.EINVAL:  # EINVAL: no mount point yet
            raise
        syscalls.mount(DIRECTORY, DIRECTORY, "none", MS_BIND | MS_REC)
        syscalls.mount("", DIRECTORY, "none", MS_SHARED | MS_REC)
