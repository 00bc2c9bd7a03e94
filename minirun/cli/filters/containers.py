"""What `ps --filter` adds to the filters of all lists (moby, daemon/list.go)."""

from __future__ import annotations

from collections.abc import Callable

from minirun import timestamps
from minirun.cli.container import port
from minirun.cli.filters.filter import Factory, Test, equal, labels, like, matcher
from minirun.engine.container import index
from minirun.engine.container.container import Container, Status
from minirun.engine.daemon import Daemon
from minirun.errors import EngineError, MinirunError

#: What a test looks at.
Listed = tuple[Container, Status]

STATES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")


def containers(daemon: Daemon, conditions: list[tuple[str, str]]) -> Callable[[Container, Status], bool]:
    """A test for containers. Errors: EngineError for an unknown name or value."""
    factories: dict[str, Factory[Listed]] = {
        **_FACTORIES,
        "ancestor": lambda values: _ancestor(daemon, values),
        "before": lambda values: _created(daemon, values, before=True),
        "since": lambda values: _created(daemon, values, before=False),
    }
    test = matcher(conditions, factories)
    return lambda container, status: test((container, status))


def _state(values: list[str]) -> Test[Listed]:
    for value in values:
        if value not in STATES:
            raise EngineError(f"Invalid filter 'status={value}'", exit_code=1)
    return lambda listed: listed[1].state in values


def _exited(values: list[str]) -> Test[Listed]:
    for value in values:
        if not value.lstrip("-").isdigit():
            raise EngineError(f"Invalid filter 'exited={value}'", exit_code=1)
    codes = [int(value) for value in values]
    return lambda listed: listed[1].state == "exited" and listed[1].exit_code in codes


def _name(values: list[str]) -> Test[Listed]:
    by_name: Factory[Listed] = like(lambda listed: listed[0].record["Name"].removeprefix("/"))
    return by_name([value.removeprefix("/") for value in values])


def _ancestor(daemon: Daemon, values: list[str]) -> Test[Listed]:
    ids = set()
    for value in values:
        try:
            ids.add(daemon.images.find(value).id)
        except MinirunError:
            continue  # no image of that name: no container was made from it
    return lambda listed: listed[0].record["Image"] in ids


def _network(values: list[str]) -> Test[Listed]:
    def is_on(listed: Listed) -> bool:
        return any(
            value and (value == name or settings.get("NetworkID", "").startswith(value))
            for name, settings in listed[0].record["Networks"].items()
            for value in values
        )

    return is_on


def _volume(values: list[str]) -> Test[Listed]:
    return lambda listed: any(
        value in (point.get("Name") or point["Source"], point["Destination"])
        for point in listed[0].record.get("MountPoints") or []
        for value in values
    )


def _port(name: str) -> Factory[Listed]:
    def factory(values: list[str]) -> Test[Listed]:
        test = port.filtered(name, values)
        return lambda listed: test(*listed)

    return factory


def _created(daemon: Daemon, values: list[str], *, before: bool) -> Test[Listed]:
    limits = [timestamps.parse(index.find(daemon, value).record["Created"]) for value in values]

    def test(listed: Listed) -> bool:
        created = timestamps.parse(listed[0].record["Created"])
        return created < min(limits) if before else created > max(limits)

    return test


def _all(_values: list[str]) -> Test[Listed]:
    """A filter that Docker knows and that leaves nothing out here: `is-task` of Swarm, `isolation` of Windows."""
    return lambda _listed: True


_FACTORIES: dict[str, Factory[Listed]] = {
    "exited": _exited,
    "expose": _port("expose"),
    "health": equal(lambda _listed: "none"),
    "id": like(lambda listed: listed[0].id),
    "is-task": _all,
    "isolation": _all,
    "label": labels(lambda listed: listed[0].record["Config"].get("Labels")),
    "name": _name,
    "network": _network,
    "publish": _port("publish"),
    "status": _state,
    "volume": _volume,
}
