"""Published ports: from HostConfig.PortBindings to port mappings on the host, and the userland proxy that serves them.

What a container asks for is in its configuration (HostConfig.PortBindings, PublishAllPorts, Config.ExposedPorts), what
it has been given is "Ports" of its cable.json (see `sandbox_store`), and the proxy is a service of its shim.
"""

from __future__ import annotations

from minirun.engine.network import sandbox_store
from minirun.errors import EngineError, MinirunError
from minirun.kernel import process
from minirun.light import TYPE_CHECKING, socket
from minirun.network.ports import portmapper
from minirun.network.ports.portmapper import PortBinding
from minirun.network.ports.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Collection

    from minirun.engine.container.container import Container
    from minirun.engine.shim.relay import Relay


# ---- requested -------------------------------------------------------------------------------------------------


def requested(record: dict) -> list[PortBinding]:
    """The ports that a container publishes, in the order in which Docker maps them: usually the highest first.

    The order is that of go-connections, SortPortMap: of two ports, the one goes first whose host port is higher, *or*
    whose container port is higher, or, if that is equal, that is TCP. That is no strict order, so the result depends on
    the algorithm: Go sorts short lists by insertion, and so does this.
    """
    bindings = record["HostConfig"]["PortBindings"]
    found: list[tuple[str, PortBinding]] = []
    for word in sorted(record["Config"].get("ExposedPorts") or {}):
        for binding in bindings.get(word) or ([{}] if record["HostConfig"]["PublishAllPorts"] else []):
            entry = word, _binding(word, binding)
            place = len(found)
            while place and _before(entry[1], found[place - 1][1]):
                place -= 1
            found.insert(place, entry)
    return [binding for first in dict.fromkeys(word for word, _ in found) for word, binding in found if word == first]


def _before(one: PortBinding, other: PortBinding) -> bool:
    return one.first > other.first or one.port > other.port or one.port == other.port and one.proto == "tcp"


def _binding(word: str, binding: dict) -> PortBinding:
    port, _, proto = word.partition("/")
    first, _, last = (binding.get("HostPort") or "0").partition("-")
    return PortBinding(
        proto or "tcp", int(port), portmapper.canonical(binding.get("HostIp") or ""), int(first), int(last or 0)
    )


# ---- mapped ----------------------------------------------------------------------------------------------------


def publish(container: Container, sandbox: dict) -> Proxy:
    """Publish a container's ports on the endpoint that has its default route. The caller is its shim.

    Arguments: sandbox, the cable.json, whose "Ports" is set and written. Returns: the proxy, with all ports bound.
    Errors: EngineError, as Docker's; nothing is left then.
    """
    mappings, sockets = _publish(container, sandbox, ())
    proxy = Proxy()
    for mapping, sock in zip(mappings, sockets, strict=True):
        proxy.open(sock.detach(), mapping)
    return proxy


def move(container: Container, sandbox: dict, before: dict | None) -> None:
    """Move a running container's published ports to the endpoint that has the default route now.

    The caller holds the container's lock, and notifies the shim afterwards.
    Arguments: sandbox, the cable.json; before, the endpoint that has had the default route, or None.
    Errors: EngineError, as Docker's; nothing is published then.
    """
    had, sandbox["Ports"] = sandbox["Ports"], None
    sandbox_store.write(container.run_directory, sandbox)
    portmapper.unpublish(container.daemon.exec_root, container.id, had, before)
    _mappings, sockets = _publish(container, sandbox, {portmapper.key(mapping) for mapping in had or ()})
    for sock in sockets:
        sock.close()  # it was bound to show that the port is free; the shim binds it now


def _publish(container: Container, sandbox: dict, held: Collection[tuple]) -> tuple[list[dict], list[socket.socket]]:
    """Map the ports, and write them into cable.json. Arguments: held, see `portmapper.publish`."""
    sandbox["Ports"] = None  # until they are stored, mappings are found by their owner
    sandbox_store.write(container.run_directory, sandbox)
    process.raise_open_files_limit()  # two for each port, and two more for each connection through the proxy
    mappings: list[dict] = []
    sockets: list[socket.socket] = []
    try:
        for endpoint in filter(sandbox_store.has_external_access, sandbox_store.gateway_order(sandbox)[:1]):
            network = container.daemon.networks.find(endpoint["NetworkID"])
            mappings, sockets = portmapper.publish(
                network, endpoint, requested(container.record), container.daemon.settings, held
            )
    except MinirunError as error:
        raise _failure(container, endpoint, error) from None
    finally:
        sandbox["Ports"] = mappings
        sandbox_store.write(container.run_directory, sandbox)
    return mappings, sockets


def _failure(container: Container, endpoint: dict, error: MinirunError) -> EngineError:
    return EngineError(
        f"driver failed programming external connectivity on endpoint {container.name} "
        f"({endpoint['EndpointID']}): {error.message}",
        hint=error.hint,
    )


def update(relay: Relay, run_directory: str) -> None:
    """In the shim: have the proxy serve the ports that are in cable.json now. Errors: EngineError."""
    mappings = sandbox_store.read(run_directory)["Ports"] or []
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
