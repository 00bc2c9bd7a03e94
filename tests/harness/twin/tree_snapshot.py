"""The metadata and content digests of all files in a directory, or in an overlayfs of several directories, as JSON.

    tree_snapshot.py DIRECTORY...        in a mount namespace of its own; several directories, top first, become an overlay

For each name: kind, mode, owner, size, device, time in ns, where a link leads, the first name of the same file,
extended attributes, digest of the content, and whether it has holes.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import stat
import sys

#: Below this a file system may keep a file in its inode, or round up.
SMALL = 65536


def snapshot(top: bytes) -> dict[str, list]:
    """{name: what there is to say}, in an order that does not depend on the file system."""
    found: dict[str, list] = {}
    first: dict[tuple[int, int], str] = {}

    def look(path: bytes, name: bytes) -> None:
        status = os.lstat(path)
        kind = stat.S_IFMT(status.st_mode)
        same = "" if stat.S_ISDIR(kind) else first.setdefault((status.st_dev, status.st_ino), os.fsdecode(name))
        found[os.fsdecode(name)] = [
            stat.filemode(status.st_mode),
            f"{status.st_uid}:{status.st_gid}",
            status.st_size if kind in (stat.S_IFREG, stat.S_IFLNK) else 0,
            str(os.major(status.st_rdev)) + ":" + str(os.minor(status.st_rdev)),
            status.st_mtime_ns,
            os.fsdecode(os.readlink(path)) if stat.S_ISLNK(kind) else "",
            same,
            {
                key: os.getxattr(path, key, follow_symlinks=False).hex()
                for key in sorted(os.listxattr(path, follow_symlinks=False))
            },
            content(path) if stat.S_ISREG(kind) else "",
            stat.S_ISREG(kind) and status.st_size > SMALL and status.st_blocks * 512 < status.st_size // 2,
        ]
        if stat.S_ISDIR(kind):
            for inner in sorted(os.listdir(path)):
                look(path + b"/" + inner, (name + b"/" + inner).removeprefix(b"./"))

    look(top, b".")
    return found


def content(path: bytes) -> str:
    """The sha256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(directories: list[str]) -> None:
    """Print the snapshot; several directories are mounted as overlayfs, in a mount namespace of its own."""
    top = directories[0]
    if len(directories) > 1:
        libc = ctypes.CDLL(None, use_errno=True)
        for source, target, kind, flags, data in (
            (b"none", b"/", None, 0x44000, None),
            (b"overlay", b"/mnt", b"overlay", 1, f"lowerdir={':'.join(directories)}".encode()),
        ):
            if libc.mount(source, target, kind, flags, data):
                raise OSError(ctypes.get_errno(), f"mount {target!r} {data!r}")
        top = "/mnt"
    json.dump(snapshot(os.fsencode(top)), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
