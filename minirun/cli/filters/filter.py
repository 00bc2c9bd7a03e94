"""`ps --filter`: what may be asked for, and how Docker compares it."""

from __future__ import annotations

import re

from minirun.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.engine.container.container import Container, Status

STATES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
NAMES = frozenset(
    (
        "ancestor",
        "before",
        "since",
        "exited",
        "expose",
        "health",
        "id",
        "is-task",
        "isolation",
        "label",
        "name",
        "network",
        "publish",
        "status",
        "volume",
    )
)


def containers(conditions: list[tuple[str, str]]) -> Callable[[Container, Status], bool]:
    """A test for containers: of several values for one name any must hold, of several names all.

    Arguments: conditions (list of (name, value)). Errors: EngineError for an unknown name or value.
    """
    wanted: dict[str, list[str]] = {}
    for name, value in conditions:
        if name not in NAMES:
            raise EngineError(f"Invalid filter '{name}'", exit_code=1)
        if name == "status" and value not in STATES or name == "exited" and not value.lstrip("-").isdigit():
            raise EngineError(f"Invalid filter '{name}={value}'", exit_code=1)
        wanted.setdefault(name, []).append(value)
    tests = [_TESTS[name](values) for name, values in wanted.items() if name in _TESTS]
    return lambda container, status: all(test(container, status) for test in tests)


def is_like(values: list[str]) -> Callable[[str], bool]:
    """Docker's Match: an equal text, or a regular expression found anywhere in it."""
    patterns = []
    for value in values:
        try:
            patterns.append(re.compile(value))
        except re.error:
            patterns.append(re.compile(re.escape(value)))
    return lambda text: any(pattern.search(text) for pattern in patterns)


def _state(values: list[str]) -> Callable:
    return lambda container, status: status.word in values


def _exited(values: list[str]) -> Callable:
    codes = [int(value) for value in values]
    return lambda container, status: status.word == "exited" and status.exit_code in codes


def _name(values: list[str]) -> Callable:
    like = is_like([value.removeprefix("/") if value.startswith("/") else value for value in values])
    return lambda container, status: like(container.record["Name"].removeprefix("/"))


def _id(values: list[str]) -> Callable:
    like = is_like(values)
    return lambda container, status: like(container.id)


def _label(values: list[str]) -> Callable:
    def has_all(container: Container, _status: Status) -> bool:
        labels = container.record["Config"].get("Labels") or {}
        pairs = [value.partition("=") for value in values]
        return all(name in labels and (not equals or labels[name] == value) for name, equals, value in pairs)

    return has_all


def _ancestor(values: list[str]) -> Callable:
    from minirun.engine import paths
    from minirun.errors import MinirunError
    from minirun.image.images import Images

    images = Images(f"{paths.data}/images")
    ids = set()
    for value in values:
        try:
            ids.add(images.find(value).id)
        except MinirunError:
            continue  # no image of that name: no container was made from it
    return lambda container, status: container.record["Image"] in ids


def _network(values: list[str]) -> Callable:
    def is_on(container: Container, _status: Status) -> bool:
        return any(
            value and (value == name or wish.get("NetworkID", "").startswith(value))
            for name, wish in container.record["Networks"].items()
            for value in values
        )

    return is_on


def _volume(values: list[str]) -> Callable:
    return lambda container, status: any(
        value in (point.get("Name") or point["Source"], point["Destination"])
        for point in container.record.get("MountPoints") or []
        for value in values
    )


def _port(name: str) -> Callable[[list[str]], Callable]:
    def test(values: list[str]) -> Callable:
        from minirun.cli.container import port

        return port.filtered(name, values)

    return test


def _created(values: list[str], *, before: bool) -> Callable:
    from minirun.engine import timestamps
    from minirun.engine.container import index

    limits = [timestamps.read(index.find(value).record["Created"]) for value in values]

    def fits(container: Container, _status: Status) -> bool:
        created = timestamps.read(container.record["Created"])
        return created < min(limits) if before else created > max(limits)

    return fits


_TESTS: dict[str, Callable[[list[str]], Callable[[object, object], bool]]] = {
    "status": _state,
    "exited": _exited,
    "name": _name,
    "id": _id,
    "label": _label,
    "ancestor": _ancestor,
    "network": _network,
    "volume": _volume,
    "expose": _port("expose"),
    "publish": _port("publish"),
    "health": lambda values: lambda container, status: "none" in values,
    "before": lambda values: _created(values, before=True),
    "since": lambda values: _created(values, before=False),
}
