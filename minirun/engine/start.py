"""`run`, `start` and `restart`: from a container's configuration to a running process (moby, daemon/start.go).

There is no daemon. What has to stay while a container runs is its shim, a process for each container, which relays and
logs the output, keeps the exit code and cleans up (see `engine.shim.shim`). The command writes the OCI bundle, has the
shim start it, and then either exits or stays attached.
"""

from __future__ import annotations

from minirun.engine.container.index import discard
from minirun.engine.container.reconcile import clear_dead_shim, reconcile_all, reconciled_status
from minirun.engine.create import make
from minirun.engine.shim import protocol, signals
from minirun.engine.shim.prefork import PreforkedShim
from minirun.engine.stop import stop
from minirun.errors import RUN_FAILED, EngineError, MinirunError, ProgramError
from minirun.light import TYPE_CHECKING, socket

if TYPE_CHECKING:
    from minirun.engine.container.container import Container
    from minirun.engine.daemon import Daemon
    from minirun.engine.options import CreateOptions
    from minirun.engine.shim.attach import AttachClient, Attachment


def run(daemon: Daemon, options: CreateOptions, shim: PreforkedShim) -> int:
    """Create a container, start it, and stay attached until it exits unless -d is given.

    Arguments: shim, the pre-forked shim, which loads its modules while the container is created.
    Returns: the container's exit code, 0 with -d. Errors: as `create` and `start`.
    """
    if options.detach:
        container = make(daemon, options)
        try:
            with container.lock():
                _start(container, shim)
        finally:
            print(container.id, flush=True)  # noqa: T201 (also when the start fails, as Docker does)
        return 0
    from minirun.engine.shim.attach import Attachment

    with signals.blocked() as waiting:
        container = make(daemon, options)
        config = container.record["Config"]
        attachment = Attachment(
            stdin=config["AttachStdin"],
            stdout=config["AttachStdout"],
            stderr=config["AttachStderr"],
            detach_keys=options.detach_keys,
            signals=options.sig_proxy,
        )
        with container.lock():
            client = _start(container, shim, attachment, waiting)
    return _attach(client)


def start(container: Container, attachment: Attachment | None = None) -> int:
    """Start a container, and stay attached if `attachment` is given. A running container is left as it is.

    Returns: with an attachment the container's exit code, else 0. Errors: ProgramError (126, 127), EngineError.
    """
    shim, client = PreforkedShim(container.daemon), None  # first, for it takes some milliseconds to get ready
    with container.lock():
        # The shim of its last run may still be cleaning up. Or a shim is starting it at this moment although the lock
        # is free, because the command that held the lock was killed: then it runs a moment later.
        while not (runs := reconciled_status(container).state == "running") and container.shim_state():
            container.wait_for_shim(0.1)
        if not runs:
            with signals.blocked() as waiting:
                client = _start(container, shim, attachment, waiting)
    if attachment is None:
        return 0
    return _attach(client or attachment.client(_connect(container, attachment), container))


def restart(container: Container, seconds: int | None = None) -> None:
    """Stop a container, if it runs, and start it. Arguments: seconds, as for `stop`. Errors: as `start`."""
    stop(container, seconds)
    start(container)


def _start(
    container: Container,
    shim: PreforkedShim,
    attachment: Attachment | None = None,
    waiting: signals.blocked | None = None,
) -> AttachClient | None:
    """Start a container that does not run. The caller holds its lock.

    Arguments: waiting, the blocked signals, which are delivered once the attach client can pass them on.
    Returns: with an attachment, the attach client, connected before the container's first instruction. It is loaded
    after the shim has been told to start, so that this costs no time.
    """
    from minirun.engine.spec import bundle

    size, client = None, None
    if container.record["Config"]["Tty"]:
        from minirun.engine.shim.attach import window_size

        size = window_size()
    try:
        bundle.write(container, size)
        shim.start(container.id, attachment.flags if attachment else 0)
        if attachment:
            client = attachment.client(shim.sock, container)
        if waiting:
            waiting.unblock()
        reconcile_all(container.daemon)  # now, while the shim builds the container
        shim.wait_started()
    except MinirunError as error:
        if isinstance(error, ProgramError) and error.message.startswith(("exec: ", "chdir ")):
            error.message = RUN_FAILED.format(error.message)
        _note_failed_start(container, error)
        raise
    return client


def _note_failed_start(container: Container, error: MinirunError) -> None:
    """Write the reason into the State of a container whose start failed, and leave it Created; with --rm, remove it."""
    from minirun.engine.shim import task

    container.wait_for_shim()  # a killed process closes its end of the connection before it counts as dead
    if clear_dead_shim(container):
        return  # it had started, and its shim was killed
    task.delete(container)
    container.reload()
    if not container.exists():
        return
    if container.record["HostConfig"]["AutoRemove"]:
        discard(container, with_volumes=True)
        return
    # For what is not the program's own fault Docker records 128, and its client exits with 125.
    code = error.exit_code if isinstance(error, ProgramError) else 128
    container.record["State"].update(ExitCode=code, Error=error.message)
    container.save()


def _connect(container: Container, attachment: Attachment) -> socket.socket:
    """Connect to the shim of a running container. Errors: EngineError when it has exited."""
    try:
        return protocol.connect(container.run_directory, attachment.flags)
    except OSError:
        raise EngineError("You cannot attach to a stopped container, start it first", exit_code=1) from None


def _attach(client: AttachClient | None) -> int:
    """Stay attached until the container exits or the detach keys are pressed. Returns: its exit code, 0 if detached."""
    from minirun.engine.shim.attach import Detached

    try:
        return client.run() if client else 0
    except Detached:
        return 0
