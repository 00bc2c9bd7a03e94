"""Mounts: mount(2), bind mounts, propagation, pivot_root(2), and paths inside a root that is not trusted.

Two rules keep a hostile image from steering these calls, which run with all privileges of root. A path inside the
container's root is never passed to mount(2) as a string: it is opened by openat2(2) with RESOLVE_IN_ROOT, which takes
the container's root for `/` while it follows links, and the mount is made on the open descriptor (/proc/self/fd/N):
no process can exchange a directory for a link in between (CVE-2021-30465 in runc). And nothing is created through a
link that leads out of the root, for the same reason.
"""

from __future__ import annotations

import errno

from minirun.errors import KernelError, MinirunError
from minirun.kernel import syscalls
from minirun.light import os

#: Options of mount(8) and config.json → (the flag, True when the option sets it and False when it clears it).
FLAGS = {
    "ro": (syscalls.MS_RDONLY, True),
    "rw": (syscalls.MS_RDONLY, False),
    "nosuid": (syscalls.MS_NOSUID, True),
    "suid": (syscalls.MS_NOSUID, False),
    "nodev": (syscalls.MS_NODEV, True),
    "dev": (syscalls.MS_NODEV, False),
    "noexec": (syscalls.MS_NOEXEC, True),
    "exec": (syscalls.MS_NOEXEC, False),
    "sync": (syscalls.MS_SYNCHRONOUS, True),
    "async": (syscalls.MS_SYNCHRONOUS, False),
    "dirsync": (syscalls.MS_DIRSYNC, True),
    "remount": (syscalls.MS_REMOUNT, True),
    "noatime": (syscalls.MS_NOATIME, True),
    "atime": (syscalls.MS_NOATIME, False),
    "nodiratime": (syscalls.MS_NODIRATIME, True),
    "diratime": (syscalls.MS_NODIRATIME, False),
    "relatime": (syscalls.MS_RELATIME, True),
    "norelatime": (syscalls.MS_RELATIME, False),
    "strictatime": (syscalls.MS_STRICTATIME, True),
    "nostrictatime": (syscalls.MS_STRICTATIME, False),
    "lazytime": (syscalls.MS_LAZYTIME, True),
    "bind": (syscalls.MS_BIND, True),
    "rbind": (syscalls.MS_BIND | syscalls.MS_REC, True),
    "defaults": (0, True),
}
PROPAGATION = {
    "private": syscalls.MS_PRIVATE,
    "rprivate": syscalls.MS_PRIVATE | syscalls.MS_REC,
    "slave": syscalls.MS_SLAVE,
    "rslave": syscalls.MS_SLAVE | syscalls.MS_REC,
    "shared": syscalls.MS_SHARED,
    "rshared": syscalls.MS_SHARED | syscalls.MS_REC,
    "unbindable": syscalls.MS_UNBINDABLE,
    "runbindable": syscalls.MS_UNBINDABLE | syscalls.MS_REC,
}
#: Flags that a bind mount inherits from its source; a remount must repeat them, or it would clear them (mount(2)).
_KEPT_BY_STATVFS = (
    (os.ST_RDONLY, syscalls.MS_RDONLY),
    (os.ST_NOSUID, syscalls.MS_NOSUID),
    (os.ST_NODEV, syscalls.MS_NODEV),
    (os.ST_NOEXEC, syscalls.MS_NOEXEC),
    (os.ST_NOATIME, syscalls.MS_NOATIME),
    (os.ST_NODIRATIME, syscalls.MS_NODIRATIME),
    (os.ST_RELATIME, syscalls.MS_RELATIME),
)


class Options:
    """Mount options, parsed: `.flags` (int, MS_*), `.cleared` (int, flags that are asked to be off), `.propagation`
    (list of MS_* values, each for a call of its own), `.data` (str, the options for the file system itself)."""

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
    """Set the propagation of the mount at `path`: "rslave", "rprivate" and so on (mount_namespaces(7))."""
    # Private is the kernel's default, but systemd makes `/` shared: without this call on `/`, what a container mounts
    # would appear on the host.
    syscalls.mount("", path, "", PROPAGATION[word])


