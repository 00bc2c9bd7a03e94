"""Removing a directory tree safely, as root, while another process may change it: by descriptors, not by paths.

A container's files are written by its own root user, who may exchange a directory for a symbolic link at any moment.
So no path is resolved twice: each name is looked up in the open directory that holds it (openat(2), unlinkat(2)), and
directories are opened with O_NOFOLLOW. `shutil.rmtree` does that too, but takes one descriptor and one stack frame
for each level, and a container can make more levels than there are of either.
"""

from __future__ import annotations

import errno

from minirun.errors import KernelError
from minirun.light import os
from minirun.store import disk_hint

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: str) -> None:
    """Remove a file, or a directory with all below it; fine when it is gone already.

    Symbolic links are removed, never followed. Errors: KernelError with the path.
    """
    directory, _, name = path.rpartition("/")
    try:
        parent = os.open(directory or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _remove_below(parent, name)
    except FileNotFoundError:  # another process removes the same tree, and was quicker
        return
    except OSError as reason:
        raise KernelError(f"remove {path}", reason.errno or errno.EIO, hint=disk_hint(reason)) from None
    finally:
        os.close(parent)


def _remove_below(parent: int, name: str) -> None:
    if _unlink(parent, name):
        return
    top = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        while names := os.listdir(top):
            for entry in names:
                if not _unlink(top, entry):
                    _flatten(top, entry)
    finally:
        os.close(top)
    _rmdir(parent, name)


def _flatten(top: int, name: str) -> None:
    """Remove a directory of `top`, after moving the directories in it up into `top`.

    So the deepest tree (a container may have made ten thousand levels) takes two descriptors and no recursion.
    """
    try:
        directory = os.open(name, _DIRECTORY, dir_fd=top)
    except FileNotFoundError:  # another process removes the same tree
        return
    try:
        for entry in os.listdir(directory):
            if not _unlink(directory, entry) and not _rmdir_if_empty(directory, entry):
                os.rename(entry, f".{os.urandom(8).hex()}", src_dir_fd=directory, dst_dir_fd=top)
    finally:
        os.close(directory)
    _rmdir(top, name)


def _rmdir(parent: int, name: str) -> None:
    try:
        os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        return


def _rmdir_if_empty(parent: int, name: str) -> bool:
    """Remove a directory that is empty, as most are by now; False for one that is not."""
    try:
        _rmdir(parent, name)
    except OSError as reason:
        if reason.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # POSIX allows either for a directory that is not empty
            raise
        return False
    return True


def _unlink(parent: int, name: str) -> bool:
    """Remove anything but a directory; False for a directory."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except OSError as reason:
        if reason.errno not in (errno.EISDIR, errno.EPERM):  # a directory: EISDIR on Linux, EPERM by POSIX
            raise
        return False
    return True
