"""`network reload`: have the kernel as the records say, after somebody has flushed the rules or deleted a bridge.

dockerd does that to the firewall rules when it starts; Podman has a verb of this name for it. Bridges, rules and what
is plugged into the bridges are the affair of `network`; a cable that was deleted is laid again here, by what its
container has noted.
"""

from __future__ import annotations

from minirun.engine.container import index
from minirun.engine.container.reconcile import reconciled_status
from minirun.engine.network import sandbox, shared_netns
from minirun.engine.shim import run_state
from minirun.errors import EngineError, MinirunError, NoSuchContainer
from minirun.network.bridge import endpoint as bridge_endpoint
from minirun.network.bridge import veth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.container.container import Container
    from minirun.engine.daemon import Daemon


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
