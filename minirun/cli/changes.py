"""`diff export commit`: what a container has written, shown, taken along, or made into an image."""

from __future__ import annotations

import os
import stat
import sys

from minirun.cli.grammar import Option, Options, Verb
from minirun.cli.kinds import BOOL, LIST, STRING
from minirun.errors import ClientError, EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.register import Container


def diff(options: Options) -> int:
    """List what a container has added (A), changed (C) and deleted (D)."""
    from minirun.engine import committing, register

    if not options.container.strip("/"):
        raise ClientError("Container name cannot be empty", exit_code=1)
    for kind, path in committing.diff(register.find(options.container)):
        sys.stdout.buffer.write(b"%s %s\n" % (kind.encode(), path))  # a name need not be UTF-8
    return 0


def export(options: Options) -> int:
    """Write a container's files as a tar, to standard output or to a file that is there when it is whole."""
    from minirun.engine import committing

    if options.output:
        _check_output(options.output)
    elif os.isatty(1):
        raise ClientError("cowardly refusing to save to a terminal. Use the -o flag or redirect", exit_code=1)
    container = _find(options.container)
    if not options.output:
        committing.export(container, 1)
        return 0
    draft = os.path.join(os.path.dirname(options.output), f".minirun_temp_{os.urandom(5).hex()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        committing.export(container, fd)
        os.rename(draft, options.output)
    except BaseException:
        os.unlink(draft)
        raise
    finally:
        os.close(fd)
    return 0


def _check_output(path: str) -> None:
    """Refuse what cannot become a file. Errors: ClientError in the words of Docker's client."""
    directory = os.path.dirname(path.rstrip("/"))
    reason = ""
    if directory and not os.path.isdir(directory):
        reason = f'directory "{directory}" does not exist'
    elif os.path.isdir(path) or path.endswith("/"):
        reason = f'"{path}" is a directory'
    elif os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
        reason = f'"{path}" must be a directory or a regular file: got a device'
    if reason:
        raise ClientError(f"failed to export container: invalid output path: {reason}", exit_code=1)


def commit(options: Options) -> int:
    """Make an image of a container's changes, and print its id."""
    from minirun.engine import committing
    from minirun.image.store import parse_tag

    name = parse_tag(options.reference) if options.reference else None
    wish = committing.Commit(name, options.author, options.message, options.change, options.pause)
    print(committing.commit(_find(options.container), wish))
    return 0


def _find(word: str) -> Container:
    from minirun.engine import register

    if not word:
        raise EngineError('invalid name or ID supplied: ""')
    return register.find(word)


VERBS = {
    "diff": Verb("diff", "Inspect changes to files or directories on a container's filesystem", "CONTAINER", diff,
                 takes=("container",)),
    "export": Verb("export", "Export a container's filesystem as a tar archive", "[OPTIONS] CONTAINER", export,
                   takes=("container",), options=(
        Option("output", STRING, "Write to a file, instead of STDOUT", short="o"),)),
    "commit": Verb("commit", "Create a new image from a container's changes", "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
                   commit, takes=("container", "reference?"), options=(
        Option("author", STRING, 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")', short="a"),
        Option("change", LIST, "Apply Dockerfile instruction to the created image", short="c"),
        Option("message", STRING, "Commit message", short="m"),
        Option("pause", BOOL, "Pause container during commit", short="p", default=True, shown="true"))),
}
