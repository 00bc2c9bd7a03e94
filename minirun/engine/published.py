"""Published ports as the engine sees them: what a container wishes, what it has, and who answers at the door.

The wishes are in its record (HostConfig.PortBindings, PublishAllPorts, Config.ExposedPorts), what it has is beside
what else is plugged in (`watch.ports_of`), and in front of all stands the proxy, a service of its monitor.
"""

from __future__ import annotations

from minirun.engine import places, watch
from minirun.errors import EngineError, MinirunError
from minirun.kernel import procfs, syscalls
from minirun.network import ports
from minirun.network.ports import Wish
from minirun.network.proxy import Proxy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.register import Container
    from minirun.engine.relay import Relay
    from minirun.network.networks import Network


# ---- what is wished --------------------------------------------------------------------------------------------

def wishes(record: dict) -> list[Wish]:
    """The ports that a container publishes, in the order in which Docker makes them: the highest first, as a rule.

    The rule is a strange one (go-connections, SortPortMap): of two ports that one goes first whose port on the host is
    higher, *or* whose own port is higher, or that came later if it is TCP. So the outcome depends on how one sorts;
    Go sorts short lists by insertion, and so do we.
    """
    bindings = record["HostConfig"]["PortBindings"]
    found: list[tuple[str, Wish]] = []
    for word in sorted(record["Config"].get("ExposedPorts") or {}):
        for binding in bindings.get(word) or ([{}] if record["HostConfig"]["PublishAllPorts"] else []):
            entry = word, _wish(word, binding)
            place = len(found)
            while place and _before(entry[1], found[place - 1][1]):
                place -= 1
            found.insert(place, entry)
    return [wish for first in dict.fromkeys(word for word, _ in found) for word, wish in found if word == first]


def _before(one: Wish, other: Wish) -> bool:
    return one.first > other.first or one.port > other.port or one.port == other.port and one.proto == "tcp"


def _wish(word: str, binding: dict) -> Wish:
    port, _, proto = word.partition("/")
    first, _, last = (binding.get("HostPort") or "0").partition("-")
    return Wish(proto or "tcp", int(port), ports.canonical(binding.get("HostIp") or ""), int(first), int(last or 0))


# ---- what is there ---------------------------------------------------------------------------------------------

def publish(container: Container, network: Network, endpoint: dict) -> tuple[list[dict], Proxy]:
    """Publish a container's ports on one of its networks. The caller is its monitor, and has noted that it will.

    Returns: the mappings, and the proxy, with all ports open. Errors: EngineError as Docker's; nothing is left then.
    """
    try:
        mappings, sockets = ports.publish(network, endpoint, wishes(container.record), places.settings())
    except MinirunError as error:
        raise _failure(container, endpoint, error) from None
    proxy = Proxy()
    for mapping, sock in zip(mappings, sockets, strict=True):
        proxy.open(sock.detach(), mapping)
    _have_room()
    return mappings, proxy


def _have_room() -> None:
    """Let this process open as many files as it may: each connection through the proxy takes two."""
    for line in procfs.read("/proc/self/limits").splitlines():
        if line.startswith("Max open files"):
            soft, hard = line.split()[3:5]
            if soft != hard and hard.isdigit():
                syscalls.prlimit("nofile", int(hard), int(hard))


def move(container: Container, before: dict | None, network: Network | None, endpoint: dict | None) -> list[dict]:
    """Let a running container's ports go from one of its networks to another, or to none.

    The caller has the container's queue; it notes what comes back, and then has the monitor look (`tell_monitor`).
    Arguments: before, the endpoint that had the default route until now; network and endpoint, those that have it now.
    Returns: the mappings. Errors: EngineError as Docker's; nothing is published then.
    """
    had = watch.ports_of(container.run_directory)
    if before is not None:
        ports.withdraw(places.run, before, had)
    listed = wishes(container.record)
    if network is None or endpoint is None or not listed:
        return []
    held = {ports.key(mapping) for mapping in had or []}
    try:
        mappings, sockets = ports.publish(network, endpoint, listed, places.settings(), held)
    except MinirunError as error:
        raise _failure(container, endpoint, error) from None
    for sock in sockets:
        sock.close()  # it has shown that the port is free; the monitor takes it now
    return mappings


def _failure(container: Container, endpoint: dict, error: MinirunError) -> EngineError:
    return EngineError(f"driver failed programming external connectivity on endpoint {container.name} "
                       f"({endpoint['EndpointID']}): {error.message}", hint=error.hint)


def follow(relay: Relay, run_directory: str) -> None:
    """In the monitor: what is published has changed; serve what is noted now. Errors: EngineError."""
    mappings = watch.ports_of(run_directory) or []
    proxy = next((service for service in relay.services if isinstance(service, Proxy)), None)
    if proxy is None and mappings:
        proxy = Proxy()
        relay.services.append(proxy)
    if proxy is not None:
        try:
            proxy.follow(mappings)
        finally:
            if not proxy.doors:
                relay.services.remove(proxy)
