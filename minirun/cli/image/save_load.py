"""`save`, `load`: images to and from tar archives."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from minirun.cli.image import tar_output
from minirun.cli.parser.grammar import Option, Options, Verb
from minirun.cli.parser.types import BOOL, STRING
from minirun.errors import ClientError, EngineError

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon


def save(daemon: Daemon, options: Options) -> int:
    """Write images as a tar, to standard output or to a file that appears when it is complete."""
    from minirun.image.archive import save as image

    tar_output.check(options.text("output"), "failed to save image")
    images = daemon.images
    selected = image.select(images, options.words("images"))
    tar_output.write(options.text("output"), lambda fd: image.save(images, selected, fd))
    return 0


def load(daemon: Daemon, options: Options) -> int:
    """Load the images of an archive and print their names."""
    from minirun.image.archive import load as image

    if not options.text("input") and os.isatty(0):
        raise ClientError("requested load from stdin, but stdin is empty", exit_code=1)
    try:
        image.load(
            daemon.images,
            options.text("input") or "-",
            lambda line: print(line, flush=True),
            quiet=options.flag("quiet"),
        )
    except EngineError as error:  # Docker's daemon says these in the middle of its answer, and without its usual words
        raise ClientError(error.message, hint=error.hint, exit_code=1) from None
    return 0


VERBS = {
    "save": Verb(
        "save",
        "Save one or more images to a tar archive (streamed to STDOUT by default)",
        "[OPTIONS] IMAGE [IMAGE...]",
        save,
        takes=("images+",),
        options=(Option("output", STRING, "Write to a file, instead of STDOUT", short="o"),),
    ),
    "load": Verb(
        "load",
        "Load an image from a tar archive or STDIN",
        "[OPTIONS]",
        load,
        options=(
            Option("input", STRING, "Read from tar archive file, instead of STDIN", short="i"),
            Option("quiet", BOOL, "Suppress the load output", short="q"),
        ),
    ),
}
