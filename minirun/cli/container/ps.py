"""`ps`: the containers as a table, or through a template."""

from __future__ import annotations

import sys
import time

from minirun import timestamps
from minirun.cli.format.strconv_quote import quote
from minirun.cli.format.units import duration
from minirun.cli.parser.grammar import Option, Options, Verb
from minirun.cli.parser.types import BOOL, CONDITIONS, INT, STRING
from minirun.errors import MinirunError
from minirun.light import TYPE_CHECKING, os

if TYPE_CHECKING:
    from minirun.engine.container.container import Container, Status
    from minirun.engine.daemon import Daemon

#: Field of a template → head of its column, in Docker's words.
HEADS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "CreatedAt": "CREATED AT",
    "Status": "STATUS",
    "State": "STATE",
    "Ports": "PORTS",
    "Names": "NAMES",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
}
COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
#: COMMAND is cut to this many characters, the last of them an ellipsis.
COMMAND_WIDTH = 20
ALIVE = ("running", "paused", "restarting")


def ps(daemon: Daemon, options: Options) -> int:
    """List containers."""
    template = None
    if options.text("format"):
        from minirun.cli.format import format  # only a command line with --format needs a template

        template = format.Format(
            options.text("format"),
            kind="*formatter.ContainerContext",
            heads=HEADS,
            columns=COLUMNS,
            prefixes=("failed to parse template", "failed to execute template"),
        )
        template.try_out()
    now = time.time_ns()
    rows = [Row(container, status, now, full=options.flag("no_trunc")) for container, status in chosen(daemon, options)]
    if template and not (template.is_default and options.flag("quiet")):
        template.print([row.fields() for row in rows])
    elif options.flag("quiet"):
        sys.stdout.write("".join(f"{row.ID()}\n" for row in rows))
    else:
        from minirun.cli.format.tabwriter import table

        columns = COLUMNS + (("Size",) if options.flag("size") else ())
        cells = [[HEADS[column] for column in columns]] + [[row.field(column) for column in columns] for row in rows]
        sys.stdout.write(table(cells))
    return 0


def chosen(daemon: Daemon, options: Options) -> list[tuple[Container, Status]]:
    """The containers to show with their status, the newest first."""
    from minirun.engine.container import index

    last = 1 if options.flag("latest") else options.number("last")
    everything = options.flag("all") or last > 0 or any(name == "status" for name, _ in options.pairs("filter"))
    fits = None
    if options.pairs("filter"):
        from minirun.cli.filters import containers  # regular expressions, for those who ask for them

        fits = containers.containers(daemon, options.pairs("filter"))
    found: list[tuple[Container, Status]] = []
    for container, status in index.statuses(daemon):
        if (everything or status.state in ALIVE) and (fits is None or fits(container, status)):
            found.append((container, status))
            if len(found) == last:
                break
    for text in index.unreadable:
        print(f"WARNING: {text}", file=sys.stderr)
    return found


