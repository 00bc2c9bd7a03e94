"""`network connect` and `network disconnect`: one more cable for a container, or one less.

For one that runs the kernel is changed at once, by the command itself, and then its monitor is told; for another the
wish is written down, and the next start carries it out. What holds for the default route, for /etc/hosts and for
/etc/resolv.conf is Docker's: with each cable it is decided anew through which network the way out leads, and what once
asks the name service goes on asking it.
"""

from __future__ import annotations

from minirun.engine.container.reconcile import reconciled_status
from minirun.engine.network import dns_service, endpoint_config, endpoints, sandbox, shared_netns
from minirun.engine.shim import protocol, run_state
from minirun.engine.spec import etc_files
from minirun.errors import EngineError, KernelError, NoSuchNetwork
from minirun.network import predefined
from minirun.network.bridge import endpoint as bridge_endpoint
from minirun.trace import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun import store
    from minirun.engine.container.container import Container
    from minirun.network.network import Network


class _Ended(Exception):
    """The container has come to its end in this moment: what is left is the wish."""


# ---- connect ----------------------------------------------------------------------------------------------------


def connect(container: Container, word: str, wish: dict) -> None:
    """Put a container on one more network. Arguments: word, the network's name or id; wish, see `wishes`.

    A container that does not run may be put on a network that is not there yet. Errors: EngineError in Docker's words.
    """
    with container.lock():
        runs = reconciled_status(container).state == "running"
        network = _find(container, word, needed=runs)
        if container.record["HostConfig"]["NetworkMode"].startswith(shared_netns.MODE):
            raise EngineError(endpoint_config.CONFLICT_SHARED)
        if network:
            endpoint_config.complete(container.record, network.name, wish)
            if network.has_bridge:
                bridge_endpoint.check_requested_addresses(network, wish["IPAMConfig"] or {})
            endpoint_config.check_company(container.record, network)
        if network and runs:
            try:
                _plug(container, network, wish)
            except _Ended:
                runs = False
        with container.edit() as record:
            record["Networks"].setdefault(network.name if network else word, wish)
    if runs:
        tell_monitor(container)


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


def _plug(container: Container, network: Network, wish: dict) -> None:
    """Lay the cable into a running container. Errors: _Ended; EngineError, KernelError: nothing is left then."""
    with _plugging(container), step(f"connect the container with {network.name}"):
        note = run_state.cable_of(container.run_directory)
        if network.name in note["Endpoints"]:
            raise EngineError(f"endpoint with name {container.name} already exists in network {network.name}")
        sandbox.write(container, {**note, "Pending": True})
        try:
            endpoint = sandbox.reserve(container, network, wish)
        except BaseException:
            sandbox.write(container, note)
            raise
        sandbox.number(note, endpoint)
        note["Endpoints"][network.name] = endpoint
        sandbox.write(container, note)
        moved = False
        try:
            pid = shared_netns.pid_of(container)
            if endpoint["IPAddress"]:
                bridge_endpoint.join(network, endpoint, pid, default_route=False)
                sandbox.write(container, note)  # the kernel may have given the device another number
                before = [one for one in sandbox.ways_out(note) if one is not endpoint][:1]
                moved = sandbox.ways_out(note)[:1] == [endpoint]
                _move_way_out(container, note, pid, before)
                etc_files.add_own_lines(container, endpoint)
            if predefined.is_user_defined(network.name) and not note["Resolver"]:
                note["Resolver"] = dns_service.wish(container)  # its monitor starts it
                sandbox.write(container, note)
                etc_files.use_name_service(container)
        except BaseException as error:
            _withdraw(container, note, network.name, moved)
            if isinstance(error, KernelError) and not shared_netns.pid_of(container):
                raise _Ended from None
            raise


def _plugging(container: Container) -> store.lock:
    try:
        return run_state.plugging(container.run_directory).acquire()
    except FileNotFoundError:
        raise _Ended from None


def _move_way_out(container: Container, note: dict, pid: int, before: list[dict]) -> None:
    """Let the default route go through the network that is now the first, if it went through another before.

    What is published goes along.
    """
    now = sandbox.ways_out(note)[:1]
    if now != before:
        bridge_endpoint.set_default_route(pid, now[0] if now else None)
        if endpoint_config.publishes(container.record):
            from minirun.engine.network import port_bindings

            port_bindings.move(container, note, before[0] if before else None)


def _withdraw(container: Container, note: dict, name: str, moved: bool) -> None:
    """Give back what a failed connect has taken. Arguments: moved, whether the way out had gone there already."""
    endpoint = note["Endpoints"].pop(name)
    if endpoint["IPAddress"]:
        bridge_endpoint.disconnect(container.daemon.exec_root, endpoint, unplug=True)
        pid = shared_netns.pid_of(container)
        if pid and moved:
            _move_way_out(container, note, pid, before=[endpoint])
    sandbox.write(container, note)


# ---- disconnect -------------------------------------------------------------------------------------------------


def disconnect(container: Container, word: str, *, force: bool = False) -> None:
    """Take a container off a network. Arguments: force (bool), also off one that is not there any more.

    Errors: EngineError in Docker's words when it is not on it.
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
                _unplug(container, network)
            except _Ended:
                runs = False
        elif name not in container.record["Networks"]:
            raise EngineError(f"container {container.id} is not connected to the network {name}")
        with container.edit() as record:
            record["Networks"].pop(name, None)
    if runs:
        tell_monitor(container)


def _unplug(container: Container, network: Network) -> None:
    """Pull a cable out of a running container. Errors: _Ended; EngineError when there is none."""
    with _plugging(container), step(f"disconnect the container from {network.name}"):
        note = run_state.cable_of(container.run_directory)
        if network.name not in note["Endpoints"]:
            raise EngineError(f"container {container.id} is not connected to network {network.name}")
        before = sandbox.ways_out(note)[:1]
        # Docker takes those lines out that say no more than a name that is known on the network. The container's own
        # name is not counted, its short id is; so they are all its own lines, but on the default bridge none.
        names = {
            name
            for name in endpoints.service_names(container.daemon, network)
            if name.partition(".")[0] != container.name
        }
        endpoint = note["Endpoints"].pop(network.name)
        if endpoint["IPAddress"]:
            bridge_endpoint.disconnect(container.daemon.exec_root, endpoint, unplug=True)
            pid = shared_netns.pid_of(container)
            if pid:
                _move_way_out(container, note, pid, before)
            others = [one for one in note["Endpoints"].values() if one["GlobalIPv6Address"]]
            if pid and endpoint["GlobalIPv6Address"] and not others:
                bridge_endpoint.disable_ipv6_on_loopback(pid)
            etc_files.remove_lines(container, names)
        sandbox.write(container, note)


# ---- the monitor ------------------------------------------------------------------------------------------------


def tell_monitor(container: Container) -> None:
    """Tell a container's monitor that what is plugged in has changed, and wait until it has done what that asks for.

    Errors: EngineError with what it could not do.
    """
    try:
        sock = protocol.connect(container.run_directory, 0)
        sock.send(b"n")
        answer = b" "
        while answer and answer[:1] not in b"nx":
            answer = sock.recv(protocol.BLOCK + 1)
    except OSError:  # the container has ended meanwhile
        return
    if answer[:1] == b"n" and answer[1:]:
        raise EngineError(answer[1:].decode("utf-8", "replace"))
