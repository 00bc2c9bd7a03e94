"""`inspect`: containers, images, networks and volumes as Docker's API shows them, as JSON or through a template."""

from __future__ import annotations

import sys

from minirun.cli.parser.grammar import Option, Options, Verb
from minirun.cli.parser.types import BOOL, STRING
from minirun.errors import ClientError, MinirunError, NoSuchContainer, NoSuchImage, NoSuchNetwork, NoSuchVolume
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.cli.gotemplate.exec import Template
    from minirun.engine.daemon import Daemon

#: What Docker's --type knows; minirun has containers, images, networks and volumes.
TYPES = ("container", "image", "config", "network", "node", "plugin", "secret", "service", "task", "volume")


def inspect(daemon: Daemon, options: Options) -> int:
    """Inspect objects of any type: a name is looked up among containers, images, networks, volumes, in this order."""
    if options.text("type") and options.text("type") not in TYPES:
        raise ClientError(f'"{options.text("type")}" is not a valid value for --type', exit_code=1)
    return _inspect(daemon, options, options.text("type"), options.text("type") or "object")


def inspect_container(daemon: Daemon, options: Options) -> int:
    """`container inspect`."""
    return _inspect(daemon, options, "container", "container")


def inspect_image(daemon: Daemon, options: Options) -> int:
    """`image inspect`."""
    return _inspect(daemon, options, "image", "image")


def inspect_network(daemon: Daemon, options: Options) -> int:
    """`network inspect`."""
    return _inspect(daemon, options, "network", "network")


def inspect_volume(daemon: Daemon, options: Options) -> int:
    """`volume inspect`."""
    return _inspect(daemon, options, "volume", "volume")


def _inspect(daemon: Daemon, options: Options, kind: str, noun: str) -> int:
    template = _template(options.text("format")) if options.text("format") else None
    found: list[dict] = []
    failures: list[str] = []
    for word in options.words("objects"):
        try:
            found.append(describe(daemon, word, kind, size=bool(options.values.get("size"))))
        except (NoSuchContainer, NoSuchImage, NoSuchNetwork, NoSuchVolume) as error:
            failures.append(f"Error: No such {noun}: {word}")
            if kind == "image" and isinstance(error.__cause__, ClientError):
                failures[-1] = f"Error response from daemon: no such image: {word}: {error.__cause__.message}"
        except MinirunError as error:
            failures.append(f"Error response from daemon: {error.message}")
    if template:
        _print_through(template, found, failures)
    else:
        from minirun.cli.format.json import pretty

        sys.stdout.write(pretty(found) + "\n")
    if failures:
        print("\n".join(failures), file=sys.stderr)
    return 1 if failures else 0


def describe(daemon: Daemon, word: str, kind: str = "", *, size: bool = False) -> dict:
    """One object as Docker's API shows it.

    Arguments: kind (str), "container", "image", "network", "volume" or "" for the first of this name; size, add
    SizeRw and SizeRootFs.
    Errors: NoSuchContainer, NoSuchImage.
    """
    for name, read in _READERS.items():
        if kind in ("", name):
            try:
                return read(daemon, word, size)
            except (NoSuchContainer, NoSuchImage, NoSuchNetwork, NoSuchVolume):
                if kind:
                    raise
    raise NoSuchContainer(word)


def _container(daemon: Daemon, word: str, size: bool) -> dict:
    from minirun.engine.container import index
    from minirun.engine.container import inspect as engine

    container = index.find(daemon, word)
    status = container.status()
    ports = container.ports() if status.state in ("running", "paused", "restarting") else {}
    result = engine.describe(container.record, status, container.sandbox(), daemon, ports)
    if size:
        from minirun.engine import info

        result["SizeRw"], result["SizeRootFs"] = info.sizes(container)
    return result


def _image(daemon: Daemon, word: str, _size: bool) -> dict:
    from minirun.engine import info

    try:
        return info.image(daemon.images.find(word))
    except ClientError as error:  # a word that cannot be the name of an image is not the name of one
        raise NoSuchImage(word) from error


def _network(daemon: Daemon, word: str, _size: bool) -> dict:
    from minirun import store
    from minirun.engine.network import endpoints

    if not store.exists(f"{daemon.data_root}/networks"):
        raise NoSuchNetwork(word)  # no network exists yet, and inspect must not create the first
    return endpoints.inspect_network(daemon, daemon.networks.find(word))


def _volume(daemon: Daemon, word: str, _size: bool) -> dict:
    from minirun.engine.volume import volumes

    return volumes.inspect(daemon, word)


_READERS: dict[str, Callable[[Daemon, str, bool], dict]] = {
    "container": _container,
    "image": _image,
    "network": _network,
    "volume": _volume,
}


def _template(text: str) -> Template:
    """The template after -f. Errors: ClientError with Docker's exit code 64."""
    from minirun.cli.gotemplate.exec import Template
    from minirun.cli.gotemplate.lex import TemplateError

    try:
        return Template(text)
    except TemplateError as error:
        raise ClientError(f"template parsing error: {error}", exit_code=64) from None


def _print_through(template: Template, found: list[dict], failures: list[str]) -> None:
    from minirun.cli.gotemplate.lex import TemplateError
    from minirun.cli.gotemplate.shape import shaped

    lines = []
    for description in found:
        try:
            lines.append(template.execute(shaped(description)) + "\n")
        except TemplateError as error:
            failures.append(f"template parsing error: {error}")
    sys.stdout.write("".join(lines) or "\n")  # when there is nothing to print Docker prints an empty line


FORMAT = Option("format", STRING, "Format the output using the given Go template", short="f")
VERBS = {
    "inspect": Verb(
        "inspect",
        "Return low-level information on Docker objects",
        "[OPTIONS] NAME|ID [NAME|ID...]",
        inspect,
        takes=("objects+",),
        options=(
            FORMAT,
            Option("size", BOOL, "Display total file sizes if the type is container", short="s"),
            Option("type", STRING, "Return JSON for specified type"),
        ),
    ),
    "container inspect": Verb(
        "container inspect",
        "Display detailed information on one or more containers",
        "[OPTIONS] CONTAINER [CONTAINER...]",
        inspect_container,
        takes=("objects+",),
        options=(FORMAT, Option("size", BOOL, "Display total file sizes", short="s")),
    ),
    "image inspect": Verb(
        "image inspect",
        "Display detailed information on one or more images",
        "[OPTIONS] IMAGE [IMAGE...]",
        inspect_image,
        takes=("objects+",),
        options=(FORMAT,),
    ),
}
