"""Containers, as `docker` knows them: made, started, watched, stopped, removed by one command after another.

There is no daemon. What has to stay while a container runs (its output, its exit code, the clean-up) is done by its
monitor, a process of its own; everything else is here, and is over when the command is. `run` is the story of it all.
"""

from __future__ import annotations

import os
import sys

from minirun import store
from minirun.engine import paths
from minirun.engine.container import names
from minirun.engine.container.index import Container, Status, discard, every, exists, find, reserve
from minirun.engine.network import endpoint_config
from minirun.engine.shim import protocol, signals
from minirun.engine.shim.prefork import Starter
from minirun.errors import EngineError, MinirunError, NoSuchNetwork, ProgramError
from minirun.trace import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from minirun.cli.parser.grammar import Options
    from minirun.engine.shim.attach import Watcher

__all__ = [
    "Attachment",
    "Container",
    "Status",
    "create",
    "every",
    "execute",
    "find",
    "kill",
    "remove",
    "restart",
    "run",
    "start",
    "stop",
    "wait",
]

#: The layers of software through which Docker hears that a program cannot be started; scripts know the words.
CANNOT_START = (
    "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container "
    "process: {}: unknown"
)
#: What uname(2) calls most machines, and what images for them say.
USUAL = {"x86_64": "amd64", "aarch64": "arm64"}
SIGKILL = 9
STOP_SECONDS = 10  # Docker's patience between the stop signal and SIGKILL


class Attachment:
    """How a command stays with a container: `.stdin`, `.stdout`, `.stderr` (bool), which streams it passes on;
    `.detach_keys` (Docker's notation, "" for ctrl-p,ctrl-q); `.signals` (bool), whether it passes its signals on."""

    __slots__ = ("detach_keys", "signals", "stderr", "stdin", "stdout")

    def __init__(
        self, *, stdin: bool, stdout: bool = True, stderr: bool = True, detach_keys: str = "", signals: bool = True
    ) -> None:
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.detach_keys, self.signals = b"", signals
        if detach_keys:
            from minirun.engine.shim import attach  # else it is loaded while the container starts

            self.detach_keys = attach.parse_keys(detach_keys)

    @property
    def flags(self) -> int:
        """The streams as the relay's bits (`wire.WANTS_*`)."""
        return (
            protocol.WANTS_STDIN * self.stdin
            | protocol.WANTS_STDOUT * self.stdout
            | protocol.WANTS_STDERR * self.stderr
        )

    def watcher(self, sock: _socket.socket, container: Container) -> Watcher:
        """Who passes the streams on, over a socket on which the container's monitor listens or will listen."""
        from minirun.engine.shim import attach

        return attach.Watcher(
            sock,
            stdin=self.stdin,
            terminal=container.record["Config"]["Tty"],
            detach_keys=self.detach_keys or attach.DETACH_KEYS,
            signals=self.signals,
        )


# ---- making and removing ---------------------------------------------------------------------------------------


def create(options: Options) -> Container:
    """Make a container and do not start it: a directory, a name, a writable layer, a record.

    Errors: NoSuchImage, BadParameter, EngineError as Docker's; nothing is left behind then.
    """
    # A container is made once and started often; and with `run`, what is loaded here is loaded beside the `Starter`.
    from minirun.engine.container import config
    from minirun.image.images import Images
    from minirun.image.snapshot import overlayfs

    with step("find the image"):
        image = Images(f"{paths.data}/images", paths.image_limits).find(options.image)
        if options.platform or image.config.get("architecture") != USUAL.get(os.uname().machine):
            from minirun.image import platforms  # most images are for this machine

            sys.stderr.write(platforms.check(image.config, options.platform, options.image))
    container = Container(os.urandom(32).hex())
    with step("make the container's record"):
        name = names.check(options.name) if options.name else ""
        container._record = config.make(options, image, container.id, name)
        if options.volumes_from:
            from minirun.engine.volume import volumes_from

            volumes_from.take(container.record)
        _settle_networks(container.record, options.link)
        queue = reserve(container)
        try:
            with queue:
                container.record["Name"] = "/" + names.reserve(paths.data, name, container.id)
                overlayfs.ensure_directories(image.layers, container.directory)
                if any(point["Type"] == "volume" for point in container.record["MountPoints"]):
                    from minirun.engine.volume import populate

                    populate.attach(container)
                if container.record["Links"]:
                    from minirun.engine.network import legacy_links

                    legacy_links.write_down(container)
                container.save(host_config=True)
            if options.cidfile:
                store.write_text(options.cidfile, container.id, mode=0o644)
        except BaseException:
            discard(container, with_volumes=True)
            raise
    return container


