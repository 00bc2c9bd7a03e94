"""Reads a file of a container's root whose overlay is not mounted: /etc/passwd, before the container is started.

In an overlay the highest layer that has a name decides (overlayfs in the kernel's documentation): a whiteout, the
character device 0:0, says that it is deleted, and a directory marked `trusted.overlay.opaque` hides the content of
those below it. minirun mounts the overlay inside the container's mount namespace only, but needs the container's user
before that; so it does the lookup itself.

An image is untrusted input: the kernel never follows a path of it. Each step opens one name, in an open directory, with
O_NOFOLLOW; symbolic links are read and followed here, with the image's root for `/`.
"""

from __future__ import annotations

import errno
import stat

from minirun.errors import KernelError, MinirunError
from minirun.light import os

MAX_SYMLINKS = 40  # as many as the kernel follows (path_resolution(7))
MAX_SIZE = 8 * 1024 * 1024  # bytes
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def read_file(directories: list[str], path: str) -> bytes | None:
    """The content of a regular file as the overlay would show it; None when there is no such file.

    Arguments: directories (list of str), as `overlayfs.stack` returns them: top first (one that does not exist counts
    as empty); path (str), within the image, "etc/passwd".
    Errors: MinirunError for a file larger than 8 MiB, or more than 40 symbolic links.
    """
    parts = _parts(path)
    try:
        for _ in range(MAX_SYMLINKS):
            found = _walk(directories, parts)
            if not isinstance(found, list):
                return found
            parts = found
    except OSError as reason:
        raise KernelError(f"read {path} of the image", reason.errno or errno.EIO) from None
    raise MinirunError(f"{path} in the image: too many symbolic links")


def _walk(directories: list[str], parts: list[str]) -> bytes | None | list[str]:
    """Look up `parts` in all layers at once. Returns: the file's content, None, or the path with a link replaced."""
    stack = _open_all(directories)
    try:
        for depth, name in enumerate(parts):
            if name == ".." and stack:  # all names before are real directories, so ".." removes the last one
                return [*parts[: max(depth - 1, 0)], *parts[depth + 1 :]]
            below, target = _enter(stack, name, last=depth == len(parts) - 1)
            if target is not None:
                return [*([] if target.startswith("/") else parts[:depth]), *_parts(target), *parts[depth + 1 :]]
            if isinstance(below, bytes):
                return below
            _close_all(stack)
            stack = below
        return None  # the path is a directory, or does not exist
    finally:
        _close_all(stack)


def _enter(stack: list[int], name: str, last: bool) -> tuple[list[int] | bytes, str | None]:
    """One step of the lookup.

    Returns: (the open directories that overlayfs would merge, or a file's content; None), or ([], target) for a link.
    """
    below: list[int] = []
    for directory in stack:
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(status.st_mode):
            below.append(os.open(name, _DIRECTORY, dir_fd=directory))
            if _is_opaque(below[-1]):
                break
            continue
        if not below and stat.S_ISLNK(status.st_mode):
            return [], os.readlink(name, dir_fd=directory)
        if not below and last and stat.S_ISREG(status.st_mode):
            return _content(directory, name), None
        break  # a whiteout or another kind of file: it hides the layers below
    return below, None


def _content(directory: int, name: str) -> bytes:
    fd = open_regular(name, directory)
    if fd < 0:
        return b""
    try:
        data = b""
        while len(data) <= MAX_SIZE and (part := os.read(fd, 65536)):
            data += part
    finally:
        os.close(fd)
    if len(data) > MAX_SIZE:
        raise MinirunError(f"{name} in the image is larger than {MAX_SIZE >> 20} MiB")
    return data


def open_regular(name: str | bytes, directory: int) -> int:
    """Open a regular file for reading. Returns: a descriptor, -1 when it is something else by now.

    Arguments: directory (int), the open directory that it is in.
    """
    # A running container may have replaced the file since it was looked at, by a device or a fifo, whose open(2) has
    # side effects or blocks. O_PATH does not open it; /proc/self/fd then opens exactly what was checked.
    path_fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        if not stat.S_ISREG(os.fstat(path_fd).st_mode):
            return -1
        return os.open(f"/proc/self/fd/{path_fd}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(path_fd)


def _is_opaque(directory: int) -> bool:
    try:
        return os.getxattr(directory, "trusted.overlay.opaque") == b"y"
    except OSError as reason:
        if reason.errno in (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM):
            return False
        raise


def _parts(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def _open_all(directories: list[str]) -> list[int]:
    opened: list[int] = []
    for directory in directories:
        try:
            opened.append(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except FileNotFoundError:
            continue
    return opened


def _close_all(opened: list[int]) -> None:
    while opened:
        os.close(opened.pop())
