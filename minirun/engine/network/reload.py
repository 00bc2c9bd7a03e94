"""Make the kernel, or a container's shim, match the state on disk again: `network reload`, and a shim's notification.

`reload` restores bridges, firewall rules and veth pairs after another program has flushed the rules or deleted a
bridge. dockerd restores the rules when it starts; Podman has a command of this name. Bridges, rules and the bridges'
ports belong to `minirun.network`; deleted veth pairs are recreated here, from the container's cable.json.

`follow` runs in the shim: `network connect` and `disconnect` change the kernel and cable.json themselves, and then have
the shim start, change or stop its services (the DNS server, the userland proxy) accordingly.
"""

from __future__ import annotations

from minirun.engine.container import index
from minirun.engine.container.reconcile import reconciled_status
from minirun.engine.network import dns_service, port_bindings, sandbox, shared_netns
from minirun.engine.shim import run_state
from minirun.errors import EngineError, MinirunError, NoSuchContainer
from minirun.network.bridge import endpoint as bridge_endpoint
from minirun.network.bridge import veth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.container.container import Container
    from minirun.engine.daemon import Daemon
    from minirun.engine.shim.relay import Relay


def reload(daemon: Daemon) -> tuple[list[str], list[MinirunError]]:
    """Restore bridges, rules, and the cables of all containers that run.

    Returns: a line for each cable that was laid again; what went wrong with single networks or containers.
    """
    failures = daemon.networks.reload()
    lines = []
    for container in index.every(daemon):
        try:
            with container.lock():
                if reconciled_status(container).state == "running":
                    lines += [f"{container.name}: plugged into {name} again" for name in restore(container)]
        except NoSuchContainer:  # removed meanwhile
            continue
        except MinirunError as error:
            failures.append(EngineError(f"{container.name}: {error.message}"))
    return lines, failures


def restore(container: Container) -> list[str]:
    """Lay those cables of a running container again that are gone. Returns: the networks' names."""
    try:
        queue = run_state.plugging(container.run_directory).acquire()
    except FileNotFoundError:  # it has ended meanwhile
        return []
    with queue:
        note, pid = run_state.cable_of(container.run_directory), shared_netns.pid_of(container)
        ways = sandbox.ways_out(note) if pid else []
        restored = []
        for endpoint in ways:
            if not veth.exists(endpoint["HostInterface"]):
                bridge_endpoint.join(
                    container.daemon.networks.find(endpoint["NetworkID"]), endpoint, pid, default_route=False
                )
                restored.append(endpoint["Network"])
        if restored:
            bridge_endpoint.set_default_route(pid, ways[0])
            sandbox.write(container, note)  # the kernel may have given a device another number
    return restored


def follow(relay: Relay, run_directory: str) -> str:
    """In the shim: have the services match what cable.json says now. Returns: "", or what went wrong."""
    failures = []
    for service in (port_bindings, dns_service):
        try:
            service.follow(relay, run_directory)
        except MinirunError as error:
            failures.append(error.message)
        except OSError as reason:  # of this process, such as EMFILE; the container goes on
            failures.append(str(reason))
    return "; ".join(failures)
