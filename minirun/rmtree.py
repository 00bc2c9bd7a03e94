"""Remove a directory tree, following no symbolic link: each name is looked up in the open directory that holds it."""

from __future__ import annotations

import errno

from minirun import store
from minirun.errors import KernelError
from minirun.light import os

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: str) -> None:
    """Remove a directory with all below it; fine when it is gone already.

    Symbolic links are removed, never followed: each name is looked up in the open directory that holds it.
    """
    directory, _, name = path.rpartition("/")
    try:
        parent = os.open(directory or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _remove_below(parent, name)
    except FileNotFoundError:  # another process is at the same work, and was quicker
        return
    except OSError as reason:
        raise KernelError(f"remove {path}", reason.errno or errno.EIO, hint=store.disk_hint(reason)) from None
    finally:
        os.close(parent)


def _remove_below(parent: int, name: str) -> None:
    if _unlinked(parent, name):
        return
    top = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        while names := os.listdir(top):
            for entry in names:
                if not _unlinked(top, entry):
                    _flatten(top, entry)
    finally:
        os.close(top)
    _removed_directory(parent, name)


def _flatten(top: int, name: str) -> None:
    """Remove a directory; the directories in it move up into `top` first.

    So the deepest tree (a container may have made ten thousand levels) takes two descriptors and no stack.
    """
    try:
        directory = os.open(name, _DIRECTORY, dir_fd=top)
    except FileNotFoundError:  # another process is at the same work
        return
    try:
        for entry in os.listdir(directory):
            if not _unlinked(directory, entry) and not _was_empty(directory, entry):
                os.rename(entry, f".{os.urandom(8).hex()}", src_dir_fd=directory, dst_dir_fd=top)
    finally:
        os.close(directory)
    _removed_directory(top, name)


def _removed_directory(parent: int, name: str) -> None:
    try:
        os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        return


def _was_empty(parent: int, name: str) -> bool:
    """Remove a directory that has nothing in it, as most have; False for another one."""
    try:
        _removed_directory(parent, name)
    except OSError as reason:
        if reason.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _unlinked(parent: int, name: str) -> bool:
    """Remove what is no directory; False for a directory."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except OSError as reason:
        if reason.errno not in (errno.EISDIR, errno.EPERM):
            raise
        return False
    return True
