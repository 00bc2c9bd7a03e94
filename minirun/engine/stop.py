"""`kill`, `stop` and `wait`: a running container is signalled, or its exit awaited (moby, daemon/kill.go, stop.go)."""

from __future__ import annotations

from minirun.engine.container.reconcile import reconciled_status
from minirun.engine.shim import protocol, signals
from minirun.errors import EngineError
from minirun.light import TYPE_CHECKING, signal

if TYPE_CHECKING:
    from minirun.engine.container.container import Container

STOP_SECONDS = 10  # Docker's default grace period between the stop signal and SIGKILL


def kill(container: Container, word: str) -> None:
    """Send a signal to a container's first process. After SIGKILL, wait until its shim has cleaned up.

    Arguments: word, the signal's name or number. Errors: BadParameter for an unknown one; EngineError when the
    container does not run.
    """
    number = signals.number(word)
    with container.lock():  # wait for a start that is under way
        runs = reconciled_status(container).state == "running"
    if not runs or not send_signal(container, number):
        raise EngineError(f"Container {container.id} is not running", exit_code=1)
    if number == signal.SIGKILL:
        container.wait_for_shim()


def stop(container: Container, seconds: int | None = None) -> None:
    """Send a container its stop signal, and SIGKILL if it has not exited after the grace period.

    Arguments: seconds, the grace period: None for the container's own (--stop-timeout) or Docker's default, negative
    for ever. A container that does not run is left as it is.
    """
    with container.lock():
        runs = reconciled_status(container).state == "running"
    if not runs:
        return
    config = container.record["Config"]
    if seconds is None:
        timeout = config.get("StopTimeout")
        seconds = STOP_SECONDS if timeout is None else timeout
    try:
        kill(container, config.get("StopSignal") or "SIGTERM")
        if not container.wait_for_shim(None if seconds < 0 else seconds):
            kill(container, "SIGKILL")
    except EngineError:
        container.wait_for_shim()  # it has exited between the check and the signal


def wait(container: Container) -> int:
    """Block until a container has exited. Returns: its exit code."""
    from minirun.engine.shim import attach

    if container.status().state != "running":
        container.wait_for_shim()
        return container.status().exit_code
    try:
        sock = protocol.connect(container.run_directory, 0)
    except OSError:
        container.wait_for_shim()
        return container.status().exit_code
    return attach.AttachClient(sock, stdin=False, terminal=False, signals=False).run()


def send_signal(container: Container, number: int) -> bool:
    """Send a signal (number) to a container's first process. Returns: False when that has exited."""
    from minirun.kernel import process

    shim = container.shim_state()
    return shim is not None and shim.init > 0 and process.kill(shim.init, shim.init_start_time, number)
