"""Atomic files, reservations and locks: a directory as a database.

`ls` is the query, rename(2) the commit, link(2) the reservation, flock(2) the lock. Nothing here knows what is stored.
Values are JSON. A reader sees the old value or the new one, never half of one, because a value is written to a
temporary file in the same directory and renamed over it (rename(2) replaces atomically; runc saves its state the same
way).
"""

from __future__ import annotations

import errno
import fcntl

from minirun import jsoncodec
from minirun.errors import ROOT_HINT, KernelError, MinirunError
from minirun.light import os

#: Size in bytes of the first read(2): nearly every value is shorter, and is then read with one system call.
_FIRST_READ = 8192


def read(path: str) -> dict:
    """The value stored at `path`.

    Errors: FileNotFoundError when there is no such file; MinirunError when it is not JSON (we did not write it).
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # not open(), which is slower: `ps` reads two files per container
    try:
        data = os.read(fd, _FIRST_READ)
        if len(data) == _FIRST_READ:
            data += os.read(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)
    try:
        return jsoncodec.loads(data.decode("utf-8"))  # type: ignore[return-value]
    except ValueError as reason:
        raise MinirunError(f"{path}: {reason}", hint="the file is damaged: remove what it belongs to") from None


def write(path: str, value: object, *, mode: int = 0o600, durable: bool = False) -> None:
    """Store a value at `path`, atomically.

    Arguments: mode (int), permission bits; durable (bool), fsync(2) it so that it survives a power cut, which takes
    some milliseconds: right for what a user would miss, wrong for what a reboot clears anyway.
    Errors: KernelError with the path, for a full or read-only disk.
    """
    text = jsoncodec.dumps(value)
    if not text.isascii():  # JSON is UTF-8: a byte of the command line that is not becomes U+FFFD, as in Docker
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    write_text(path, text, mode=mode, durable=durable)


def write_text(path: str, text: str, *, mode: int = 0o600, durable: bool = False) -> None:
    """Store a text at `path`, atomically; arguments and errors as for `write`."""
    new, created = f"{path}.new{os.getpid()}", False
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        created = True
        try:
            write_all(fd, text.encode("utf-8", "surrogateescape"))
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(new, path)
    except OSError as reason:
        if created:
            discard(new)
        raise KernelError(f"write {path}", reason.errno or errno.EIO, hint=disk_hint(reason)) from None


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """write(2) all of `data`: one call may take only the beginning of it. Errors: OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


class disk_errors:
    """Turns an OSError into a KernelError with a hint: `with disk_errors(f"write {path}"): ...`.

    Arguments: action (str), what fails then, the beginning of the message.
    """

    def __init__(self, action: str) -> None:
        self.action = action

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        if isinstance(error, OSError):
            raise KernelError(self.action, error.errno or errno.EIO, hint=disk_hint(error)) from None


def disk_hint(reason: OSError) -> str:
    """The hint for a write that failed: what to do about a full or read-only disk or missing rights; "" for others."""
    return {
        errno.ENOSPC: "the disk is full: free some space, or move the data root with --root",
        errno.EROFS: "the file system is read-only: move the data root with --root",
        errno.EACCES: ROOT_HINT,
        errno.EPERM: ROOT_HINT,
    }.get(reason.errno or 0, "")


def reserve(path: str, owner: str) -> bool:
    """Reserve a name that only one owner can have: create the file `path` with `owner` as its content.

    Returns: True when it is reserved now, False when it was taken already. Errors: KernelError with the path.
    The content is written before the file has its name, so a reader that finds the name always finds the owner: the
    file begins nameless (O_TMPFILE, open(2)) and gets its name by link(2), which fails with EEXIST if that is taken.
    """
    directory, _, name = path.rpartition("/")
    try:
        parent = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fd = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, owner.encode())
                # With a directory Python calls linkat(2) instead of link(2): only that can follow the link in /proc.
                os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=parent, follow_symlinks=True)
            finally:
                os.close(fd)
        finally:
            os.close(parent)
    except FileExistsError:
        return False
    except OSError as reason:
        raise KernelError(f"create {path}", reason.errno or 0, hint=disk_hint(reason)) from None
    return True


def exists(path: str) -> bool:
    """Whether there is a file of any kind at `path`; symbolic links are followed."""
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def names(directory: str) -> list[str]:
    """The names in a directory, sorted; none when it does not exist or is no directory."""
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []


def discard(path: str) -> None:
    """Remove a file; no error when it does not exist."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def make_directory(path: str, mode: int = 0o700) -> None:
    """Make a directory and its parents; no error when it exists (`mkdir -p`).

    Arguments: mode (int), permission bits of each directory that is made. Errors: KernelError with the path.
    """
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_directory(path.rpartition("/")[0], mode)
        _make_leaf(path, mode)
    except OSError as reason:
        raise KernelError(f"mkdir {path}", reason.errno or errno.EIO, hint=disk_hint(reason)) from None


def _make_leaf(path: str, mode: int) -> None:
    """Make a directory whose parent exists by now: ENOENT is final here (mkdir in /proc would recurse for ever)."""
    try:
        os.mkdir(path, mode)
    except FileExistsError:  # another process was quicker
        return
    except OSError as reason:
        raise KernelError(f"mkdir {path}", reason.errno or errno.EIO, hint=disk_hint(reason)) from None


def is_unlocked(path: str) -> bool:
    """Whether no process holds the `lock` of `path` at this moment, or `path` does not exist."""
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
    """An exclusive lock on a path, between processes (flock(2)): `with lock(path): ...`.

    The kernel releases it when the open file is closed, so it never outlives the process that holds it. A forked child
    inherits the open file and with it the lock, which is then released when both have closed it. `.fd` (int): the open
    file while the lock is held, else -1.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = -1

    def acquire(self) -> lock:
        """Wait for the lock; at once when this object holds it already, so that it can be handed over held.

        Errors: FileNotFoundError when the directory of the path does not exist (what that means only the caller
        knows); KernelError for others.
        """
        if self.fd < 0:
            try:
                self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                raise
            except OSError as reason:
                raise KernelError(f"open {self.path}", reason.errno or errno.EIO, hint=disk_hint(reason)) from None
            fcntl.flock(self.fd, fcntl.LOCK_EX)
        return self

    def release(self) -> None:
        """Let the next process have the lock."""
        os.close(self.fd)
        self.fd = -1

    def __enter__(self) -> lock:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()
