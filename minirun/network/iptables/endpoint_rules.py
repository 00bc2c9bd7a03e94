"""The firewall rules of one endpoint: its published ports, its legacy links.

They are saved before they are made, one file for each endpoint: <run>/networks/KEY/rules/ENDPOINT. So they can be
restored after the rules were flushed, and deleted after a crash, without knowing what they are for. The caller of the
functions that change something is inside `apply.writing`; its `.known` says that no other program has changed the
rules, so they need not be listed before.
"""

from __future__ import annotations

from minirun import store
from minirun.light import TYPE_CHECKING, os
from minirun.network.iptables import apply
from minirun.network.iptables.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from minirun.network.iptables.rule import Change


def path_of(directory: str, endpoint: dict) -> str:
    """The file with the rules of an endpoint. Arguments: directory (str), the network's volatile files."""
    return f"{directory}/rules/{endpoint['EndpointID']}"


def paths_in(directory: str) -> list[str]:
    """All such files of a network, without the temporary ones of a write that was killed (see `store.write`)."""
    return [f"{directory}/rules/{name}" for name in store.names(f"{directory}/rules") if "." not in name]


def add(directory: str, endpoint: dict, changes: list[Change], *, known: bool = False) -> None:
    """Add rules to those of an endpoint: each is appended or inserted unless it is there.

    Arguments: known (bool), see `apply.writing`. Errors: MinirunError; the rules are neither made nor saved then.
    """
    path, owner = path_of(directory, endpoint), endpoint["ContainerID"]
    _, before = read(path)
    store.make_directory(f"{directory}/rules")
    _write(path, owner, before + changes)
    try:
        apply.apply(changes if known else _missing(changes))
    except BaseException:
        _write(path, owner, before)
        raise


def _missing(changes: list[Change]) -> list[Change]:
    plan = apply.read()
    for action, rule in changes:
        plan.ensure(action, rule)
    return plan.changes


def remove(directory: str, endpoint: dict, changes: list[Change] | None = None, *, known: bool = False) -> None:
    """Delete rules of an endpoint in the order in which they were made: these, as far as it has them, or all."""
    remove_from(path_of(directory, endpoint), changes, known=known)


def remove_from(path: str, changes: list[Change] | None = None, *, known: bool = False) -> None:
    """The same, by the endpoint's file with its rules."""
    owner, before = read(path)
    named = None if changes is None else {str(rule) for _, rule in changes}
    removed = [change for change in before if named is None or str(change[1]) in named]
    if not removed:
        return
    apply.apply([("-D", rule) for _, rule in removed] if known else _present(rule for _, rule in removed))
    _write(path, owner, [change for change in before if change not in removed])


def _present(rules: Iterable[Rule]) -> list[Change]:
    plan = apply.read()
    for rule in rules:
        plan.ensure_gone(rule)
    return plan.changes


def every(run: str) -> list[Change]:
    """The rules of all endpoints, oldest endpoint first."""
    paths = [path for key in store.names(f"{run}/networks") for path in paths_in(f"{run}/networks/{key}")]
    return [change for path in sorted(paths, key=_age) for change in read(path)[1]]


def _age(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:  # deleted in the meantime
        return 0


def read(path: str) -> tuple[str, list[Change]]:
    """(container ID, rules) of such a file; ("", []) when it is not there."""
    try:
        saved = store.read(path)
    except FileNotFoundError:
        return "", []
    return saved["Owner"], [(action, Rule(table, chain, words)) for action, table, chain, words in saved["Rules"]]


def _write(path: str, owner: str, changes: list[Change]) -> None:
    if changes:
        store.write(
            path,
            {
                "Owner": owner,
                "Rules": [[action, rule.table, rule.chain, " ".join(rule.words)] for action, rule in changes],
            },
        )
    else:
        store.discard(path)
