"""Who is on a network: asked of what each running container has plugged in, since nobody keeps a list."""

from __future__ import annotations

from minirun import store
from minirun.engine.container.container import Container
from minirun.engine.shim import run_state
from minirun.errors import MinirunError
from minirun.network import inspect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirun.engine.daemon import Daemon
    from minirun.network.network import Network


def endpoints(daemon: Daemon) -> Iterator[tuple[str, dict]]:
    """(container's id, endpoint) of all that is plugged in on this host."""
    for container_id in store.names(f"{daemon.exec_root}/containers"):
        for endpoint in run_state.endpoints_of(f"{daemon.exec_root}/containers/{container_id}").values():
            yield container_id, endpoint


def endpoints_on(daemon: Daemon, network: Network) -> list[tuple[str, dict]]:
    """(container's id, endpoint) of all that are on a network."""
    return [(owner, endpoint) for owner, endpoint in endpoints(daemon) if endpoint["NetworkID"] == network.id]


def used(daemon: Daemon) -> set[str]:
    """The ids of the networks that somebody is on."""
    return {endpoint["NetworkID"] for _, endpoint in endpoints(daemon)}


def service_names(daemon: Daemon, network: Network) -> set[str]:
    """The names of all that are on a network."""
    return {name for _, endpoint in endpoints_on(daemon, network) for name in endpoint["DNSNames"]}


def described(daemon: Daemon, network: Network) -> dict:
    """A network as `docker network inspect` shows it."""
    return inspect.network(
        network, [(_name_of(daemon, owner), endpoint) for owner, endpoint in endpoints_on(daemon, network)]
    )


def _name_of(daemon: Daemon, container_id: str) -> str:
    """A container's name; "" when it cannot be told, which hides no other."""
    try:
        return Container(daemon, container_id).name
    except MinirunError:
        return ""
