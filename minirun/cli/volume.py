"""`volume`: create, list and remove volumes."""

from __future__ import annotations

import sys

from minirun import stringid
from minirun.cli.container.inspect import FORMAT, inspect_volume
from minirun.cli.error_text import complaint
from minirun.cli.filters import volumes as filters
from minirun.cli.format import format
from minirun.cli.format.tabwriter import table
from minirun.cli.format.units import decimal_size
from minirun.cli.parser.grammar import Option, Options, ValueType, Verb
from minirun.cli.parser.types import BOOL, CONDITIONS, STRING
from minirun.cli.run.types import LABELS
from minirun.engine.container import reconcile
from minirun.engine.volume import parse, volumes
from minirun.errors import ClientError, EngineError, MinirunError, NoSuchVolume
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon

#: Field of a template → head of its column, in Docker's words.
HEADS = {
    "Name": "VOLUME NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS",
    "Links": "LINKS",
    "Size": "SIZE",
}
COLUMNS = ("Driver", "Name")
RAW, RAW_NAMES = "name: {{.Name}}\ndriver: {{.Driver}}\n", "name: {{.Name}}"
QUESTION = (
    "WARNING! This will remove all local volumes not used by at least one container.\n"
    "Are you sure you want to continue? [y/N] "
)


# ---- create -----------------------------------------------------------------------------------------------------


def create(daemon: Daemon, options: Options) -> int:
    """Create a volume and print its name."""
    if options.text("name") and options.text("volume"):
        raise ClientError("conflicting options: either specify --name or provide positional arg, not both", exit_code=1)
    name = options.text("name") or options.text("volume") or stringid.generate()
    labels = {key: value for key, _, value in (entry.partition("=") for entry in options.words("label"))}
    parse.check_name(name)
    parse.check_driver(name, options.text("driver"), options.mapping("opt"))
    with volumes.lock(daemon):
        volumes.create(daemon, name, labels, {})
    print(name)
    return 0


# ---- ls, inspect ------------------------------------------------------------------------------------------------


def ls(daemon: Daemon, options: Options) -> int:
    """List volumes, by name."""
    text = (RAW_NAMES if options.flag("quiet") else RAW) if options.text("format") == "raw" else options.text("format")
    template = None
    if text and not (text == "table" and options.flag("quiet")):
        template = format.Format(text, kind="*formatter.volumeContext", heads=HEADS, columns=COLUMNS)
    rows = [_row(volume) for volume in filters.listed(daemon, options.pairs("filter"))]
    if template:
        template.print(rows)
    elif options.flag("quiet"):
        sys.stdout.write("".join(f"{row['Name']}\n" for row in rows))
    else:
        sys.stdout.write(
            table([[HEADS[column] for column in COLUMNS]] + [[str(row[column]) for column in COLUMNS] for row in rows])
        )
    return 0


def _row(volume: dict) -> dict[str, object]:
    labels = volume["Labels"] or {}
    return {
        "Driver": volume["Driver"],
        "Labels": ",".join(f"{key}={labels[key]}" for key in sorted(labels)),
        "Links": "N/A",
        "Mountpoint": volume["Mountpoint"],
        "Name": volume["Name"],
        "Scope": volume["Scope"],
        "Size": "N/A",
        "Label": lambda name: labels.get(name, ""),
    }


# ---- rm, prune --------------------------------------------------------------------------------------------------


def remove(daemon: Daemon, options: Options) -> int:
    """Remove volumes that no container uses."""
    reconcile.reconcile_all(daemon)
    failures = 0
    for word in options.words("volumes"):
        try:
            volumes.remove(daemon, word)
        except NoSuchVolume:
            if not options.flag("force"):
                print(f"Error: No such volume: {word}", file=sys.stderr)
                failures += 1
                continue
        except MinirunError as error:
            print(complaint(error, "volume rm"), file=sys.stderr)
            failures += 1
            continue
        print(word, flush=True)
    return 1 if failures else 0


def prune(daemon: Daemon, options: Options) -> int:
    """Remove all volumes that no container uses."""
    removed, freed = [], 0
    if not options.flag("force"):
        print(QUESTION, end="", flush=True)
    if options.flag("force") or sys.stdin.readline().strip().lower() == "y":
        reconcile.reconcile_all(daemon)
        for volume in filters.unused(daemon, options.pairs("filter")):
            try:
                size = volumes.size(daemon, volume["Name"])
                volumes.remove(daemon, volume["Name"])
            except EngineError:  # a container uses it by now, or it is removed
                continue
            removed.append(volume["Name"])
            freed += size
    if removed:
        print("Deleted Volumes:\n" + "\n".join(removed) + "\n")
    print(f"Total reclaimed space: {decimal_size(freed, 4)}")
    return 0


# ---- the words --------------------------------------------------------------------------------------------------


def _option(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


def _put(values: dict, pair: tuple[str, str]) -> None:
    values[pair[0]] = pair[1]


MAP = ValueType("map", _option, empty=dict, gather=_put)

VERBS = {
    "volume create": Verb(
        "volume create",
        "Create a volume",
        "[OPTIONS] [VOLUME]",
        create,
        takes=("volume?",),
        options=(
            Option("driver", STRING, "Specify volume driver name", short="d", default="local", shown='"local"'),
            Option("label", LABELS, "Set metadata for a volume"),
            Option("name", STRING, "Specify volume name", hidden=True),
            Option("opt", MAP, "Set driver specific options", short="o", shown="map[]"),
        ),
    ),
    "volume ls": Verb(
        "volume ls",
        "List volumes",
        "[OPTIONS]",
        ls,
        aliases=("ls", "list"),
        options=(
            Option("filter", CONDITIONS, "Provide filter values (e.g. 'dangling=true')", short="f"),
            Option("format", STRING, "Pretty-print volumes using a Go template"),
            Option("quiet", BOOL, "Only display volume names", short="q"),
        ),
    ),
    "volume inspect": Verb(
        "volume inspect",
        "Display detailed information on one or more volumes",
        "[OPTIONS] VOLUME [VOLUME...]",
        inspect_volume,
        takes=("objects+",),
        options=(FORMAT,),
    ),
    "volume rm": Verb(
        "volume rm",
        "Remove one or more volumes",
        "[OPTIONS] VOLUME [VOLUME...]",
        remove,
        takes=("volumes+",),
        aliases=("rm", "remove"),
        help="Remove one or more volumes. You cannot remove a volume that is in use by a container.",
        options=(Option("force", BOOL, "Force the removal of one or more volumes", short="f"),),
    ),
    "volume prune": Verb(
        "volume prune",
        "Remove all unused local volumes",
        "[OPTIONS]",
        prune,
        options=(
            Option("filter", CONDITIONS, "Provide filter values (e.g. 'label=<label>')"),
            Option("force", BOOL, "Do not prompt for confirmation", short="f"),
        ),
    ),
}
