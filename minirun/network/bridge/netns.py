"""Named network namespaces, as `ip netns` has them (ip-netns(8)).

A name is a file in /run/netns on which the namespace is bind-mounted: `ip netns exec NAME ...` opens it. The mount
keeps the namespace alive, with all that is in it, when its last process is gone; so every name has to be removed again.
/run/netns itself is a shared mount (mount_namespaces(7)): what is mounted and unmounted there in one mount namespace is
so in its copies too, and no copy keeps a dead container's network alive.
"""

from __future__ import annotations

import errno

from minirun import store
from minirun.errors import KernelError
from minirun.kernel import syscalls
from minirun.kernel.syscalls import MNT_DETACH, MS_BIND, MS_REC, MS_SHARED
from minirun.light import os
from minirun.trace import step

DIRECTORY = "/run/netns"
MODE = 0o444  # of a name's file, or what a strict umask leaves of it


def inode(pid: int) -> int:
    """The inode number of a process's network namespace, which identifies it among all that are alive.

    Errors: KernelError when the process is gone.
    """
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError as reason:
        raise KernelError(f"stat /proc/{pid}/ns/net", reason.errno or 0) from None


def publish(pid: int, name: str) -> bool:
    """Give a process's network namespace a name. Returns: False when the name is taken or not possible.

    The caller saves the name and `inode(pid)` before, so that `withdraw` can be called after a crash.
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
    """The path of a process's network namespace: in /run/netns if it has the name there, else below /proc."""
    path = f"{DIRECTORY}/{name}"
    try:
        named = bool(name) and os.stat(path).st_ino == inode
    except OSError:
        named = False
    return path if named else f"/proc/{pid}/ns/net"


def withdraw(name: str, inode: int) -> bool:
    """Remove a name if it is that of the namespace with this inode number. Returns: whether it was.

    An empty file of our mode with nothing mounted on it is left when `publish` is killed between open and mount; `ip
    netns` and people leave files of other modes.
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
    """Make /run/netns a shared mount, as the first `ip netns add` does."""
    store.make_directory(DIRECTORY, 0o755)
    try:
        syscalls.mount("", DIRECTORY, "none", MS_SHARED | MS_REC)
    except KernelError as error:
        if error.errno != errno.EINVAL:  # EINVAL: it is no mount point yet
            raise
        syscalls.mount(DIRECTORY, DIRECTORY, "none", MS_BIND | MS_REC)
        syscalls.mount("", DIRECTORY, "none", MS_SHARED | MS_REC)
