"""In a container's monitor: somebody has changed what is plugged into the container while it runs.

`network connect` and `disconnect` do their work on the kernel, note it beside the container, and then have its monitor
look: the services in it follow what is noted.
"""

from __future__ import annotations

from minirun.errors import MinirunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.shim.relay import Relay


def follow(relay: Relay, run_directory: str) -> str:
    """Have all services do what is noted now. Returns: "" or what went wrong, for whoever has changed it."""
    from minirun.engine.network import dns_service, port_bindings

    failures = []
    for service in (port_bindings, dns_service):
        try:
            service.follow(relay, run_directory)
        except MinirunError as error:
            failures.append(error.message)
        except OSError as reason:  # of this process's own; the container goes on
            failures.append(str(reason))
    return "; ".join(failures)
