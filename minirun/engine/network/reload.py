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
from minirun.engine.network import dns_service, port_bindings, sandbox_store
from minirun.errors import EngineError, MinirunError, NoSuchContainer
from minirun.light import TYPE_CHECKING
from minirun.network.bridge import endpoint as bridge_endpoint
from minirun.network.bridge import veth

if TYPE_CHECKING:
    from minirun.engine.container.container import Container
    from minirun.engine.daemon import Daemon
    from minirun.engine.shim.relay import Relay


def reload(daemon: Daemon) -> tuple[list[str], list[MinirunError]]:
    """Restore bridges, firewall rules, and the veth pairs of all running containers.

    Returns: a line for each veth pair that was recreated; the errors with single networks or containers.
    """
    failures = daemon.networks.reload()
    lines = []
    for container in index.every(daemon):
        try:
            with container.lock():
                if reconciled_status(container).state == "running":
                    lines += [f"{container.name}: plugged into {name} again" for name in restore(container)]
        except NoSuchContainer:  # removed in the meantime
            continue
        except MinirunError as error:
            failures.append(EngineError(f"{container.name}: {error.message}"))
    return lines, failures


def restore(container: Container) -> list[str]:
    """Recreate the missing veth pairs of a running container. Returns: the names of their networks."""
    try:
        lock = sandbox_store.lock(container.run_directory).acquire()
    except FileNotFoundError:  # it has exited in the meantime
        return []
    with lock:
        stored, pid = sandbox_store.read(container.run_directory), container.init_pid()
        endpoints = sandbox_store.gateway_order(stored) if pid else []
        restored = []
        for endpoint in endpoints:
            if not veth.exists(endpoint["HostInterface"]):
                bridge_endpoint.join(
                    container.daemon.networks.find(endpoint["NetworkID"]), endpoint, pid, default_route=False
                )
                restored.append(endpoint["Network"])
        if restored:
            bridge_endpoint.set_default_route(pid, endpoints[0])
            sandbox_store.write(container.run_directory, stored)  # the kernel may have chosen another ifindex
    return restored


def update_services(relay: Relay, run_directory: str) -> str:
    """In the shim: have the services match what cable.json says now. Returns: "", or what went wrong."""
    failures = []
    for service in (port_bindings, dns_service):
        try:
            service.update(relay, run_directory)
        except MinirunError as error:
            failures.append(error.message)
        except OSError as reason:  # of this process, such as EMFILE; the container goes on
            failures.append(str(reason))
    return "; ".join(failures)