def open_in(root: int, path: str, flags: int = os.O_PATH, *, links: bool = True) -> int:
    """Open `path` inside the open directory `root` as if that were `/`; if not `links`, a link is an error (ELOOP)."""
    # NO_MAGICLINKS: /proc/PID/root and the like jump out of any root (symlink(7)).
    resolve = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS | (0 if links else syscalls.RESOLVE_NO_SYMLINKS)
    return syscalls.openat2(root, path, flags, 0, resolve)


def ensure_directory(root: int, path: str, *, links: bool = True) -> int:
    """Open a directory inside `root` (O_PATH); make it and its parents (0755) where they are missing."""
    try:
        return open_in(root, path, os.O_PATH | os.O_DIRECTORY, links=links)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
    parent, name = _parent(root, path, links=links)
    try:
        syscalls.mkdirat(parent, name, 0o755)
    except KernelError as error:
        if error.errno != errno.EEXIST:  # a container that shares the files was quicker, or it is a dangling link
            raise
    finally:
        os.close(parent)
    # Opened again, not trusted: another process may have put a link there since.
    return open_in(root, path, os.O_PATH | os.O_DIRECTORY, links=links)


def ensure_file(root: int, path: str) -> int:
    """Open a file inside `root` (O_PATH); make an empty one (0644) where it is missing."""
    try:
        return open_in(root, path)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
    parent, _ = _parent(root, path)  # for the directories above
    os.close(parent)
    resolve = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
    os.close(syscalls.openat2(root, path, os.O_WRONLY | os.O_CREAT, 0o644, resolve))
    return open_in(root, path)


def _parent(root: int, path: str, *, links: bool = True) -> tuple[int, str]:
    """The directory of `path`, made and open, and the last component. Errors: MinirunError for a path without one."""
    head, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise MinirunError(f"{path}: not a path that can be made")
    return ensure_directory(root, head or "/", links=links), name


def mount_at(target: int, source: str, filesystemtype: str, options: Options) -> None:
    """Mount on the open file or directory `target` (int).

    Arguments: source (str), device or path; filesystemtype (str), ignored for a bind mount; options.
    Errors: KernelError.
    """
    place = f"/proc/self/fd/{target}"
    # The descriptor stands for what lies below the new mount, not for the mount: its path is looked up for later calls.
    if not options.flags & syscalls.MS_BIND:
        syscalls.mount(source, place, filesystemtype, options.flags, options.data)
        path = syscalls.path_of(target)
    else:
        syscalls.mount(source, place, "", options.flags & (syscalls.MS_BIND | syscalls.MS_REC))
        path = syscalls.path_of(target)
        # A bind mount ignores all flags but MS_REC (mount(2)): the others are set by a second call, a remount.
        wanted = options.flags & ~(syscalls.MS_BIND | syscalls.MS_REC)
        if wanted or options.cleared:
            kept = _kept_flags(path) & ~options.cleared
            syscalls.mount("", path, "", syscalls.MS_REMOUNT | syscalls.MS_BIND | wanted | kept)
    # Propagation must stand alone in a call (EINVAL else).
    for propagation in options.propagation:
        syscalls.mount("", path, "", propagation)


def remount_read_only(path: str) -> None:
    """Make the mount at `path` read-only, its other flags kept."""
    # With MS_BIND only this mount changes; without it the file system would, for everyone who has it mounted.
    flags = syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY
    syscalls.mount("", path, "", flags | _kept_flags(path))


def _kept_flags(path: str) -> int:
    """The flags of the mount at `path` that a remount must repeat (statvfs(3) knows them)."""
    seen = os.statvfs(path).f_flag
    return sum(flag for bit, flag in _KEPT_BY_STATVFS if seen & bit)


def pivot_root(new_root: str) -> None:
    """Make `new_root` (str) the root of this mount namespace, and unmount the old one.

    After this no path leads to the host. chroot(2) does not ensure that: CAP_SYS_CHROOT is enough to leave it.
    """
    # pivot_root(".", ".") stacks the old root on top of the new one, and a lazy unmount takes it away again, so no
    # directory for it is needed inside the image (pivot_root(2), NOTES). Lazy, because there are mounts below it (EBUSY
    # otherwise). The host keeps its mounts: its root is a slave here, so no unmount propagates back.
    syscalls.chdir(new_root)
    syscalls.pivot_root(".", ".")
    syscalls.umount2(".", syscalls.MNT_DETACH)
    # The working directory was in the old root's place: a process that stays there has a way back.
    syscalls.chdir("/")
