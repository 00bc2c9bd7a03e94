"""`rm`: a container is taken away with all that `create` made."""

from __future__ import annotations

from minirun.engine.container.index import discard
from minirun.engine.container.reconcile import reconcile
from minirun.engine.stop import SIGKILL, send_signal
from minirun.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.container.container import Container


def remove(container: Container, *, force: bool = False, volumes: bool = False) -> None:
    """Remove a container that does not run; with `force`, kill it first; with `volumes`, those without a name go too.

    Errors: NoSuchContainer, EngineError for one that runs. Whoever starts it at the same time comes before or after.
    """
    while container.exists():
        with container.queue():
            reconcile(container)
            if container.watch() is None:  # nothing of it is left but files, and perhaps a record that nobody can read
                discard(container, with_volumes=volumes)
                return
            running = container.status().word == "running"
        if running and not force:
            raise EngineError(
                f"You cannot remove a running container {container.id}. Stop the container before "
                "attempting removal or force remove",
                exit_code=1,
            )
        if running:
            send_signal(container, SIGKILL)
        # It has ended, or is about to: with --rm its monitor removes it. Or it is on its way up, and its starter was
        # killed, who stood first in the queue: then it runs a moment later, and we look again.
        container.await_monitor(None if running else 0.1)
