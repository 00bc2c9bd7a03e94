"""`network ls --filter` and `network prune --filter`: what may be asked for, and how Docker compares it."""

from __future__ import annotations

from minirun.cli.filters.filter import is_like
from minirun.engine.network import endpoints
from minirun.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.network.network import Network

    Test = Callable[[Network], bool]

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def listed(conditions: list[tuple[str, str]]) -> list[Network]:
    """The networks that `ls` shows: of several values for one name any must hold, of several names all.

    Errors: EngineError for an unknown name or value.
    """
    wanted = _gathered(conditions, ("dangling", "driver", "id", "label", "name", "scope", "type"))
    tests = [_TESTS[name](values) for name, values in wanted.items()]
    return [network for network in endpoints.every() if all(test(network) for test in tests)]


def unused(conditions: list[tuple[str, str]]) -> list[Network]:
    """The networks that `prune` removes. Errors: EngineError for an unknown name or value."""
    wanted = _gathered(conditions, ("label", "label!", "until"))
    tests = [_TESTS[name](values) for name, values in wanted.items()]
    used = endpoints.used()
    return [
        network
        for network in endpoints.every()
        if not network.is_predefined and network.id not in used and all(test(network) for test in tests)
    ]


def _gathered(conditions: list[tuple[str, str]], known: tuple[str, ...]) -> dict[str, list[str]]:
    wanted: dict[str, list[str]] = {}
    for name, value in conditions:
        if name not in known:
            raise EngineError(f"Invalid filter '{name}'", exit_code=1)
        wanted.setdefault(name, []).append(value)
    return wanted


def _dangling(values: list[str]) -> Test:
    """Networks of the user's that nobody is on; or all others."""
    if any(value not in _TRUTHS for value in values):
        raise EngineError(
            'invalid value for filter \'dangling\', must be "true" (or "1"), or "false" (or "0")', exit_code=1
        )
    wanted, used = {_TRUTHS[value] for value in values}, endpoints.used()
    return lambda network: (not network.is_predefined and network.id not in used) in wanted


def _type(values: list[str]) -> Test:
    for value in values:
        if value not in ("custom", "builtin"):
            raise EngineError(f"invalid filter: 'type'='{value}'", exit_code=1)
    return lambda network: ("builtin" if network.is_predefined else "custom") in values


def _has_labels(values: list[str]) -> Test:
    pairs = [value.partition("=") for value in values]

    def has_all(network: Network) -> bool:
        labels = network.record["Labels"] or {}
        return all(name in labels and (not equals or labels[name] == value) for name, equals, value in pairs)

    return has_all


def _lacks_labels(values: list[str]) -> Test:
    tests = [_has_labels([value]) for value in values]
    return lambda network: not any(test(network) for test in tests)


def _until(values: list[str]) -> Test:
    import time

    from minirun.engine import timestamps

    if len(values) > 1:
        raise EngineError("more than one until filter specified", exit_code=1)
    try:
        limit = timestamps.wished(values[0], time.time_ns())
    except ValueError:
        raise EngineError(f'failed to parse value as time or duration: "{values[0]}"', exit_code=1) from None
    return lambda network: timestamps.read(network.record["Created"]) < limit


def _text(values: list[str], read: Callable[[Network], str]) -> Test:
    like = is_like(values)
    return lambda network: like(read(network))


_TESTS: dict[str, Callable[[list[str]], Test]] = {
    "dangling": _dangling,
    "type": _type,
    "label": _has_labels,
    "label!": _lacks_labels,
    "until": _until,
    "driver": lambda values: lambda network: network.driver in values,
    "scope": lambda values: lambda network: network.record["Scope"] in values,
    "name": lambda values: _text(values, lambda network: network.name),
    "id": lambda values: _text(values, lambda network: network.id),
}
