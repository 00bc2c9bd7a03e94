"""`images`, `import`, `rmi`: list images, make one of a tar, remove them."""

from __future__ import annotations

import sys
import time

from minirun.cli.format.units import decimal_size, duration
from minirun.cli.parser.grammar import Option, Options, Verb
from minirun.cli.parser.types import BOOL, CONDITIONS, LIST, STRING
from minirun.errors import ClientError, EngineError, MinirunError, NoSuchImage
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirun.engine.daemon import Daemon
    from minirun.image.archive.import_url import UrlSource
    from minirun.image.content.remove import ImageUser
    from minirun.image.images import Image

HEADS = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "VirtualSize": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
}
COLUMNS = ("Repository", "Tag", "ID", "CreatedSince", "Size")
RUNNING = ("running", "paused", "restarting")
WITH_DIGEST = ("Repository", "Tag", "Digest", "ID", "CreatedSince", "Size")


def images(daemon: Daemon, options: Options) -> int:
    """List images, the newest first, a line for each name."""
    template = None
    columns = WITH_DIGEST if options.flag("digests") else COLUMNS
    if options.text("format"):
        from minirun.cli.format import format  # only a command line with --format needs a template

        text = _raw(options) if options.text("format") == "raw" else options.text("format")
        template = format.Format(text, kind="*formatter.imageContext", heads=HEADS, columns=columns)
    rows = [row for image in _chosen(daemon, options) for row in _rows(image, options)]
    if template and not (template.is_default and options.flag("quiet")):
        template.print(rows)
    elif options.flag("quiet"):
        sys.stdout.write("".join(f"{row['ID']}\n" for row in rows))
    else:
        from minirun.cli.format.tabwriter import table

        cells = [[HEADS[column] for column in columns]] + [[row[column] for column in columns] for row in rows]
        sys.stdout.write(table(cells))
    return 0


def _raw(options: Options) -> str:
    """The template that Docker calls "raw"."""
    if options.flag("quiet"):
        return "image_id: {{.ID}}"
    digest = "digest: {{.Digest}}\n" if options.flag("digests") else ""
    return (
        "repository: {{.Repository}}\ntag: {{.Tag}}\n"
        + digest
        + "image_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n"
    )


def find(daemon: Daemon, word: str) -> Image:
    """The image that a word means. Errors: NoSuchImage, EngineError: it is the daemon that reads this word."""
    try:
        return daemon.images.find(word)
    except ClientError as error:
        raise EngineError(error.message) from None


def _chosen(daemon: Daemon, options: Options) -> list[Image]:
    if not options.pairs("filter") and not options.text("reference"):
        return daemon.images.every()
    from minirun.cli.filters import images

    named = [("reference", options.text("reference"))] if options.text("reference") else []
    return images.images(daemon.images, [*options.pairs("filter"), *named])


def _rows(image: Image, options: Options) -> list[dict[str, str]]:
    from minirun import timestamps

    created = timestamps.parse(image.created) // timestamps.SECOND
    row = {
        "ID": image.id if options.flag("no_trunc") else image.id.removeprefix("sha256:")[:12],
        "CreatedSince": duration(time.time() - created) + " ago",
        "Size": decimal_size(image.size),
        "Containers": "N/A",
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
    }
    if options.text("format"):  # no columns of a list
        row["CreatedAt"] = time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(created))
        row["VirtualSize"] = decimal_size(image.size, 4)
    return [
        {**row, "Repository": repository, "Tag": tag, "Digest": digest}
        for repository, tag, digest in _names(image, options)
    ]


