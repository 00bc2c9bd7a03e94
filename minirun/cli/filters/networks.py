"""What `network ls` and `network prune` add to the filters of all lists (moby, daemon/network/filter.go)."""

from __future__ import annotations

from minirun import timestamps
from minirun.cli.filters.filter import Factory, Test, booleans, equal, labels, like, matcher, moment, no_labels
from minirun.engine.daemon import Daemon
from minirun.engine.network import endpoints
from minirun.errors import EngineError
from minirun.network.network import Network


def listed(daemon: Daemon, conditions: list[tuple[str, str]]) -> list[Network]:
    """The networks that `ls` shows. Errors: EngineError for an unknown name or value."""
    test = matcher(conditions, {**_LIST, "dangling": lambda values: _dangling(daemon, values)})
    return [network for network in daemon.networks.every() if test(network)]


def unused(daemon: Daemon, conditions: list[tuple[str, str]]) -> list[Network]:
    """The networks that `prune` removes. Errors: EngineError for an unknown name or value."""
    test, used = matcher(conditions, _PRUNE), endpoints.networks_in_use(daemon)
    return [
        network
        for network in daemon.networks.every()
        if not network.is_predefined and network.id not in used and test(network)
    ]


def _dangling(daemon: Daemon, values: list[str]) -> Test[Network]:
    """Networks of the user's without an endpoint; or all others."""
    refusal = 'invalid value for filter \'dangling\', must be "true" (or "1"), or "false" (or "0")'
    wanted, used = booleans(values, refusal), endpoints.networks_in_use(daemon)
    return lambda network: (not network.is_predefined and network.id not in used) in wanted


def _type(values: list[str]) -> Test[Network]:
    for value in values:
        if value not in ("custom", "builtin"):
            raise EngineError(f"invalid filter: 'type'='{value}'", exit_code=1)
    return lambda network: ("builtin" if network.is_predefined else "custom") in values


def _until(values: list[str]) -> Test[Network]:
    if len(values) > 1:
        raise EngineError("more than one until filter specified", exit_code=1)
    limit = moment(values[0])
    return lambda network: timestamps.parse(network.record["Created"]) < limit


_labels: Factory[Network] = labels(lambda network: network.record["Labels"])
_LIST: dict[str, Factory[Network]] = {
    "driver": equal(lambda network: network.driver),
    "id": like(lambda network: network.id),
    "label": _labels,
    "name": like(lambda network: network.name),
    "scope": equal(lambda network: network.record["Scope"]),
    "type": _type,
}
_PRUNE: dict[str, Factory[Network]] = {
    "label": _labels,
    "label!": no_labels(lambda network: network.record["Labels"]),
    "until": _until,
}
