"""`diff`, `export`, `commit`: the changes in a container's file system listed, its files as a tar, an image of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from minirun.cli.image import tar_output
from minirun.cli.parser.grammar import Option, Options, Verb
from minirun.cli.parser.types import BOOL, LIST, STRING
from minirun.engine.container import index
from minirun.engine.options import CommitOptions
from minirun.errors import ClientError, EngineError

if TYPE_CHECKING:
    from minirun.engine.container.container import Container
    from minirun.engine.daemon import Daemon


def diff(daemon: Daemon, options: Options) -> int:
    """List the paths that a container has added (A), changed (C) and deleted (D)."""
    from minirun.engine import commit

    if not options.text("container").strip("/"):
        raise ClientError("Container name cannot be empty", exit_code=1)
    for kind, path in commit.diff(index.find(daemon, options.text("container"))):
        sys.stdout.buffer.write(b"%s %s\n" % (kind.encode(), path))  # a name need not be UTF-8
    return 0


def export(daemon: Daemon, options: Options) -> int:
    """Write a container's file system as a tar, to standard output or to a file that appears when it is complete."""
    from minirun.engine import commit

    tar_output.check(options.text("output"), "failed to export container")
    container = _find(daemon, options.text("container"))
    tar_output.write(options.text("output"), lambda fd: commit.export(container, fd))
    return 0


def commit(daemon: Daemon, options: Options) -> int:
    """Create an image from a container's changes and print its ID."""
    from minirun.engine import commit
    from minirun.image.images import parse_tag

    name = parse_tag(options.text("reference")) if options.text("reference") else None
    wanted = CommitOptions.of(options.values, name=name)
    print(commit.commit(_find(daemon, options.text("container")), wanted))
    return 0


def _find(daemon: Daemon, word: str) -> Container:
    if not word:
        raise EngineError('invalid name or ID supplied: ""')
    return index.find(daemon, word)


VERBS = {
    "diff": Verb(
        "diff",
        "Inspect changes to files or directories on a container's filesystem",
        "CONTAINER",
        diff,
        takes=("container",),
    ),
    "export": Verb(
        "export",
        "Export a container's filesystem as a tar archive",
        "[OPTIONS] CONTAINER",
        export,
        takes=("container",),
        options=(Option("output", STRING, "Write to a file, instead of STDOUT", short="o"),),
    ),
    "commit": Verb(
        "commit",
        "Create a new image from a container's changes",
        "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
        commit,
        takes=("container", "reference?"),
        options=(
            Option("author", STRING, 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")', short="a"),
            Option("change", LIST, "Apply Dockerfile instruction to the created image", short="c"),
            Option("message", STRING, "Commit message", short="m"),
            Option("pause", BOOL, "Pause container during commit", short="p", default=True, shown="true"),
        ),
    ),
}
