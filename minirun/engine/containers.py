"""Containers, as `docker` knows them: made, started, watched, stopped, removed by one command after another.

There is no daemon. What has to stay while a container runs (its output, its exit code, the clean-up) is done by its
monitor, a process of its own; everything else is here, and is over when the command is. `run` is the story of it all.
"""

from __future__ import annotations

import os
from select import POLLIN, poll

from minirun import store
from minirun.engine import names, places, running, signals
from minirun.engine.register import Container, Status, every, exists, find
from minirun.errors import EngineError, KernelError, MinirunError
from minirun.kernel import process, syscalls
from minirun.trace import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from minirun.cli.grammar import Options

__all__ = ["Attachment", "Container", "Status", "create", "every", "execute", "find", "kill", "remove", "restart", "run", "start",
           "stop", "wait"]

STOP_SECONDS = 10  # Docker's patience between the stop signal and SIGKILL


class Attachment:
    """How a command stays with a container: `.stdin`, `.stdout`, `.stderr` (bool), which streams it passes on;
    `.detach_keys` (Docker's notation, "" for ctrl-p,ctrl-q); `.signals` (bool), whether it passes its signals on."""

    __slots__ = ("detach_keys", "signals", "stderr", "stdin", "stdout")

    def __init__(self, *, stdin: bool, stdout: bool = True, stderr: bool = True, detach_keys: str = "",
                 signals: bool = True) -> None:
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.detach_keys, self.signals = detach_keys, signals

    @property
    def flags(self) -> int:
        """The streams as the relay's bits (`relay.WANTS_*`)."""
        from minirun.engine.relay import WANTS_STDERR, WANTS_STDIN, WANTS_STDOUT  # not every command stays

        return WANTS_STDIN * self.stdin | WANTS_STDOUT * self.stdout | WANTS_STDERR * self.stderr


# ---- making and removing ---------------------------------------------------------------------------------------

def create(options: Options) -> Container:
    """Make a container and do not start it: a directory, a name, a writable layer, a record.

    Errors: NoSuchImage, BadParameter, EngineError as Docker's; nothing is left behind then.
    """
    from minirun.engine import record  # a container is made once and started often
    from minirun.image.store import Images

    with step("find the image"):
        image = Images(f"{places.data}/images").find(options.image)
    container = Container(os.urandom(32).hex())
    with step("make the container's record"):
        name = names.check(options.name) if options.name else ""
        container._record = record.make(options, image, container.id, name)
        store.make_directory(container.directory, 0o710)
        try:
            container.record["Name"] = "/" + names.reserve(places.data, name, container.id)
            running.make_writable_layer(container)
            container.save()
            if options.cidfile:
                store.write_text(options.cidfile, container.id, mode=0o644)
        except BaseException:
            running.discard(container)
            raise
    return container


def remove(container: Container, *, force: bool = False) -> None:
    """Remove a container that does not run; with `force`, kill it first."""
    status = container.status()
    if status.word == "running":
        if not force:
            raise EngineError(f"You cannot remove a running container {container.id}. Stop the container before "
                              "attempting removal or force remove", exit_code=1)
        kill(container, "KILL")
    await_monitor(container)
    if exists(container.id):  # with --rm its monitor has removed it
        with container.queue():
            running.discard(container)


# ---- starting --------------------------------------------------------------------------------------------------

def run(options: Options) -> int:
    """Create a container, start it and stay with it until it ends; or leave it alone, with -d.

    Returns: its exit code, or 0 with -d.
    """
    container = create(options)
    if options.detach:
        try:
            start(container)
        finally:
            print(container.id, flush=True)
        return 0
    config = container.record["Config"]
    return start(container, Attachment(
        stdin=config["AttachStdin"], stdout=config["AttachStdout"], stderr=config["AttachStderr"],
        detach_keys=options.detach_keys, signals=options.sig_proxy))


def start(container: Container, attachment: Attachment | None = None) -> int:
    """Start a container, and stay with it if an attachment is given. One that runs already is left alone.

    Returns: with an attachment its exit code, else 0. Errors: ProgramError (126, 127), EngineError.
    """
    sock = None
    with container.queue():
        status = container.status()
        if status.word != "running":
            await_monitor(container)  # of the run before this: it may be cleaning up still
            sock = _begin_monitor(container, attachment)
    if attachment is None:
        return 0
    return _watch(container, sock or _connect(container, attachment), attachment)