class Row:
    """The cells of one container; each method named like the field of Docker's templates gives that field."""

    def __init__(self, container: Container, status: Status, now: int, *, full: bool = False) -> None:
        self.container = container
        self.record = container.record
        self.status = status
        self.now = now
        self.created = timestamps.parse_own(self.record["Created"])
        self.full = full

    def field(self, name: str) -> str:
        """The text of a field, by its name in Docker's templates."""
        return getattr(self, name)()

    def fields(self) -> dict[str, object]:
        """All fields, as a template asks for them."""
        from minirun.cli.gotemplate.values import Lazy  # only templates ask for fields by name

        result: dict[str, object] = {name: Lazy(getattr(self, name)) for name in sorted(HEADS)}
        labels = self.record["Config"].get("Labels") or {}
        result["Label"] = lambda name: labels.get(name, "")
        return result

    def ID(self) -> str:  # noqa: N802 (Docker's name)
        """The container's ID, 12 digits of it unless --no-trunc."""
        return self.container.id if self.full else self.container.id[:12]

    def Names(self) -> str:  # noqa: N802
        """The container's name."""
        return self.record["Name"].removeprefix("/")

    def Image(self) -> str:  # noqa: N802
        """The image as the user named it; its id once that name means another image, or none."""
        name, image = self.record["ImageName"], self.record["Image"]
        if self.created > _images_changed(self.container.daemon):
            return name  # no name has changed its meaning since
        if _meaning(self.container.daemon, name) == image:
            return name
        return image if self.full else image.removeprefix("sha256:")[:12]

    def Command(self) -> str:  # noqa: N802
        """The command in quotes, cut to 20 characters unless --no-trunc."""
        words = [f"'{word}'" if " " in word else word for word in self.record["Args"]]
        command = " ".join([self.record["Path"], *words])
        if not self.full and len(command) > COMMAND_WIDTH:
            command = command[: COMMAND_WIDTH - 1] + "…"
        return quote(command)

    def CreatedAt(self) -> str:  # noqa: N802
        """When the container was created, in the local time zone."""
        return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(self.created // 10**9))

    def RunningFor(self) -> str:  # noqa: N802
        """How long ago the container was created."""
        return duration((self.now - self.created) // 10**9) + " ago"

    def State(self) -> str:  # noqa: N802
        """The state as one word: created, running, exited."""
        return self.status.state

    def Status(self) -> str:  # noqa: N802
        """The state with its duration and exit code: "Up 2 minutes", "Exited (0) 3 seconds ago"."""
        word, code = self.status.state, self.status.exit_code
        if word in ("running", "paused"):
            return f"Up {self.since(self.status.started_at)}" + (" (Paused)" if word == "paused" else "")
        if word in ("restarting", "exited"):
            return f"{word.capitalize()} ({code}) {self.since(self.status.finished_at)} ago"
        return word.capitalize()

    def since(self, moment: str) -> str:
        """How long ago a moment was."""
        return duration((self.now - timestamps.parse_own(moment)) / 1e9)

    def Ports(self) -> str:  # noqa: N802
        """The published and exposed ports of a running container."""
        if self.status.state not in ALIVE or not self.record["Config"].get("ExposedPorts"):
            return ""
        from minirun.cli.container import port  # few containers have any

        return port.listed(self.container.ports())

    def Labels(self) -> str:  # noqa: N802
        """The labels, KEY=VALUE with commas between them."""
        return ",".join(f"{name}={value}" for name, value in (self.record["Config"].get("Labels") or {}).items())

    def Mounts(self) -> str:  # noqa: N802
        """The volume names and sources of its mount points."""
        names = [point.get("Name") or point.get("Source") or "" for point in self.record.get("MountPoints") or []]
        return ",".join(name if self.full or len(name) <= 15 else name[:14] + "…" for name in names)

    def LocalVolumes(self) -> str:  # noqa: N802
        """How many volumes it has."""
        return str(sum(point["Type"] == "volume" for point in self.record.get("MountPoints") or []))

    def Networks(self) -> str:  # noqa: N802
        """The names of its networks."""
        return ",".join(sorted(self.record["Networks"]))

    def Size(self) -> str:  # noqa: N802
        """The size of its writable layer, and with the image's layers."""
        from minirun.cli.format.units import decimal_size
        from minirun.engine import info  # walks through all files: only with -s, or when a template asks

        own, whole = info.sizes(self.container)
        return f"{decimal_size(own)} (virtual {decimal_size(whole)})"


_meanings: dict[str, str] = {}
_changed: list[int] = []


def _images_changed(daemon: Daemon) -> int:
    """When an image was last made, named or removed (ns since 1970). Asked once."""
    if not _changed:
        try:
            _changed.append(os.stat(f"{daemon.data_root}/images/index.json").st_mtime_ns)
        except OSError:  # there are none
            _changed.append(sys.maxsize)
    return _changed[0]


def _meaning(daemon: Daemon, name: str) -> str:
    """The id of the image that has this name now, "" when none has. Asked once for each name."""
    if name not in _meanings:
        try:
            _meanings[name] = daemon.images.find(name).id
        except MinirunError:
            _meanings[name] = ""
    return _meanings[name]


VERBS = {
    "ps": Verb(
        "ps",
        "List containers",
        "[OPTIONS]",
        ps,
        options=(
            Option("all", BOOL, "Show all containers (default shows just running)", short="a"),
            Option("filter", CONDITIONS, "Filter output based on conditions provided", short="f"),
            Option("format", STRING, "Pretty-print containers using a Go template"),
            Option(
                "last", INT, "Show n last created containers (includes all states)", short="n", default=-1, shown="-1"
            ),
            Option("latest", BOOL, "Show the latest created container (includes all states)", short="l"),
            Option("no-trunc", BOOL, "Don't truncate output"),
            Option("quiet", BOOL, "Only display container IDs", short="q"),
            Option("size", BOOL, "Display total file sizes", short="s"),
        ),
    ),
}