def _names(image: Image, options: Options) -> Iterator[tuple[str, str, str]]:
    """Repository, tag and digest of each line: a tag has a line for each digest by which it was pulled."""
    names = image.names
    patterns = [value for name, value in options.pairs("filter") if name == "reference"]
    patterns += [options.text("reference")] if options.text("reference") else []
    if patterns:
        from minirun.cli.filters.images import named_like

        names = list(filter(named_like(patterns), names))
    if not names:
        yield "<none>", "<none>", "<none>"
    digests: dict[str, list[str]] = {}
    for pulled in image.digests if options.flag("digests") or "{{.Digest}}" in options.text("format") else ():
        digests.setdefault(pulled.partition("@")[0], []).append(pulled.partition("@")[2])
    tagged = {name.rpartition(":")[0] for name in names if "@" not in name}
    for name in names:
        repository, at, digest = name.partition("@")
        if not at:
            repository, _, tag = name.rpartition(":")
            for known in digests.get(repository) or ["<none>"]:
                yield repository, tag, known
        elif repository not in tagged:
            yield repository, "<none>", digest


def import_(daemon: Daemon, options: Options) -> int:
    """Create an image from a tar of a root file system and print its ID."""
    word, name = options.words("source")[0], (options.words("source") + [""])[1]
    from minirun.image.archive import import_tar

    source: str | UrlSource = word
    if word.startswith(("http://", "https://")):
        from minirun.image.archive.import_url import UrlSource

        source = UrlSource(word, lambda url: print(f"Downloading from {url}", flush=True))
    print(
        import_tar.import_tar(
            daemon.images, source, name, options.text("message"), options.words("change"), options.text("platform")
        )
    )
    return 0


def rmi(daemon: Daemon, options: Options) -> int:
    """Remove names of images, and an image with its last name."""
    from minirun.cli.error_text import complaint
    from minirun.engine.container.reconcile import reconcile_all
    from minirun.image.content import remove

    reconcile_all(daemon)
    failures = 0
    for word in options.words("images"):
        try:
            sys.stdout.write(
                "".join(
                    f"{line}\n" for line in remove.remove(daemon.images, word, options.flag("force"), users(daemon))
                )
            )
        except ClientError as error:  # it is the daemon that reads this word
            print(complaint(EngineError(error.message), "rmi"), file=sys.stderr)
            failures += 1
        except NoSuchImage:
            print(f"Error: No such image: {word}", file=sys.stderr)
            failures += not options.flag("force")
        except MinirunError as error:
            print(complaint(error, "rmi"), file=sys.stderr)
            failures += 1
    return 1 if failures else 0


def users(daemon: Daemon) -> list[ImageUser]:
    """The containers, as far as images go."""
    from minirun.engine.container import index
    from minirun.image.content.remove import ImageUser

    return [
        ImageUser(container.id, container.record["Image"], status.state in RUNNING, container.record["LayerIDs"])
        for container, status in index.statuses(daemon)
    ]


VERBS = {
    "images": Verb(
        "images",
        "List images",
        "[OPTIONS] [REPOSITORY[:TAG]]",
        images,
        takes=("reference?",),
        options=(
            Option("all", BOOL, "Show all images (default hides intermediate images)", short="a"),
            Option("digests", BOOL, "Show digests"),
            Option("filter", CONDITIONS, "Filter output based on conditions provided", short="f"),
            Option("format", STRING, "Pretty-print images using a Go template"),
            Option("no-trunc", BOOL, "Don't truncate output"),
            Option("quiet", BOOL, "Only show image IDs", short="q"),
        ),
    ),
    "import": Verb(
        "import",
        "Import the contents from a tarball to create a filesystem image",
        "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
        import_,
        takes=("source+",),
        options=(
            Option("change", LIST, "Apply Dockerfile instruction to the created image", short="c"),
            Option("message", STRING, "Set commit message for imported image", short="m"),
            Option("platform", STRING, "Set platform if server is multi-platform capable"),
        ),
    ),
    "rmi": Verb(
        "rmi",
        "Remove one or more images",
        "[OPTIONS] IMAGE [IMAGE...]",
        rmi,
        takes=("images+",),
        options=(
            Option("force", BOOL, "Force removal of the image", short="f"),
            Option("no-prune", BOOL, "Do not delete untagged parents"),
        ),
    ),
}
