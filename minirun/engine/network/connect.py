"""`network connect` and `network disconnect`: a container joins one more network, or leaves one.

For a running container the command changes the kernel itself, and then notifies the shim; for any other the endpoint
settings are stored, and the next start applies them. The rules for the default route, /etc/hosts and /etc/resolv.conf
are Docker's: each change decides anew which network has the default route, and a container that has once used the
embedded DNS server keeps it.
"""

from __future__ import annotations

from minirun.engine.container.reconcile import reconciled_status
from minirun.engine.network import dns_service, endpoint_config, endpoints, sandbox, sandbox_store, shared_netns
from minirun.engine.shim import protocol
from minirun.engine.spec import etc_files
from minirun.errors import EngineError, KernelError, NoSuchNetwork
from minirun.light import TYPE_CHECKING
from minirun.network import predefined
from minirun.network.bridge import endpoint as bridge_endpoint
from minirun.trace import step

if TYPE_CHECKING:
    from minirun import store
    from minirun.engine.container.container import Container
    from minirun.network.network import Network


class _Exited(Exception):
    """The container has exited in the meantime: the endpoint settings are stored for its next start."""


# ---- connect ----------------------------------------------------------------------------------------------------


def connect(container: Container, word: str, settings: dict) -> None:
    """Connect a container with a network.

    A container that does not run may be connected with a network that does not exist yet.
    Arguments: word, the network's name or id; settings, the endpoint settings (see `endpoint_config`).
    Errors: EngineError, as Docker's.
    """
    with container.lock():
        runs = reconciled_status(container).state == "running"
        network = _find(container, word, needed=runs)
        if container.record["HostConfig"]["NetworkMode"].startswith(shared_netns.MODE):
            raise EngineError(endpoint_config.CONFLICT_SHARED)
        if network:
            endpoint_config.add_default_aliases(container.record, network.name, settings)
            if network.has_bridge:
                bridge_endpoint.check_requested_addresses(network, settings["IPAMConfig"] or {})
            endpoint_config.check_other_networks(container.record, network)
        if network and runs:
            try:
                _join(container, network, settings)
            except _Exited:
                runs = False
        with container.edit() as record:
            record["Networks"].setdefault(network.name if network else word, settings)
    if runs:
        notify_shim(container)


def _find(container: Container, word: str, *, needed: bool) -> Network | None:
    try:
        network = container.daemon.networks.find(word)
    except NoSuchNetwork:
        if needed:
            raise
        return None
    if needed:
        container.daemon.networks.ensure(network)
    return network


def _join(container: Container, network: Network, settings: dict) -> None:
    """Join a running container to a network. Errors: _Exited; EngineError, KernelError: nothing is left then."""
    with _locked(container), step(f"connect the container with {network.name}"):
        stored = sandbox_store.read(container.run_directory)
        if network.name in stored["Endpoints"]:
            raise EngineError(f"endpoint with name {container.name} already exists in network {network.name}")
        sandbox_store.write(container.run_directory, {**stored, "Pending": True})
        try:
            endpoint = sandbox.create_endpoint(container, network, settings)
        except BaseException:
            sandbox_store.write(container.run_directory, stored)
            raise
        sandbox_store.assign_interface(stored, endpoint)
        stored["Endpoints"][network.name] = endpoint
        sandbox_store.write(container.run_directory, stored)
        moved = False
        try:
            pid = container.init_pid()
            if endpoint["IPAddress"]:
                bridge_endpoint.join(network, endpoint, pid, default_route=False)
                sandbox_store.write(container.run_directory, stored)  # the kernel may have chosen another ifindex
                before = [one for one in sandbox_store.gateway_order(stored) if one is not endpoint][:1]
                moved = sandbox_store.gateway_order(stored)[:1] == [endpoint]
                _move_gateway(container, stored, pid, before)
                etc_files.add_own_entries(container, endpoint)
            if predefined.is_user_defined(network.name) and not stored["Resolver"]:
                stored["Resolver"] = dns_service.resolver_config(container)  # the shim starts it
                sandbox_store.write(container.run_directory, stored)
                etc_files.use_embedded_dns(container)
        except BaseException as error:
            _roll_back(container, stored, network.name, moved)
            if isinstance(error, KernelError) and not container.init_pid():
                raise _Exited from None
            raise


