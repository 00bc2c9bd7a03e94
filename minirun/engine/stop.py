"""`kill`, `stop` and `wait`: a running container is ended, or its end awaited."""

from __future__ import annotations

from minirun.engine.container.reconcile import reconciled_status
from minirun.engine.shim import protocol, signals
from minirun.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.container.container import Container

SIGKILL = 9
STOP_SECONDS = 10  # Docker's patience between the stop signal and SIGKILL


def kill(container: Container, word: str) -> None:
    """Send a signal, by name or number, to a container's first process.

    Errors: BadParameter for an unknown signal; EngineError when it does not run.
    """
    number = signals.number(word)
    with container.queue():  # one that is being started is not "not running"
        runs = reconciled_status(container).word == "running"
    if not runs or not send_signal(container, number):
        raise EngineError(f"Container {container.id} is not running", exit_code=1)
    if number == SIGKILL:
        container.await_monitor()


def stop(container: Container, seconds: int | None = None) -> None:
    """Ask a container to end with its stop signal, and kill it when it has not after some seconds (-1: wait for ever).

    One that does not run is left alone.
    """
    with container.queue():
        runs = reconciled_status(container).word == "running"
    if not runs:
        return
    config = container.record["Config"]
    if seconds is None:
        timeout = config.get("StopTimeout")
        seconds = STOP_SECONDS if timeout is None else timeout
    try:
        kill(container, config.get("StopSignal") or "SIGTERM")
        if not container.await_monitor(None if seconds < 0 else seconds):
            kill(container, "SIGKILL")
    except EngineError:
        container.await_monitor()  # it has ended by itself between the look and the signal


def wait(container: Container) -> int:
    """Block until a container has ended. Returns: its exit code."""
    from minirun.engine.shim import attach

    if container.status().word != "running":
        container.await_monitor()
        return container.status().exit_code
    try:
        sock = protocol.connect(container.run_directory, 0)
    except OSError:
        container.await_monitor()
        return container.status().exit_code
    return attach.Watcher(sock, stdin=False, terminal=False, signals=False).watch()


def send_signal(container: Container, number: int) -> bool:
    """Send a signal to a container's first process. Returns: False when that is gone."""
    from minirun.kernel import process  # a start has no use for it on this side

    watched = container.watch()
    return watched is not None and watched.init > 0 and process.kill(watched.init, watched.init_start_time, number)
