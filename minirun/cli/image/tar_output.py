"""The output of `save` and `export`: standard output, or a file that appears when it is complete."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from minirun.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable


def check(path: str, failure: str) -> None:
    """Refuse an output that cannot be written, before any work is done.

    Arguments: path (str), "" for standard output; failure (str), what Docker's client calls it: "failed to save image".
    Errors: ClientError in its words.
    """
    if not path:
        if os.isatty(1):
            raise ClientError("cowardly refusing to save to a terminal. Use the -o flag or redirect", exit_code=1)
        return
    directory = os.path.dirname(path.rstrip("/"))
    reason = ""
    if directory and not os.path.isdir(directory):
        reason = f'directory "{directory}" does not exist'
    elif os.path.isdir(path) or path.endswith("/"):
        reason = f'"{path}" is a directory'
    elif os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
        reason = f'"{path}" must be a directory or a regular file: got a device'
    if reason:
        raise ClientError(f"{failure}: invalid output path: {reason}", exit_code=1)


def write(path: str, make: Callable[[int], None]) -> None:
    """Let `make` write to a descriptor; a file is renamed into its place when `make` has returned.

    Arguments: path (str), "" for standard output.
    """
    if not path:
        make(1)
        return
    draft = os.path.join(os.path.dirname(path), f".minirun_temp_{os.urandom(5).hex()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        make(fd)
        os.rename(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
    finally:
        os.close(fd)
