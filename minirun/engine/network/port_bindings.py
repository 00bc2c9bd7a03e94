"""Published ports as the engine sees them: what a container wishes, what it has, and who answers at the door.

The wishes are in its record (HostConfig.PortBindings, PublishAllPorts, Config.ExposedPorts), what it has is beside
what else is plugged in (`watch.ports_of`), and in front of all stands the proxy, a service of its monitor.
"""

from __future__ import annotations

from minirun.engine.network import sandbox
from minirun.engine.shim import run_state
from minirun.errors import EngineError, MinirunError
from minirun.kernel import process
from minirun.network.ports import portmapper
from minirun.network.ports.portmapper import PortBinding
from minirun.network.ports.proxy import Proxy

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Collection

    from minirun.engine.container.container import Container
    from minirun.engine.shim.relay import Relay


# ---- what is wished --------------------------------------------------------------------------------------------


def wishes(record: dict) -> list[PortBinding]:
    """The ports that a container publishes, in the order in which Docker makes them: the highest first, as a rule.

    The rule is a strange one (go-connections, SortPortMap): of two ports that one goes first whose port on the host is
    higher, *or* whose own port is higher, or that came later if it is TCP. So the outcome depends on how one sorts;
    Go sorts short lists by insertion, and so do we.
    """
    bindings = record["HostConfig"]["PortBindings"]
    found: list[tuple[str, PortBinding]] = []
    for word in sorted(record["Config"].get("ExposedPorts") or {}):
        for binding in bindings.get(word) or ([{}] if record["HostConfig"]["PublishAllPorts"] else []):
            entry = word, _wish(word, binding)
            place = len(found)
            while place and _before(entry[1], found[place - 1][1]):
                place -= 1
            found.insert(place, entry)
    return [wish for first in dict.fromkeys(word for word, _ in found) for word, wish in found if word == first]


def _before(one: PortBinding, other: PortBinding) -> bool:
    return one.first > other.first or one.port > other.port or one.port == other.port and one.proto == "tcp"


def _wish(word: str, binding: dict) -> PortBinding:
    port, _, proto = word.partition("/")
    first, _, last = (binding.get("HostPort") or "0").partition("-")
    return PortBinding(
        proto or "tcp", int(port), portmapper.canonical(binding.get("HostIp") or ""), int(first), int(last or 0)
    )


# ---- what is there ---------------------------------------------------------------------------------------------


def publish(container: Container, note: dict) -> Proxy:
    """Publish a container's ports on the network through which it has its way out. The caller is its monitor.

    Arguments: note, what is plugged in (see `cable`). Returns: the proxy, with all ports open.
    Errors: EngineError as Docker's; nothing is left then.
    """
    mappings, sockets = _publish(container, note, ())
    proxy = Proxy()
    for mapping, sock in zip(mappings, sockets, strict=True):
        proxy.open(sock.detach(), mapping)
    return proxy


def move(container: Container, note: dict, before: dict | None) -> None:
    """Let a running container's ports go to the network through which it has its way out now, or to none.

    The caller has the container's queue, and has the monitor look afterwards.
    Arguments: note, what is plugged in; before, the endpoint that had the way out until now.
    Errors: EngineError as Docker's; nothing is published then.
    """
    had, note["Ports"] = note["Ports"], None
    sandbox.write(container, note)
    portmapper.unpublish(container.daemon.exec_root, container.id, had, before)
    _mappings, sockets = _publish(container, note, {portmapper.key(mapping) for mapping in had or ()})
    for sock in sockets:
        sock.close()  # it has shown that the port is free; the monitor takes it now


def _publish(container: Container, note: dict, held: Collection[tuple]) -> tuple[list[dict], list[_socket.socket]]:
    """Publish, and note it. Arguments: held, see `ports.publish`."""
    note["Ports"] = None  # what there is, is found by its owner
    sandbox.write(container, note)
    process.raise_open_files_limit()  # a port takes two, and each connection through the proxy two more
    mappings: list[dict] = []
    sockets: list[_socket.socket] = []
    try:
        for endpoint in filter(run_state.leads_out, sandbox.ways_out(note)[:1]):
            network = container.daemon.networks.find(endpoint["NetworkID"])
            mappings, sockets = portmapper.publish(
                network, endpoint, wishes(container.record), container.daemon.settings, held
            )
    except MinirunError as error:
        raise _failure(container, endpoint, error) from None
    finally:
        note["Ports"] = mappings
        sandbox.write(container, note)
    return mappings, sockets


def _failure(container: Container, endpoint: dict, error: MinirunError) -> EngineError:
    return EngineError(
        f"driver failed programming external connectivity on endpoint {container.name} "
        f"({endpoint['EndpointID']}): {error.message}",
        hint=error.hint,
    )


def follow(relay: Relay, run_directory: str) -> None:
    """In the monitor: what is published has changed; serve what is noted now. Errors: EngineError."""
    mappings = run_state.ports_of(run_directory) or []
    proxy = next((service for service in relay.services if isinstance(service, Proxy)), None)
    if proxy is None and mappings:
        proxy = Proxy()
        relay.services.append(proxy)
    if proxy is not None:
        try:
            proxy.update(mappings)
        finally:
            if not proxy.listeners:
                relay.services.remove(proxy)
