"""Mounts: what a process finds at which path (mount_namespaces(7)).

Two rules keep a hostile image from steering these calls, which run with all rights of root. A path inside the
container's root is never handed to mount(2) as a string: it is opened by openat2(2) with RESOLVE_IN_ROOT, which takes
the container's root for `/` while it follows links, and the mount is made on the open descriptor (/proc/self/fd/N).
And nothing is created through a link that leads elsewhere, for the same reason.
"""

from __future__ import annotations

import errno
import os

from minirun.errors import KernelError, MinirunError
from minirun.kernel import syscalls
from minirun.kernel.syscalls import (
    MNT_DETACH,
    MS_BIND,
    MS_DIRSYNC,
    MS_LAZYTIME,
    MS_NOATIME,
    MS_NODEV,
    MS_NODIRATIME,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_RELATIME,
    MS_REMOUNT,
    MS_SHARED,
    MS_SLAVE,
    MS_STRICTATIME,
    MS_SYNCHRONOUS,
    MS_UNBINDABLE,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
)

#: Option words of mount(8) and config.json → (the flag, True when the word sets it and False when it clears it).
FLAGS = {
    "ro": (MS_RDONLY, True),
    "rw": (MS_RDONLY, False),
    "nosuid": (MS_NOSUID, True),
    "suid": (MS_NOSUID, False),
    "nodev": (MS_NODEV, True),
    "dev": (MS_NODEV, False),
    "noexec": (MS_NOEXEC, True),
    "exec": (MS_NOEXEC, False),
    "sync": (MS_SYNCHRONOUS, True),
    "async": (MS_SYNCHRONOUS, False),
    "dirsync": (MS_DIRSYNC, True),
    "remount": (MS_REMOUNT, True),
    "noatime": (MS_NOATIME, True),
    "atime": (MS_NOATIME, False),
    "nodiratime": (MS_NODIRATIME, True),
    "diratime": (MS_NODIRATIME, False),
    "relatime": (MS_RELATIME, True),
    "norelatime": (MS_RELATIME, False),
    "strictatime": (MS_STRICTATIME, True),
    "nostrictatime": (MS_STRICTATIME, False),
    "lazytime": (MS_LAZYTIME, True),
    "bind": (MS_BIND, True),
    "rbind": (MS_BIND | MS_REC, True),
    "defaults": (0, True),
}
PROPAGATION = {
    "private": MS_PRIVATE,
    "rprivate": MS_PRIVATE | MS_REC,
    "slave": MS_SLAVE,
    "rslave": MS_SLAVE | MS_REC,
    "shared": MS_SHARED,
    "rshared": MS_SHARED | MS_REC,
    "unbindable": MS_UNBINDABLE,
    "runbindable": MS_UNBINDABLE | MS_REC,
}
#: Flags that a bind mount takes over from its source and that a remount must repeat, or it would clear them.
_KEPT_BY_STATVFS = (
    (os.ST_RDONLY, MS_RDONLY),
    (os.ST_NOSUID, MS_NOSUID),
    (os.ST_NODEV, MS_NODEV),
    (os.ST_NOEXEC, MS_NOEXEC),
    (os.ST_NOATIME, MS_NOATIME),
    (os.ST_NODIRATIME, MS_NODIRATIME),
    (os.ST_RELATIME, MS_RELATIME),
)


class Options:
    """Mount options taken apart: `.flags` (MS_*), `.cleared` (flags that were asked to be off), `.propagation`
    (MS_* values, each a call of its own), `.data` (what only the file system understands)."""

    __slots__ = ("cleared", "data", "flags", "propagation")

    def __init__(self, words: list[str]) -> None:
        self.flags, self.cleared, self.propagation = 0, 0, []
        data = []
        for word in words:
            if word in FLAGS:
                flag, sets = FLAGS[word]
                self.flags = self.flags | flag if sets else self.flags & ~flag
                self.cleared = self.cleared & ~flag if sets else self.cleared | flag
            elif word in PROPAGATION:
                self.propagation.append(PROPAGATION[word])
            else:
                data.append(word)
        self.data = ",".join(data)


