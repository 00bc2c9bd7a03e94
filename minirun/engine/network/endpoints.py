"""The endpoints on this host and on a network: read from the cable.json of every running container."""

from __future__ import annotations

from minirun import store
from minirun.engine.container.container import Container
from minirun.engine.network import sandbox_store
from minirun.errors import MinirunError
from minirun.light import TYPE_CHECKING
from minirun.network import inspect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirun.engine.daemon import Daemon
    from minirun.network.network import Network


def endpoints(daemon: Daemon) -> Iterator[tuple[str, dict]]:
    """All endpoints on this host, as (container's id, endpoint)."""
    for container_id in store.names(f"{daemon.exec_root}/containers"):
        for endpoint in sandbox_store.endpoints(f"{daemon.exec_root}/containers/{container_id}").values():
            yield container_id, endpoint


def endpoints_on(daemon: Daemon, network: Network) -> list[tuple[str, dict]]:
    """The endpoints on a network, as (container's id, endpoint)."""
    return [(owner, endpoint) for owner, endpoint in endpoints(daemon) if endpoint["NetworkID"] == network.id]


def networks_in_use(daemon: Daemon) -> set[str]:
    """The ids of the networks that have endpoints."""
    return {endpoint["NetworkID"] for _, endpoint in endpoints(daemon)}


def dns_names(daemon: Daemon, network: Network) -> set[str]:
    """The DNS names of all endpoints on a network."""
    return {name for _, endpoint in endpoints_on(daemon, network) for name in endpoint["DNSNames"]}


def inspect_network(daemon: Daemon, network: Network) -> dict:
    """A network as `docker network inspect` shows it."""
    return inspect.network(
        network, [(_name_of(daemon, owner), endpoint) for owner, endpoint in endpoints_on(daemon, network)]
    )


def _name_of(daemon: Daemon, container_id: str) -> str:
    """A container's name; "" when it cannot be read: the other containers are to be shown all the same."""
    try:
        return Container(daemon, container_id).name
    except MinirunError:
        return ""
