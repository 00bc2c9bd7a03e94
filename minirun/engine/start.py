"""`run` and `start`: from a container's configuration to a running process, with the command attached to it or not.

There is no daemon. What has to stay while a container runs (its output, its exit code, the clean-up) is done by its
shim, a process of its own.
"""

from __future__ import annotations

from minirun.engine.container.index import discard
from minirun.engine.container.reconcile import clear_dead_shim, reconciled_status
from minirun.engine.create import create
from minirun.engine.shim import protocol, signals
from minirun.engine.shim.prefork import Starter
from minirun.engine.stop import stop
from minirun.errors import EngineError, MinirunError, ProgramError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from minirun.cli.parser.grammar import Options
    from minirun.engine.container.container import Container
    from minirun.engine.daemon import Daemon
    from minirun.engine.shim.attach import Attachment, Watcher

#: The layers of software through which Docker hears that a program cannot be started; scripts know the words.
CANNOT_START = (
    "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container "
    "process: {}: unknown"
)


def run(daemon: Daemon, options: Options, starter: Starter) -> int:
    """Create a container, start it and stay with it until it ends; or leave it alone, with -d.

    Arguments: starter, which gets ready while the container is made. Returns: its exit code, or 0 with -d.
    """
    if options.detach:
        container = create(daemon, options)
        try:
            with container.queue():
                _start(container, starter)
        finally:
            print(container.id, flush=True)  # noqa: T201 (also when the start fails, as Docker does)
        return 0
    from minirun.engine.shim.attach import Attachment

    with signals.held() as waiting:
        container = create(daemon, options)
        config = container.record["Config"]
        attachment = Attachment(
            stdin=config["AttachStdin"],
            stdout=config["AttachStdout"],
            stderr=config["AttachStderr"],
            detach_keys=options.detach_keys,
            signals=options.sig_proxy,
        )
        with container.queue():
            watcher = _start(container, starter, attachment, waiting)
    return _watch(watcher)


def start(container: Container, attachment: Attachment | None = None) -> int:
    """Start a container, and stay with it if an attachment is given. One that runs already is left alone.

    Returns: with an attachment its exit code, else 0. Errors: ProgramError (126, 127), EngineError.
    """
    starter, watcher = Starter(container.daemon), None  # it needs some milliseconds to get ready, which are not lost
    with container.queue():
        # The monitor of the run before this may be cleaning up still. Or one is bringing the container up whose starter
        # was killed, who stood first in the queue: then it runs a moment later.
        while not (runs := reconciled_status(container).word == "running") and container.watch():
            container.await_monitor(0.1)
        if not runs:
            with signals.held() as waiting:
                watcher = _start(container, starter, attachment, waiting)
    if attachment is None:
        return 0
    return _watch(watcher or attachment.watcher(_connect(container, attachment), container))


def restart(container: Container, seconds: int | None = None) -> None:
    """Stop and start."""
    stop(container, seconds)
    start(container)


def _start(
    container: Container, starter: Starter, attachment: Attachment | None = None, waiting: signals.held | None = None
) -> Watcher | None:
    """Start a container that does not run; the caller has its queue.

    Arguments: waiting, the signals that wait for the watcher.
    Returns: with an attachment, the watcher that its monitor already knows. It is loaded while the container starts.
    """
    from minirun.engine.spec import bundle

    size, watcher = None, None
    if container.record["Config"]["Tty"]:
        from minirun.engine.shim.attach import window_size

        size = window_size()
    try:
        bundle.write(container, size)
        starter.order(container.id, attachment.flags if attachment else 0)
        if attachment:
            watcher = attachment.watcher(starter.sock, container)
        if waiting:
            waiting.release()
        starter.wait()
    except MinirunError as error:
        if isinstance(error, ProgramError) and error.message.startswith(("exec: ", "chdir ")):
            error.message = CANNOT_START.format(error.message)
        _note_failed_start(container, error)
        raise
    return watcher


def _note_failed_start(container: Container, error: MinirunError) -> None:
    """A container whose start failed stays, as Created and with the reason in its State; with --rm it goes."""
    from minirun.engine.shim import task

    container.await_monitor()  # a killed process closes its end of our connection before it counts as dead
    if clear_dead_shim(container):
        return  # it had started, and was killed with its monitor
    task.take_down(container)
    container.forget()
    if not container.exists():
        return
    if container.record["HostConfig"]["AutoRemove"]:
        discard(container, with_volumes=True)
        return
    # The code that is left for what is not the program's own fault: Docker's record says 128, its client ends with 125.
    code = error.exit_code if isinstance(error, ProgramError) else 128
    container.record["State"].update(ExitCode=code, Error=error.message)
    container.save()


def _connect(container: Container, attachment: Attachment) -> _socket.socket:
    try:
        return protocol.connect(container.run_directory, attachment.flags)
    except OSError:
        raise EngineError("You cannot attach to a stopped container, start it first", exit_code=1) from None


def _watch(watcher: Watcher | None) -> int:
    """Stay with a container until it ends or the detach keys are pressed. Returns: its exit code, or 0."""
    from minirun.engine.shim.attach import Detached

    try:
        return watcher.watch() if watcher else 0
    except Detached:
        return 0
