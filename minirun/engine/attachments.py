"""Who is on a network: asked of what each running container has plugged in, since nobody keeps a list."""

from __future__ import annotations

from minirun.engine import finding, places, register, watch
from minirun.errors import MinirunError
from minirun.network import describe, networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirun.network.networks import Network


def find(word: str) -> Network:
    """The network with this name, id or beginning of an id. Errors: NoSuchNetwork."""
    return networks.find(places.data, places.run, word, places.settings())


def every() -> list[Network]:
    """All networks, by name."""
    return networks.every(places.data, places.run, places.settings())


def endpoints() -> Iterator[tuple[str, dict]]:
    """(container's id, endpoint) of all that is plugged in on this host."""
    for container_id in finding.ids(f"{places.run}/containers"):
        for endpoint in watch.endpoints_of(f"{places.run}/containers/{container_id}").values():
            yield container_id, endpoint


def endpoints_on(network: Network) -> list[tuple[str, dict]]:
    """(container's id, endpoint) of all that are on a network."""
    return [(owner, endpoint) for owner, endpoint in endpoints() if endpoint["NetworkID"] == network.id]


def used() -> set[str]:
    """The ids of the networks that somebody is on."""
    return {endpoint["NetworkID"] for _, endpoint in endpoints()}


def service_names(network: Network) -> set[str]:
    """The names of all that are on a network."""
    return {name for _, endpoint in endpoints_on(network) for name in endpoint["DNSNames"]}


def described(network: Network) -> dict:
    """A network as `docker network inspect` shows it."""
    return describe.network(network, [(_name_of(owner), endpoint) for owner, endpoint in endpoints_on(network)])


def _name_of(container_id: str) -> str:
    """A container's name; "" when it cannot be told, which hides no other."""
    try:
        return register.Container(container_id).name
    except MinirunError:
        return ""