def _begin_monitor(container: Container, attachment: Attachment | None) -> _socket.socket | None:
    """Fork the monitor and wait until it has started the container, or has said why it could not.

    Returns: with an attachment, a socket on which the monitor knows us, so that not a byte of output is missed.
    """
    import _socket

    from minirun.engine import monitor

    container.forget()
    ours, theirs = process.Channel.pair()
    sock, client = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET) if attachment else (None, None)
    wants = attachment.flags if attachment else 0
    process.spawn("minirun:monitor", "monitor", lambda: monitor.main(container, theirs, client, wants))
    theirs.close()
    if client:
        client.close()
    try:
        if ours.receive() is None:
            raise MinirunError("the container's monitor was killed before the container had started")
    except MinirunError as error:
        _note_failed_start(container, error)
        raise
    finally:
        ours.close()
    return sock


def _note_failed_start(container: Container, error: MinirunError) -> None:
    """A container whose start failed stays, as Created and with the reason in its State; with --rm it goes."""
    container.forget()
    if container.record["HostConfig"]["AutoRemove"]:
        running.discard(container)
        return
    container.record["State"].update(ExitCode=error.exit_code, Error=error.message)
    container.save()


def _connect(container: Container, attachment: Attachment) -> _socket.socket:
    from minirun.engine import attach

    try:
        return attach.connect(container.run_directory, attachment.flags)
    except OSError:
        raise EngineError("You cannot attach to a stopped container, start it first", exit_code=1) from None


def _watch(container: Container, sock: _socket.socket, attachment: Attachment) -> int:
    """Stay with a container until it ends or the detach keys are pressed. Returns: its exit code, or 0."""
    from minirun.engine import attach

    keys = attach.parse_keys(attachment.detach_keys) if attachment.detach_keys else attach.DETACH_KEYS
    watcher = attach.Watcher(sock, stdin=attachment.stdin, terminal=container.record["Config"]["Tty"], detach_keys=keys,
                             signals=attachment.signals)
    try:
        return watcher.watch()
    except attach.Detached:
        return 0


# ---- ending ----------------------------------------------------------------------------------------------------

def kill(container: Container, word: str) -> None:
    """Send a signal, by name or number, to a container's first process.

    Errors: BadParameter for an unknown signal; EngineError when it does not run.
    """
    number = signals.number(word)
    status = container.status()
    watch = container.watch()
    if status.word != "running" or watch is None or not process.kill(watch.init, watch.init_start_time, number):
        raise EngineError(f"Container {container.id} is not running", exit_code=1)
    if number == running.SIGKILL:
        await_monitor(container)


def stop(container: Container, seconds: int | None = None) -> None:
    """Ask a container to end with its stop signal, and kill it when it has not after some seconds (-1: wait for ever).

    One that does not run is left alone.
    """
    if container.status().word != "running":
        return
    config = container.record["Config"]
    if seconds is None:
        timeout = config.get("StopTimeout")
        seconds = STOP_SECONDS if timeout is None else timeout
    try:
        kill(container, config.get("StopSignal") or "SIGTERM")
        if not await_monitor(container, None if seconds < 0 else seconds):
            kill(container, "SIGKILL")
    except EngineError:
        await_monitor(container)  # it has ended by itself between the look and the signal


def restart(container: Container, seconds: int | None = None) -> None:
    """Stop and start."""
    stop(container, seconds)
    start(container)


def wait(container: Container) -> int:
    """Block until a container has ended. Returns: its exit code."""
    from minirun.engine import attach

    if container.status().word != "running":
        await_monitor(container)
        return container.status().exit_code
    try:
        sock = attach.connect(container.run_directory, 0)
    except OSError:
        await_monitor(container)
        return container.status().exit_code
    return attach.Watcher(sock, stdin=False, terminal=False, signals=False).watch()


def await_monitor(container: Container, seconds: float | None = None) -> bool:
    """Wait until a container's monitor has cleaned up and is gone. Returns: whether it is."""
    watch = container.watch()
    if watch is None or not watch.alive():
        return True
    try:
        pidfd = syscalls.pidfd_open(watch.pid)
    except KernelError:
        return True
    try:
        poller = poll()
        poller.register(pidfd, POLLIN)
        return not watch.alive() or bool(poller.poll(None if seconds is None else seconds * 1000))
    finally:
        os.close(pidfd)


def execute(container: Container, options: Options) -> int:
    """Run one more process in a running container. Returns: its exit code; 0 at once with -d."""
    from minirun.engine import execution  # only `exec` needs it

    return execution.execute(container, options)
