"""A directory as a database: `ls` is the query, rename is the commit, link is the reservation, flock the queue.

Nothing here knows what is stored. Values are JSON. A reader sees the old value or the new one, never half of one,
because a value is written to a file beside its place and renamed into it (rename(2) replaces atomically).
"""

from __future__ import annotations

import errno
import fcntl

from minirun import jsoncodec
from minirun.errors import ROOT_HINT, KernelError, MinirunError
from minirun.light import os

#: Nearly all values are shorter than so many bytes.
_MOST = 8192


def read(path: str) -> dict:
    """The value stored at `path`.

    Errors: FileNotFoundError when nothing is there; MinirunError when it is not JSON (it was not written by us).
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # not open(): a list of fifty containers reads a hundred such files
    try:
        data = os.read(fd, _MOST)
        if len(data) == _MOST:
            data += os.read(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)
    try:
        return jsoncodec.loads(data.decode("utf-8"))  # type: ignore[return-value]
    except ValueError as reason:
        raise MinirunError(f"{path}: {reason}", hint="the file is damaged: remove what it belongs to") from None


def write(path: str, value: object, *, mode: int = 0o600, durable: bool = False) -> None:
    """Store a value at `path`, as a whole or not at all.

    Arguments: mode (file mode bits); durable, wait until it would survive a power cut (fsync(2), some
    milliseconds): right for what a user would miss, wrong for what a reboot clears anyway.
    Errors: KernelError with the path, for a full or read-only disk.
    """
    text = jsoncodec.dumps(value)
    if not text.isascii():  # JSON is UTF-8: a byte that somebody has typed and that is not becomes U+FFFD, as in Docker
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    write_text(path, text, mode=mode, durable=durable)


def write_text(path: str, text: str, *, mode: int = 0o600, durable: bool = False) -> None:
    """The same for text that is not JSON."""
    new, begun = f"{path}.new{os.getpid()}", False
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        begun = True
        try:
            data = text.encode("utf-8", "surrogateescape")
            while data:
                data = data[os.write(fd, data) :]
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(new, path)
    except OSError as reason:
        if begun:
            discard(new)
        raise KernelError(f"write {path}", reason.errno or errno.EIO, hint=disk_hint(reason)) from None


def disk_hint(reason: OSError) -> str:
    """What to do about a disk that takes no more."""
    return {
        errno.ENOSPC: "the disk is full: free some space, or move the data root with --root",
        errno.EROFS: "the file system is read-only: move the data root with --root",
        errno.EACCES: ROOT_HINT,
        errno.EPERM: ROOT_HINT,
    }.get(reason.errno or 0, "")


def reserve(path: str, owner: str) -> bool:
    """Take a name that only one can have: True when it is ours now, False when somebody has it.

    The file's content says who. It is written before the file has its name, so whoever finds the name finds the owner:
    a file without a name (O_TMPFILE, open(2)) gets one by link(2), which fails when the name is taken.
    """
    directory, _, name = path.rpartition("/")
    try:
        place = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fd = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, owner.encode())
                # With a directory Python calls linkat(2), which alone follows the link in /proc to the file itself.
                os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=place, follow_symlinks=True)
            finally:
                os.close(fd)
        finally:
            os.close(place)
    except FileExistsError:
        return False
    except OSError as reason:
        raise KernelError(f"create {path}", reason.errno or 0, hint=disk_hint(reason)) from None
    return True


def exists(path: str) -> bool:
    """Whether there is something at `path`."""
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def names(directory: str) -> list[str]:
    """What is in a directory, sorted; nothing when it is not there."""
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []


def discard(path: str) -> None:
    """Remove a file; fine when it is gone already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def make_directory(path: str, mode: int = 0o700) -> None:
    """Make a directory and those above it; fine when it is there already.

    Errors: KernelError with the path.
    """
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_directory(path.rpartition("/")[0], mode)
        _make_one(path, mode)
    except OSError as reason:
        raise KernelError(f"mkdir {path}", reason.errno or errno.EIO, hint=disk_hint(reason)) from None


def _make_one(path: str, mode: int) -> None:
    """The same when those above are there; in /proc, say, it may be missing all the same, and stay so."""
    try:
        os.mkdir(path, mode)
    except FileExistsError:  # another process was quicker
        return
    except OSError as reason:
        raise KernelError(f"mkdir {path}", reason.errno or errno.EIO, hint=disk_hint(reason)) from None


def is_unlocked(path: str) -> bool:
    """Whether no process holds the `lock` on a path at this moment, or there is no such file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


class lock:
    """An exclusive lock on a path: `with lock(path): ...`, or `acquire` and `release`. Blocks until it is ours.

    The open file holds it, so the kernel releases it when the process ends, however it ends (flock(2)).
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = -1

    def __enter__(self) -> lock:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self) -> lock:
        """Wait for the lock and take it; fine when it is held already, as one that was handed over to us.

        Errors: FileNotFoundError when the directory is gone, which the caller knows how to read; KernelError.
        """
        if self.fd >= 0:
            return self
        try:
            self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise
        except OSError as reason:
            raise KernelError(f"open {self.path}", reason.errno or errno.EIO, hint=disk_hint(reason)) from None
        fcntl.flock(self.fd, fcntl.LOCK_EX)
        return self

    def release(self) -> None:
        """Let the next one in."""
        os.close(self.fd)
        self.fd = -1
