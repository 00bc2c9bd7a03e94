"""`history`: the steps that made an image, the newest first.

The config of an image (OCI image-spec, config.md) lists all steps; those that changed files have a layer, the others
are marked `empty_layer`. A step has an image of its own only if there is one here whose story ends with it.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from minirun import timestamps
from minirun.cli.format import format
from minirun.cli.format.tabwriter import table
from minirun.cli.format.units import decimal_size, duration
from minirun.cli.image.images import find
from minirun.cli.parser.grammar import Option, Options, Verb
from minirun.cli.parser.types import BOOL, STRING
from minirun.jsoncodec import dumps

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon
    from minirun.image.images import Image

HEADS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
#: Docker's table, for people and (-H=false) for programs.
COLUMNS = {
    True: ("ID", "CreatedSince", "CreatedBy", "Size", "Comment"),
    False: ("ID", "CreatedAt", "CreatedBy", "Size", "Comment"),
}
NARROW = 45  # characters of CREATED BY
MISSING = "<missing>"


def history(daemon: Daemon, options: Options) -> int:
    """Show the steps that made an image."""
    columns = COLUMNS[options.flag("human")]
    template = None
    if options.text("format") and not (options.text("format") == "table" and options.flag("quiet")):
        template = format.Format(options.text("format"), kind="*image.historyContext", heads=HEADS, columns=columns)
    rows = _rows(daemon, options)
    if template:
        template.print(rows)
    elif options.flag("quiet"):
        sys.stdout.write("".join(f"{row['ID']}\n" for row in rows))
    else:
        sys.stdout.write(
            table([[HEADS[column] for column in columns]] + [[row[column] for column in columns] for row in rows])
        )
    return 0


def _rows(daemon: Daemon, options: Options) -> list[dict[str, str]]:
    image = find(daemon, options.text("image"))
    chains = image.chain_ids
    steps = image.config.get("history") or [{} for _ in chains]
    known = {_story(other): other.id for other in daemon.images.every()}
    layers = 0
    rows = []
    for place, step in enumerate(steps, 1):
        size = 0
        if not step.get("empty_layer") and layers < len(chains):
            size = image.layout.layer_info(chains[layers]).get("size", 0)
            layers += 1
        own = image.id if place == len(steps) else known.get(_story(image, place, layers), MISSING)
        rows.append(_row(step, own, size, options))
    return rows[::-1]


def _story(image: Image, steps: int | None = None, layers: int | None = None) -> tuple:
    """What tells an image that ends with a step from all others: the steps and the layers until then."""
    return dumps((image.config.get("history") or [])[:steps]), *image.diff_ids[:layers]


def _row(step: dict, image: str, size: int, options: Options) -> dict[str, str]:
    created = step.get("created") or timestamps.ZERO
    moment = timestamps.parse(created) // timestamps.SECOND
    never = created == timestamps.ZERO
    by = (step.get("created_by") or "").replace("\t", " ")
    at = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(moment)) if not never else ""
    return {
        "ID": image if options.flag("no_trunc") or image == MISSING else image.removeprefix("sha256:")[:12],
        "CreatedSince": "" if never else f"{duration(time.time() - moment)} ago",
        "CreatedAt": f"{at[:-5]}Z" if at.endswith("+0000") else f"{at[:-2]}:{at[-2:]}" if at else "",
        "CreatedBy": by if options.flag("no_trunc") or len(by) <= NARROW else f"{by[: NARROW - 1]}…",
        "Size": decimal_size(size) if options.flag("human") else str(size),
        "Comment": step.get("comment") or "",
    }


VERBS = {
    "history": Verb(
        "history",
        "Show the history of an image",
        "[OPTIONS] IMAGE",
        history,
        takes=("image",),
        options=(
            Option("format", STRING, "Pretty-print images using a Go template"),
            Option(
                "human", BOOL, "Print sizes and dates in human readable format", short="H", default=True, shown="true"
            ),
            Option("no-trunc", BOOL, "Don't truncate output"),
            Option("quiet", BOOL, "Only show image IDs", short="q"),
        ),
    ),
}
