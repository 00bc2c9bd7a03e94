"""`rm`: a container is removed with all that `create` made (moby, daemon/delete.go)."""

from __future__ import annotations

from minirun.engine.container.index import discard
from minirun.engine.container.reconcile import reconcile
from minirun.engine.stop import send_signal
from minirun.errors import EngineError
from minirun.light import TYPE_CHECKING, signal

if TYPE_CHECKING:
    from minirun.engine.container.container import Container


def remove(container: Container, *, force: bool = False, volumes: bool = False) -> None:
    """Remove a container. Safe while another command starts or removes it: the container's lock decides who is first.

    Arguments: force (bool), kill it if it runs; volumes (bool), remove its anonymous volumes too.
    Errors: NoSuchContainer; EngineError for a running one without `force`.
    """
    while container.exists():
        with container.lock():
            reconcile(container)
            if container.shim_state() is None:  # only files are left; the record may be damaged
                discard(container, with_volumes=volumes)
                return
            running = container.status().state == "running"
        if running and not force:
            raise EngineError(
                f"You cannot remove a running container {container.id}. Stop the container before "
                "attempting removal or force remove",
                exit_code=1,
            )
        if running:
            send_signal(container, signal.SIGKILL)
        # It has exited or is about to, and with --rm its shim removes it. Or a shim is starting it although the lock is
        # free, because the command that held the lock was killed: then it runs a moment later, and we look again.
        container.wait_for_shim(None if running else 0.1)