def _settle_networks(record: dict, links: list[str]) -> None:
    """Find out what the words of a new container's wishes stand for, as far as it is there already.

    Errors: BadParameter for a link to a container that is not.
    """
    mode = record["HostConfig"]["NetworkMode"]
    if links and endpoint_config.network_of(mode) == endpoint_config.DEFAULT:
        from minirun.engine.network import legacy_links

        record["Links"] = legacy_links.resolve(links)
    if mode.startswith("container:"):
        from minirun.engine.network import shared_netns

        shared_netns.settle(record)
    elif endpoint_config.is_user_defined(mode):
        from minirun.network import controller

        try:
            name = controller.find(paths.data, paths.run, mode, paths.settings()).name
        except NoSuchNetwork:
            return  # it may be there when the container is started
        record["Networks"] = {name: record["Networks"][mode]}


def remove(container: Container, *, force: bool = False, volumes: bool = False) -> None:
    """Remove a container that does not run; with `force`, kill it first; with `volumes`, those without a name go too.

    Errors: NoSuchContainer, EngineError for one that runs. Whoever starts it at the same time comes before or after.
    """
    while exists(container.id):
        with container.queue():
            if container.may_be_discarded():
                discard(container, with_volumes=volumes)
                return
            running = container.status(queued=True).word == "running"
        if running and not force:
            raise EngineError(
                f"You cannot remove a running container {container.id}. Stop the container before "
                "attempting removal or force remove",
                exit_code=1,
            )
        if running:
            _signal(container, SIGKILL)
        # It has ended, or is about to: with --rm its monitor removes it. Or it is on its way up, and its starter was
        # killed, who stood first in the queue: then it runs a moment later, and we look again.
        await_monitor(container, None if running else 0.1)


# ---- starting --------------------------------------------------------------------------------------------------


def run(options: Options, starter: Starter) -> int:
    """Create a container, start it and stay with it until it ends; or leave it alone, with -d.

    Arguments: starter, which gets ready while the container is made. Returns: its exit code, or 0 with -d.
    """
    if options.detach:
        container = create(options)
        try:
            with container.queue():
                _start(container, starter)
        finally:
            print(container.id, flush=True)  # noqa: T201 (also when the start fails, as Docker does)
        return 0
    with signals.held() as waiting:
        container = create(options)
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
    starter, watcher = Starter(), None  # it needs some milliseconds to get ready, which are not lost
    with container.queue():
        # The monitor of the run before this may be cleaning up still. Or one is bringing the container up whose starter
        # was killed, who stood first in the queue: then it runs a moment later.
        while not (runs := container.status(queued=True).word == "running") and container.watch():
            await_monitor(container, 0.1)
        if not runs:
            with signals.held() as waiting:
                watcher = _start(container, starter, attachment, waiting)
    if attachment is None:
        return 0
    return _watch(watcher or attachment.watcher(_connect(container, attachment), container))


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
    from minirun.engine.shim import task  # its monitor may have been killed, and what it had made is there still

    await_monitor(container)  # a killed process closes its end of our connection before it counts as dead
    if task.clear_dead(container):
        return  # it had started, and was killed with its monitor
    task.take_down(container)
    container.forget()
    if not exists(container.id):
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


# ---- ending ----------------------------------------------------------------------------------------------------


def kill(container: Container, word: str) -> None:
    """Send a signal, by name or number, to a container's first process.

    Errors: BadParameter for an unknown signal; EngineError when it does not run.
    """
    number = signals.number(word)
    with container.queue():  # one that is being started is not "not running"
        runs = container.status(queued=True).word == "running"
    if not runs or not _signal(container, number):
        raise EngineError(f"Container {container.id} is not running", exit_code=1)
    if number == SIGKILL:
        await_monitor(container)


def _signal(container: Container, number: int) -> bool:
    """Send a signal to a container's first process. Returns: False when that is gone."""
    from minirun.kernel import process  # a start has no use for it on this side

    watched = container.watch()
    return watched is not None and watched.init > 0 and process.kill(watched.init, watched.init_start_time, number)


def stop(container: Container, seconds: int | None = None) -> None:
    """Ask a container to end with its stop signal, and kill it when it has not after some seconds (-1: wait for ever).

    One that does not run is left alone.
    """
    with container.queue():
        runs = container.status(queued=True).word == "running"
    if not runs:
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
    from minirun.engine.shim import attach

    if container.status().word != "running":
        await_monitor(container)
        return container.status().exit_code
    try:
        sock = protocol.connect(container.run_directory, 0)
    except OSError:
        await_monitor(container)
        return container.status().exit_code
    return attach.Watcher(sock, stdin=False, terminal=False, signals=False).watch()


def await_monitor(container: Container, seconds: float | None = None) -> bool:
    """Wait until a container's monitor has cleaned up and is gone. Returns: whether it is."""
    watched = container.watch()
    return watched is None or watched.wait(seconds)


def execute(container: Container, options: Options) -> int:
    """Run one more process in a running container. Returns: its exit code; 0 at once with -d."""
    from minirun.engine import exec  # only `exec` needs it

    return exec.execute(container, options)
