"""Read one file of an image whose overlay is not mounted: what overlayfs would show, found by hand.

An overlay is a pile of directories, and a name belongs to the highest one that has it (overlayfs in the kernel's
documentation): a character device 0:0 there says "deleted", and a directory marked `trusted.overlay.opaque` hides
what the directories below it hold. minirun mounts the overlay inside the container's mount namespace only, but has to
know the container's user before that; so it looks through the pile itself.

Nothing is taken on trust from an image: no path of it is given to the kernel to follow. Each step opens one name, in
a directory that is open, with O_NOFOLLOW; symbolic links are read and followed here, with the image's root for `/`.
"""

from __future__ import annotations

import errno
import os
import stat

from minirun.errors import KernelError, MinirunError

#: As many links as the kernel follows (path_resolution(7)), and the largest file that is read, in bytes.
_MOST_LINKS = 40
_LARGEST = 8 * 1024 * 1024
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def read_file(directories: list[str], path: str) -> bytes | None:
    """The content of a regular file as the overlay would show it, None when there is no such file.

    Arguments: directories (list of str), the container's upper directory first, then the layers from top to bottom
    (one that does not exist counts as empty); path (str), within the image, "etc/passwd".
    Errors: MinirunError for a file that is larger than 8 MiB, or a path that leads in circles.
    """
    parts = _parts(path)
    try:
        for _ in range(_MOST_LINKS):
            found = _walk(directories, parts)
            if not isinstance(found, list):
                return found
            parts = found
    except OSError as reason:
        raise KernelError(f"read {path} of the image", reason.errno or errno.EIO) from None
    raise MinirunError(f"{path} in the image: too many symbolic links")


def _walk(directories: list[str], parts: list[str]) -> bytes | None | list[str]:
    """Go down `parts` through all layers at once: the file's content, None, or the path that a link leads to."""
    pile = _open_all(directories)
    try:
        for depth, name in enumerate(parts):
            if name == ".." and pile:  # what was passed is a real directory, so the name before is its way up
                return [*parts[: max(depth - 1, 0)], *parts[depth + 1 :]]
            below, target = _enter(pile, name, last=depth == len(parts) - 1)
            if target is not None:
                return [*([] if target.startswith("/") else parts[:depth]), *_parts(target), *parts[depth + 1 :]]
            if isinstance(below, bytes):
                return below
            _close_all(pile)
            pile = below
        return None  # the path ends at a directory, or nothing is left of it
    finally:
        _close_all(pile)


def _enter(pile: list[int], name: str, last: bool) -> tuple[list[int] | bytes, str | None]:
    """One step down: the directories of that name that overlayfs would merge, or the content of a file.

    Returns: (open directories or content, None), or ([], target) for a symbolic link.
    """
    below: list[int] = []
    for directory in pile:
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
        break  # deleted here, or something else than a directory: it ends what lies below
    return below, None


def _content(directory: int, name: str) -> bytes:
    # O_PATH opens nothing: a running container may put a device or a fifo here between our stat and this line
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return b""
        fd = os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = b""
            while len(data) <= _LARGEST and (part := os.read(fd, 65536)):
                data += part
        finally:
            os.close(fd)
    finally:
        os.close(handle)
    if len(data) > _LARGEST:
        raise MinirunError(f"{name} in the image is larger than {_LARGEST >> 20} MiB")
    return data


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
