"""What `volume ls` and `volume prune` add to the filters of all lists (moby, volume/service/convert.go)."""

from __future__ import annotations

import re

from minirun.cli.filters.filter import Factory, Test, booleans, equal, labels, like, matcher, no_labels
from minirun.engine.daemon import Daemon
from minirun.engine.volume import volumes
from minirun.errors import NoSuchVolume


def listed(daemon: Daemon, conditions: list[tuple[str, str]]) -> list[dict]:
    """The volumes that `ls` shows. Errors: EngineError for an unknown name or value."""
    test = matcher(conditions, {**_LIST, "dangling": lambda values: _dangling(daemon, values)})
    return [volume for volume in _every(daemon) if test(volume)]


def unused(daemon: Daemon, conditions: list[tuple[str, str]]) -> list[dict]:
    """The volumes that `prune` removes. Errors: EngineError for an unknown name or value."""
    test, dangling = matcher(conditions, _PRUNE), _dangling(daemon, ["true"])
    return [volume for volume in _every(daemon) if dangling(volume) and test(volume)]


def _every(daemon: Daemon) -> list[dict]:
    """All volumes in Docker's order, in which "v9" comes before "v10"."""
    found = []
    for name in volumes.every(daemon):
        try:
            found.append(volumes.inspect(daemon, name))
        except NoSuchVolume:  # removed in this moment
            continue
    return sorted(
        found,
        key=lambda volume: [
            ("0", int(part)) if part.isdigit() else (part, 0) for part in re.findall(r"\d+|\D", volume["Name"])
        ],
    )


def _dangling(daemon: Daemon, values: list[str]) -> Test[dict]:
    """Volumes that no container uses; or all others."""
    wanted = booleans(values, f"Invalid filter 'dangling=[{' '.join(values)}]'")
    used = volumes.references(daemon)
    return lambda volume: (volume["Name"] not in used) in wanted


_labels: Factory[dict] = labels(lambda volume: volume["Labels"])
_LIST: dict[str, Factory[dict]] = {
    "driver": equal(lambda volume: volume["Driver"]),
    "label": _labels,
    "name": like(lambda volume: volume["Name"]),
}
_PRUNE: dict[str, Factory[dict]] = {"label": _labels, "label!": no_labels(lambda volume: volume["Labels"])}
