"""What a file has besides its content, as overlayfs will show it: owner, mode, extended attributes, time.

The order is forced by the kernel. chown(2) clears the setuid and setgid bits and `security.capability`, so the owner
comes first; a write clears them too, so all of this comes after the content; and the time is last, because the other
calls may touch it.
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
#: By these overlayfs itself marks what is deleted, opaque or moved: from a tar they would be orders to the kernel.
OVERLAY_XATTRS = ("trusted.overlay.", "user.overlay.")
#: The extended attributes that are a file's own. The others speak to this machine: overlayfs's marks, SELinux, IMA.
KEPT_XATTRS = ("user.", "security.capability", "system.posix_acl_")

NO_ID = 0xFFFFFFFF  # chown(2) takes this number for "leave it as it is"
LATEST = 1 << 33  # seconds; ext4 ends at 2^34


def mtime_ns(entry: tarfile.TarInfo) -> int:
    """When a file was changed, in ns since 1970.

    From the PAX header's own digits: tarfile keeps a float, which has no room for nanoseconds. Senseless times
    become 0, as with Docker.
    """
    seconds, _, fraction = (entry.pax_headers.get("mtime") or str(entry.mtime)).partition(".")
    try:
        whole, part = int(seconds), int((fraction + "000000000")[:9])
    except ValueError:
        return 0
    return whole * 1_000_000_000 + part if 0 <= whole <= LATEST and part >= 0 else 0


def xattrs(entry: tarfile.TarInfo) -> dict[str, bytes]:
    """The extended attributes of an entry, without those that would speak to overlayfs.

    A PAX header without a value takes a header back (POSIX, pax), so that an empty attribute cannot be told.
    """
    return {
        key[len(XATTR) :]: value.encode("utf-8", "surrogateescape")
        for key, value in entry.pax_headers.items()
        if value and key.startswith(XATTR) and not key[len(XATTR) :].startswith(OVERLAY_XATTRS)
    }


def owner(entry: tarfile.TarInfo) -> tuple[int, int]:
    """(uid, gid). Errors: EngineError for a number that no user can have."""
    if not (0 <= entry.uid < NO_ID and 0 <= entry.gid < NO_ID):
        raise EngineError(f"owner {entry.uid}:{entry.gid} is out of range")
    return entry.uid, entry.gid


def apply_to_open(fd: int, entry: tarfile.TarInfo) -> None:
    """Give an open file or directory all that the entry says; a directory's time is the caller's, who fills it yet."""
    os.chown(fd, *owner(entry))
    os.chmod(fd, entry.mode & 0o7777)
    for name, value in xattrs(entry).items():
        set_xattr(fd, name, value)
    if not entry.isdir():
        set_time(fd, mtime_ns(entry))


def apply_to_name(parent: int, name: bytes, entry: tarfile.TarInfo) -> None:
    """The same for what is better not opened: symbolic links, devices, fifos.

    Arguments: parent (int), the open directory; name (bytes), without a slash; it was made by us just now.
    """
    os.chown(name, *owner(entry), dir_fd=parent, follow_symlinks=False)
    if not entry.issym():  # a link has no mode of its own
        os.chmod(name, entry.mode & 0o7777, dir_fd=parent)
    for key, value in xattrs(entry).items():
        # there is no setxattrat(2) before Linux 6.13: the directory's descriptor stands in for its path
        set_xattr(b"/proc/self/fd/%d/%s" % (parent, name), key, value, follow_symlinks=False)
    os.utime(name, ns=(mtime_ns(entry),) * 2, dir_fd=parent, follow_symlinks=False)


def set_time(target: int | str, ns: int) -> None:
    """Set both times of a file (descriptor or path), in ns since 1970; the OCI keeps no access time."""
    os.utime(target, ns=(ns, ns))


def own_xattrs(path: str | bytes, *, follow_symlinks: bool = False) -> dict[str, bytes]:
    """The extended attributes of a file that are the file's own (see `KEPT_XATTRS`)."""
    try:
        names = os.listxattr(path, follow_symlinks=follow_symlinks)
        return {
            name: os.getxattr(path, name, follow_symlinks=follow_symlinks)
            for name in names
            if name.startswith(KEPT_XATTRS) and not name.startswith(OVERLAY_XATTRS)
        }
    except OSError as reason:
        if reason.errno in (errno.EOPNOTSUPP, errno.ENODATA, errno.ELOOP):
            return {}
        raise


def set_xattr(target: int | str | bytes, name: str, value: bytes, follow_symlinks: bool = True) -> None:
    """Set an extended attribute, where the file system and the kind of file have such."""
    try:
        os.setxattr(target, name, value, follow_symlinks=follow_symlinks)
    except OSError as reason:
        # A file system without this kind of attribute, or a kind that this file cannot have: Docker goes on as well.
        if reason.errno not in (errno.EOPNOTSUPP, errno.EPERM):
            raise