def _locked(container: Container) -> store.lock:
    try:
        return sandbox_store.lock(container.run_directory).acquire()
    except FileNotFoundError:
        raise _Exited from None


def _move_gateway(container: Container, stored: dict, pid: int, before: list[dict]) -> None:
    """Move the default route, and the published ports with it, to the endpoint that is first in `gateway_order` now.

    Arguments: stored, the sandbox; before, a list of the endpoint that has had the default route, [] for none.
    """
    now = sandbox_store.gateway_order(stored)[:1]
    if now != before:
        bridge_endpoint.set_default_route(pid, now[0] if now else None)
        if endpoint_config.publishes_ports(container.record):
            from minirun.engine.network import port_bindings

            port_bindings.move(container, stored, before[0] if before else None)


def _roll_back(container: Container, stored: dict, name: str, moved: bool) -> None:
    """Undo a failed connect. Arguments: moved (bool), whether the new endpoint already had the default route."""
    endpoint = stored["Endpoints"].pop(name)
    if endpoint["IPAddress"]:
        bridge_endpoint.disconnect(container.daemon.exec_root, endpoint, unplug=True)
        pid = container.init_pid()
        if pid and moved:
            _move_gateway(container, stored, pid, before=[endpoint])
    sandbox_store.write(container.run_directory, stored)


# ---- disconnect -------------------------------------------------------------------------------------------------


def disconnect(container: Container, word: str, *, force: bool = False) -> None:
    """Disconnect a container from a network.

    Arguments: word, the network's name or id; force (bool), also from a network that does not exist any more.
    Errors: EngineError, as Docker's, when it is not connected.
    """
    with container.lock():
        runs = reconciled_status(container).state == "running"
        network = _find(container, word, needed=False)
        name = network.name if network else word
        if runs and network is None and not force:
            raise NoSuchNetwork(word)
        if runs and network:
            if network.driver == "host" and container.record["HostConfig"]["NetworkMode"] == "host":
                raise EngineError(endpoint_config.CONFLICT_HOST)
            try:
                _leave(container, network)
            except _Exited:
                runs = False
        elif name not in container.record["Networks"]:
            raise EngineError(f"container {container.id} is not connected to the network {name}")
        with container.edit() as record:
            record["Networks"].pop(name, None)
    if runs:
        notify_shim(container)


def _leave(container: Container, network: Network) -> None:
    """Have a running container leave a network. Errors: _Exited; EngineError when it is not connected."""
    with _locked(container), step(f"disconnect the container from {network.name}"):
        stored = sandbox_store.read(container.run_directory)
        if network.name not in stored["Endpoints"]:
            raise EngineError(f"container {container.id} is not connected to network {network.name}")
        before = sandbox_store.gateway_order(stored)[:1]
        # Docker removes the lines of /etc/hosts whose name the network's DNS records have. The container's own name is
        # excepted, its short id is not; so these are all of its own lines, but none on the default bridge.
        names = {
            name for name in endpoints.dns_names(container.daemon, network) if name.partition(".")[0] != container.name
        }
        endpoint = stored["Endpoints"].pop(network.name)
        if endpoint["IPAddress"]:
            bridge_endpoint.disconnect(container.daemon.exec_root, endpoint, unplug=True)
            pid = container.init_pid()
            if pid:
                _move_gateway(container, stored, pid, before)
            others = [one for one in stored["Endpoints"].values() if one["GlobalIPv6Address"]]
            if pid and endpoint["GlobalIPv6Address"] and not others:
                bridge_endpoint.disable_ipv6_on_loopback(pid)
            etc_files.remove_entries(container, names)
        sandbox_store.write(container.run_directory, stored)


# ---- the shim ---------------------------------------------------------------------------------------------------


def notify_shim(container: Container) -> None:
    """Have a container's shim adapt its services to cable.json, and wait until it has done so.

    Errors: EngineError when it could not, with the reason.
    """
    try:
        sock = protocol.connect(container.run_directory, 0)
        sock.send(protocol.NETWORKS)
        answer = b" "
        while answer and answer[:1] not in (protocol.NETWORKS, protocol.EXIT):
            answer = sock.recv(protocol.BLOCK + 1)
    except OSError:  # the container has exited in the meantime
        return
    if answer[:1] == protocol.NETWORKS and answer[1:]:
        raise EngineError(answer[1:].decode("utf-8", "replace"))
