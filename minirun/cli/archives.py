"""`load`: images that travel as files."""

from __future__ import annotations

import os

from minirun.cli.grammar import Option, Options, Verb
from minirun.cli.images import store
from minirun.cli.kinds import BOOL, STRING
from minirun.errors import ClientError, EngineError


def load(options: Options) -> int:
    """Take in the images of an archive, and say what they are called."""
    from minirun.image import load as image

    if not options.input and os.isatty(0):
        raise ClientError("requested load from stdin, but stdin is empty", exit_code=1)
    try:
        image.load(store(), options.input or "-", lambda line: print(line, flush=True), quiet=options.quiet)
    except EngineError as error:  # Docker's daemon says these in the middle of its answer, and without its usual words
        raise ClientError(error.message, hint=error.hint, exit_code=1) from None
    return 0


VERBS = {
    "load": Verb("load", "Load an image from a tar archive or STDIN", "[OPTIONS]", load, options=(
        Option("input", STRING, "Read from tar archive file, instead of STDIN", short="i"),
        Option("quiet", BOOL, "Suppress the load output", short="q"))),
}