def set_propagation(path: str, word: str) -> None:
    """Say whether mounts made below `path` are seen elsewhere: "rslave", "rprivate" and so on.

    "Private is the default" is true of the kernel and false of every machine with systemd, which makes `/` shared:
    without this call on `/`, what a container mounts would appear on the host.
    """
    syscalls.mount("", path, "", PROPAGATION[word])


def open_in(root: int, path: str, flags: int = os.O_PATH, *, links: bool = True) -> int:
    """Open `path` inside the open directory `root` as if that were `/`; with `links` False, a link is an error."""
    resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | (0 if links else RESOLVE_NO_SYMLINKS)
    return syscalls.openat2(root, path, flags, 0, resolve)


def ensure_directory(root: int, path: str, *, links: bool = True) -> int:
    """Open a directory inside `root`, and make it and those above it (0755) where they are missing."""
    try:
        return open_in(root, path, os.O_PATH | os.O_DIRECTORY, links=links)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
    parent, name = _parent(root, path, links=links)
    try:
        syscalls.mkdirat(parent, name, 0o755)
    except KernelError as error:
        if error.errno != errno.EEXIST:
            raise
    finally:
        os.close(parent)
    return open_in(root, path, os.O_PATH | os.O_DIRECTORY, links=links)


def ensure_file(root: int, path: str) -> int:
    """Open a file inside `root` (O_PATH), and make it empty where it is missing."""
    try:
        return open_in(root, path)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
    parent, _ = _parent(root, path)
    os.close(parent)
    resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
    os.close(syscalls.openat2(root, path, os.O_WRONLY | os.O_CREAT, 0o644, resolve))
    return open_in(root, path)


def _parent(root: int, path: str, *, links: bool = True) -> tuple[int, str]:
    head, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise MinirunError(f"{path}: not a path that can be made")
    return ensure_directory(root, head or "/", links=links), name


def mount_at(target: int, source: str, filesystemtype: str, options: Options) -> None:
    """Mount on the open file or directory `target`.

    A bind mount ignores all options but MS_REC (mount(2)), so those it should have are set by a second, "remount"
    call; propagation is a third. The descriptor stands for what lies below the new mount, not for the mount itself,
    so its path is looked up anew for these.
    """
    place = f"/proc/self/fd/{target}"
    if not options.flags & MS_BIND:
        syscalls.mount(source, place, filesystemtype, options.flags, options.data)
        path = syscalls.described(target)
    else:
        syscalls.mount(source, place, "", options.flags & (MS_BIND | MS_REC))
        path = syscalls.described(target)
        wanted = options.flags & ~(MS_BIND | MS_REC)
        if wanted or options.cleared:
            kept = 0
            seen = os.statvfs(path).f_flag
            for bit, flag in _KEPT_BY_STATVFS:
                kept |= flag if seen & bit else 0
            syscalls.mount("", path, "", MS_REMOUNT | MS_BIND | wanted | (kept & ~options.cleared))
    for propagation in options.propagation:
        syscalls.mount("", path, "", propagation)


def remount_read_only(path: str) -> None:
    """Make the mount at `path` read-only, its other flags kept."""
    seen = os.statvfs(path).f_flag
    flags = MS_REMOUNT | MS_BIND | MS_RDONLY
    for bit, flag in _KEPT_BY_STATVFS:
        flags |= flag if seen & bit else 0
    syscalls.mount("", path, "", flags)


def pivot_root(new_root: str) -> None:
    """Make `new_root` the root of this mount namespace and let go of the old one.

    pivot_root(".", "."): the old root is stacked on the new one at the same place, and a lazy unmount takes it away;
    no directory for it is needed inside the image (pivot_root(2), notes). Nothing of the host can be reached by a path
    after this, which chroot(2) could not promise: who is root can walk out of a chroot.
    """
    syscalls.chdir(new_root)
    syscalls.pivot_root(".", ".")
    syscalls.umount2(".", MNT_DETACH)
    syscalls.chdir("/")
