"""`tag`, `image prune`: give an image one more name; remove the images that nothing uses."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from minirun.cli.filters import images
from minirun.cli.format.units import decimal_size
from minirun.cli.image.images import users
from minirun.cli.parser.grammar import Option, Options, Verb
from minirun.cli.parser.types import BOOL, CONDITIONS
from minirun.engine.container.reconcile import reconcile_all
from minirun.errors import ClientError
from minirun.image import reference

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon
    from minirun.image.reference import Reference

QUESTION = "WARNING! This will remove all {}.\nAre you sure you want to continue? [y/N] "
DANGLING, UNUSED = "dangling images", "images without at least one container associated to them"


def tag(daemon: Daemon, options: Options) -> int:
    """Give an image one more name."""
    if not reference.is_id(options.text("source").removeprefix("sha256:")):
        _reference(options.text("source"))
    if _reference(options.text("target")).digest:
        raise ClientError("refusing to create a tag with a digest reference", exit_code=1)
    daemon.images.tag(options.text("source"), options.text("target"))
    return 0


def _reference(word: str) -> Reference:
    try:
        return reference.parse(word)
    except ClientError as error:
        raise ClientError(
            f'Error parsing reference: "{word}" is not a valid repository/tag: {error.message}', exit_code=1
        ) from None


def prune(daemon: Daemon, options: Options) -> int:
    """Remove dangling images; with -a, all from which no container was made."""
    from minirun.image.content import remove as image

    everything, wanted = images.pruned(options.pairs("filter"), options.flag("all"))
    if not options.flag("force"):
        print(QUESTION.format(UNUSED if everything else DANGLING), end="", flush=True)
        if sys.stdin.readline().strip().lower() != "y":
            print("Total reclaimed space: 0B")
            return 0
    reconcile_all(daemon)
    lines, freed = image.prune(daemon.images, lambda: users(daemon), everything=everything, wanted=wanted)
    if lines:
        print("Deleted Images:\n" + "\n".join(lines) + "\n")
    print(f"Total reclaimed space: {decimal_size(freed, 4)}")
    return 0


VERBS = {
    "tag": Verb(
        "tag",
        "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
        "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        tag,
        takes=("source", "target"),
        interspersed=False,
    ),
    "image prune": Verb(
        "image prune",
        "Remove unused images",
        "[OPTIONS]",
        prune,
        options=(
            Option("all", BOOL, "Remove all unused images, not just dangling ones", short="a"),
            Option("filter", CONDITIONS, "Provide filter values (e.g. 'until=<timestamp>')"),
            Option("force", BOOL, "Do not prompt for confirmation", short="f"),
        ),
    ),
}
