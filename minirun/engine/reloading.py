"""`network reload`: have the kernel as the records say, after somebody has flushed the rules or deleted a bridge.

dockerd does that to the firewall rules when it starts; Podman has a verb of this name for it. Bridges, rules and what
is plugged into the bridges are the affair of `network`; a cable that was deleted is laid again here, by what its
container has noted.
"""

from __future__ import annotations

from minirun.engine import attachments, cable, joining, places, register, watch
from minirun.errors import EngineError, MinirunError, NoSuchContainer
from minirun.network import networks, veth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.register import Container


def reload() -> tuple[list[str], list[MinirunError]]:
    """Restore bridges, rules, and the cables of all containers that run.

    Returns: a line for each cable that was laid again; what went wrong with single networks or containers.
    """
    failures = networks.reload(places.data, places.run, places.settings())
    lines = []
    for container in register.every():
        try:
            with container.queue():
                if container.status(queued=True).word == "running":
                    lines += [f"{container.name}: plugged into {name} again" for name in restore(container)]
        except NoSuchContainer:  # removed meanwhile
            continue
        except MinirunError as error:
            failures.append(EngineError(f"{container.name}: {error.message}"))
    return lines, failures


def restore(container: Container) -> list[str]:
    """Lay those cables of a running container again that are gone. Returns: the networks' names."""
    try:
        queue = watch.plugging(container.run_directory).__enter__()
    except FileNotFoundError:  # it has ended meanwhile
        return []
    with queue:
        note, pid = watch.cable_of(container.run_directory), joining.pid_of(container)
        ways = cable.ways_out(note) if pid else []
        restored = []
        for endpoint in ways:
            if not veth.exists(endpoint["HostInterface"]):
                networks.plug(attachments.find(endpoint["NetworkID"]), endpoint, pid, default_route=False)
                restored.append(endpoint["Network"])
        if restored:
            networks.set_default_route(pid, ways[0])
            cable.write(container, note)  # the kernel may have given a device another number
    return restored
