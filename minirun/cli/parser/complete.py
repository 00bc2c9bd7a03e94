"""Completion: containers by their state, images, networks, volumes, the values of a few options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minirun.cli.parser.grammar import Option, Verb
from minirun.engine.container import index
from minirun.engine.daemon import Daemon
from minirun.engine.volume import volumes
from minirun.errors import MinirunError
from minirun.network import predefined

if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.engine.daemon import Daemon

#: The states a container must be in for a verb to make sense of it.
STATES = {
    "start": ("created", "exited"),
    "stop": ("running", "paused", "restarting"),
    "kill": ("running", "paused"),
    "exec": ("running",),
    "wait": ("running", "paused", "restarting"),
    "restart": (),
    "rm": (),
    "logs": (),
    "inspect": (),
}
FILES = ("input", "output", "env-file", "label-file", "cidfile", "volume")
CHOICES = {
    "pull": ("missing", "never"),
    "attach": ("stdin", "stdout", "stderr"),
    "type": ("container", "image", "network", "volume"),
    "driver": ("bridge",),
    "signal": ("HUP", "INT", "KILL", "QUIT", "STOP", "TERM", "USR1", "USR2", "WINCH"),
}


def values(option: Option, incomplete: str, settings: dict) -> list[tuple[str, str]]:
    """Words for an option's value, as pairs of word and click's kind of completion ("plain", "file", "dir").

    Arguments: settings, click's values of the options before the verb.
    """
    if option.long == "only":
        begun, comma, last = incomplete.rpartition(",")
        return [(f"{begun}{comma}{topic}", "plain") for topic in option.kind.choices if topic.startswith(last)]
    if option.long in FILES:
        return [(incomplete, "file")]
    if option.long in ("root", "exec-root"):
        return [(incomplete, "dir")]
    words = list(CHOICES.get(option.long, ()))
    if option.long in ("network", "net"):
        words = _silently(lambda daemon: [name for name, _ in _networks(daemon)], settings)
    return [(word, "plain") for word in words if word.startswith(incomplete)]


def arguments(verb: Verb, given: list[str], incomplete: str, settings: dict) -> list[tuple[str, str, str]]:
    """Words for the next argument, as (word, kind of completion, what it is).

    Arguments: given, the arguments before it; settings, click's values of the options before the verb.
    """
    name = verb.name.rpartition(" ")[2]
    if name == "completion":
        return [(shell, "plain", "") for shell in ("bash", "zsh", "fish") if shell.startswith(incomplete)]
    if name == "import" and not given:
        return [(incomplete, "file", "")]
    glued = ""
    if name == "compare":
        given, incomplete, glued = _unbroken(given, incomplete)
    found = _silently(lambda daemon: _names(daemon, verb, name, given), settings)
    found = [(word.removeprefix(glued), told) for word, told in found if word.startswith(glued)]
    return [(word, "plain", told) for word, told in found if word.startswith(incomplete) and word not in given]


def _unbroken(given: list[str], incomplete: str) -> tuple[list[str], str, str]:
    """The words as they were typed: for bash "minirun:web" is three, and what is offered must begin after the colon.

    Returns: the words before, what the word begins with after its colon, and what stands before that.
    """
    if incomplete == ":" and given:
        return given[:-1], "", f"{given[-1]}:"
    if given[-1:] == [":"]:
        return given[:-2], incomplete, f"{given[-2]}:"
    return given, incomplete, ""


def _silently(look: Callable[[Daemon], list], settings: dict) -> list:
    """What is found in our directories."""
    daemon = Daemon(*((settings.get(word) or ("",))[-1] for word in ("root", "exec_root", "config_file")))
    try:
        return look(daemon)
    except (MinirunError, OSError):  # no rights, or nothing there: a shell that asks for words wants no error
        return []


def _names(daemon: Daemon, verb: Verb, name: str, given: list[str]) -> list[tuple[str, str]]:
    if verb.name.startswith("network "):
        return _of_network_verb(daemon, name, given)
    if verb.name.startswith("volume "):
        return _volumes(daemon) if name in ("inspect", "rm") else []
    if name == "compare":
        return [("host", "this machine"), ("pid:", "any process"), *_compared(daemon)]
    if name in ("run", "create", "exec") and given:
        return []  # from here on the words are the container's
    if name in ("run", "create", "rmi", "images", "tag", "history", "save") or verb.name == "image rm":
        return _images(daemon)
    found = _containers(daemon, STATES[name]) if name in STATES and not verb.name.startswith("image") else []
    if verb.name in ("inspect", "image inspect"):
        found += _images(daemon)
    return found


def _of_network_verb(daemon: Daemon, name: str, given: list[str]) -> list[tuple[str, str]]:
    """Networks; and for the second word of `connect` and `disconnect` containers."""
    if name in ("connect", "disconnect") and given:
        return _containers(daemon, ()) if len(given) == 1 else []
    found = _networks(daemon) if name in ("connect", "disconnect", "inspect", "rm") else []
    return [pair for pair in found if name != "rm" or not predefined.is_predefined(pair[0])]


def _networks(daemon: Daemon) -> list[tuple[str, str]]:

    return [(network.name, network.driver) for network in daemon.networks.every()]


def _volumes(daemon: Daemon) -> list[tuple[str, str]]:
    return [(name, "") for name in volumes.every(daemon)]


def _containers(daemon: Daemon, states: tuple[str, ...]) -> list[tuple[str, str]]:
    return [
        (container.name, container.record["ImageName"])
        for container, status in index.statuses(daemon)
        if not states or status.state in states
    ]


def _compared(daemon: Daemon) -> list[tuple[str, str]]:
    """The running containers of both engines, as `compare` wants them."""
    from minirun.lecture.compare import target

    docker = target.ask_docker("ps", "--format", "{{.Names}} {{.Image}}")
    theirs = [line.split(" ", 1) for line in docker.out.splitlines()] if docker.code == 0 else []
    return [
        *((f"minirun:{name}", image) for name, image in _containers(daemon, ("running",))),
        *((f"docker:{name}", image) for name, image in theirs),
    ]


def _images(daemon: Daemon) -> list[tuple[str, str]]:

    return [(name, "") for image in daemon.images.every() for name in _spellings(image.names)]


def _spellings(names: list[str]) -> list[str]:
    """Each name, and without ":latest" where it may be left out."""
    return [spelling for name in names for spelling in dict.fromkeys((name.removesuffix(":latest"), name))]
