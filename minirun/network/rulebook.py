"""Firewall rules that belong to one endpoint: its published ports, its links.

They are written down before they are made, one file for each endpoint: <run>/networks/KEY/rules/ENDPOINT. So whoever
finds rules flushed can put them back, and whoever clears up after a crash can take them away, without knowing what they
are for. The caller of all of these is inside `firewall.writing`.
"""

from __future__ import annotations

import os

from minirun import store
from minirun.network import firewall
from minirun.network.firewall import Rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.network.firewall import Change


def path_of(directory: str, endpoint: dict) -> str:
    """Where the rules of an endpoint are written down. Arguments: directory (str), the network's volatile files."""
    return f"{directory}/rules/{endpoint['EndpointID']}"


def make(directory: str, endpoint: dict, changes: list[Change]) -> None:
    """Add rules to those of an endpoint: each is appended or inserted unless it is there.

    Errors: MinirunError; the rules are not there then, and not written down.
    """
    path = path_of(directory, endpoint)
    before = _read(path)
    store.make_directory(f"{directory}/rules")
    _write(path, before + changes)
    try:
        plan = firewall.read()
        for action, rule in changes:
            plan.ensure(action, rule)
        firewall.apply(plan.changes)
    except BaseException:
        _write(path, before)
        raise


def take_away(directory: str, endpoint: dict, changes: list[Change] | None = None) -> None:
    """Take away these rules of an endpoint, or all of them, in the order in which they were made."""
    path = path_of(directory, endpoint)
    before = _read(path)
    going = before if changes is None else changes
    if not going:
        return
    plan = firewall.read()
    for _, rule in going:
        plan.ensure_gone(rule)
    firewall.apply(plan.changes)
    gone = {(rule.table, rule.chain, rule.words) for _, rule in going}
    _write(path, [(action, rule) for action, rule in before if (rule.table, rule.chain, rule.words) not in gone])


def every(run: str) -> list[Change]:
    """The rules of all endpoints, oldest endpoint first."""
    paths = []
    for key in store.names(f"{run}/networks"):
        paths += [f"{run}/networks/{key}/rules/{name}" for name in store.names(f"{run}/networks/{key}/rules")]
    paths.sort(key=lambda path: os.stat(path).st_mtime_ns)
    return [change for path in paths for change in _read(path)]


def _read(path: str) -> list[Change]:
    try:
        lines = store.read(path)
    except FileNotFoundError:
        return []
    return [(action, Rule(table, chain, words)) for action, table, chain, words in lines]


def _write(path: str, changes: list[Change]) -> None:
    if changes:
        store.write(path, [[action, rule.table, rule.chain, " ".join(rule.words)] for action, rule in changes])
    else:
        store.discard(path)
