"""The metadata of a file: owner, mode, extended attributes, modification time.

The kernel dictates the order. chown(2) clears the setuid and setgid bits and `security.capability`, so the owner comes
first; write(2) clears them too, so all of it comes after the content; the time is last, because the other calls may
change it.
"""

from __future__ import annotations

import errno
import os

from minirun.errors import EngineError
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    import tarfile

#: PAX keyword of an extended attribute; the form that GNU tar, bsdtar and Docker write.
XATTR = "SCHILY.xattr."
#: overlayfs's own marks (opaque, redirect, metacopy): from an untrusted tar they would control the overlay mount.
OVERLAY_XATTRS = ("trusted.overlay.", "user.overlay.")
#: The extended attributes that belong to the file. The others belong to this machine: overlayfs, SELinux, IMA.
COPIED_XATTRS = ("user.", "security.capability", "system.posix_acl_")

NO_ID = 0xFFFFFFFF  # uid_t -1: chown(2) does not change the owner
LATEST = 1 << 33  # seconds; ext4 ends at 2^34


def mtime_ns(entry: tarfile.TarInfo) -> int:
    """The modification time of an entry, in ns since 1970.

    It is parsed from the text of the PAX header: tarfile has a float, which is too imprecise for nanoseconds. A time
    out of range becomes 0, as in Docker.
    """
    seconds, _, fraction = (entry.pax_headers.get("mtime") or str(entry.mtime)).partition(".")
    try:
        whole, part = int(seconds), int((fraction + "000000000")[:9])
    except ValueError:
        return 0
    return whole * 1_000_000_000 + part if 0 <= whole <= LATEST and part >= 0 else 0


def xattrs(entry: tarfile.TarInfo) -> dict[str, bytes]:
    """The extended attributes of an entry, without overlayfs's own.

    A PAX header with an empty value deletes an earlier one (POSIX, pax), so an empty attribute cannot be written.
    """
    return {
        key[len(XATTR) :]: value.encode("utf-8", "surrogateescape")
        for key, value in entry.pax_headers.items()
        if value and key.startswith(XATTR) and not key[len(XATTR) :].startswith(OVERLAY_XATTRS)
    }


def owner(entry: tarfile.TarInfo) -> tuple[int, int]:
    """(uid, gid) of an entry. Errors: EngineError for an invalid number."""
    if not (0 <= entry.uid < NO_ID and 0 <= entry.gid < NO_ID):
        raise EngineError(f"owner {entry.uid}:{entry.gid} is out of range")
    return entry.uid, entry.gid


def apply_to_open(fd: int, entry: tarfile.TarInfo) -> None:
    """Set the metadata of an open file or directory; not a directory's time, which changes while it is filled."""
    os.chown(fd, *owner(entry))
    os.chmod(fd, entry.mode & 0o7777)
    for name, value in xattrs(entry).items():
        set_xattr(fd, name, value)
    if not entry.isdir():
        set_time(fd, mtime_ns(entry))


def apply_to_name(parent: int, name: bytes, entry: tarfile.TarInfo) -> None:
    """Set the metadata of what cannot be opened without side effects: symbolic links, devices, fifos.

    Arguments: parent (int), the open directory; name (bytes), without a slash, of a file that was just created.
    """
    os.chown(name, *owner(entry), dir_fd=parent, follow_symlinks=False)
    if not entry.issym():  # a symbolic link has no mode
        os.chmod(name, entry.mode & 0o7777, dir_fd=parent)
    for key, value in xattrs(entry).items():
        # setxattrat(2) exists since Linux 6.13 only: the path goes through the directory's descriptor
        set_xattr(b"/proc/self/fd/%d/%s" % (parent, name), key, value, follow_symlinks=False)
    os.utime(name, ns=(mtime_ns(entry),) * 2, dir_fd=parent, follow_symlinks=False)


def set_time(target: int | str, ns: int) -> None:
    """Set both times of a file (descriptor or path), ns since 1970; a layer has no access times."""
    os.utime(target, ns=(ns, ns))


def own_xattrs(path: str | bytes, *, follow_symlinks: bool = False) -> dict[str, bytes]:
    """The extended attributes that are copied with a file (see `COPIED_XATTRS`)."""
    try:
        names = os.listxattr(path, follow_symlinks=follow_symlinks)
        return {
            name: os.getxattr(path, name, follow_symlinks=follow_symlinks)
            for name in names
            if name.startswith(COPIED_XATTRS) and not name.startswith(OVERLAY_XATTRS)
        }
    except OSError as reason:
        if reason.errno in (errno.EOPNOTSUPP, errno.ENODATA, errno.ELOOP):
            return {}
        raise


def set_xattr(target: int | str | bytes, name: str, value: bytes, follow_symlinks: bool = True) -> None:
    """Set an extended attribute, if the file system and the type of the file support it."""
    try:
        os.setxattr(target, name, value, follow_symlinks=follow_symlinks)
    except OSError as reason:
        # Not supported by the file system, or not allowed on this type of file: Docker ignores this as well.
        if reason.errno not in (errno.EOPNOTSUPP, errno.EPERM):
            raise
