"""Containers, as `docker ps` knows them: made, started, stopped, found again by a later command.

There is no daemon. A container is a directory; whether it runs is asked of the kernel; what has to stay (its output,
its exit code, the clean-up) is done by its monitor, a process of its own. `run` is the story of it all.
"""

from __future__ import annotations

import os
from select import POLLIN, poll

from minirun import store
from minirun.engine import names, places, running, signals, times
from minirun.engine.running import Watch
from minirun.errors import EngineError, KernelError, MinirunError, NoSuchContainer
from minirun.kernel import process, procfs, syscalls
from minirun.kernel.cgroups import wait_until
from minirun.trace import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.cli.grammar import Options

STOP_SECONDS = 10  # Docker's patience between the stop signal and SIGKILL
HEX = frozenset("0123456789abcdef")


class Status:
    """What a container is doing now.

    `.word` created, running or exited; `.pid` of its first process, 0 when there is none; `.exit_code`; `.started_at`
    and `.finished_at` (RFC 3339), `.error`, `.oom_killed`.
    """

    __slots__ = ("error", "exit_code", "finished_at", "oom_killed", "pid", "started_at", "word")

    def __init__(self, word: str, recorded: dict, pid: int = 0, started_at: str = "") -> None:
        self.word, self.pid = word, pid
        self.exit_code: int = recorded["ExitCode"] if word != "running" else 0
        self.started_at: str = started_at or recorded["StartedAt"]
        self.finished_at: str = recorded["FinishedAt"]
        self.error: str = recorded["Error"]
        self.oom_killed: bool = recorded["OOMKilled"]


class Container:
    """One container. `.id`; `.directory` (what survives a reboot), `.run_directory` (what does not); `.record`."""

    def __init__(self, container_id: str) -> None:
        self.id = container_id
        self.directory = f"{places.data}/containers/{container_id}"
        self.run_directory = f"{places.run}/containers/{container_id}"
        self._record: dict | None = None

    @property
    def record(self) -> dict:
        """What `create` wrote down (see `record.make`). Errors: NoSuchContainer when it has been removed meanwhile."""
        if self._record is None:
            try:
                self._record = store.read(f"{self.directory}/config.v2.json")
            except (FileNotFoundError, NotADirectoryError):
                raise NoSuchContainer(self.id) from None
        return self._record

    @property
    def name(self) -> str:
        """The name without Docker's slash."""
        return self.record["Name"][1:]

    @property
    def log(self) -> str:
        """The path of the json-file log."""
        return f"{self.directory}/{self.id}-json.log"

    def save(self, *, durable: bool = False) -> None:
        """Write the record, as a whole or not at all."""
        store.write(f"{self.directory}/config.v2.json", self.record, durable=durable)

    def forget(self) -> None:
        """Read the record anew when it is asked for next: another process may have changed it."""
        self._record = None

    def queue(self) -> store.lock:
        """Queue up for changing the container's status: `with container.queue(): ...`."""
        return store.lock(f"{self.directory}/.lock")

    def network(self) -> dict | None:
        """What is plugged in while it runs (see `network.networks.connect`), or None."""
        return running.network_of(self.run_directory)

    def watch(self) -> Watch | None:
        """Its monitor, or None when it has none."""
        return running.watch_of(self.run_directory)

    def status(self) -> Status:
        """What it is doing: asked of the kernel. A container whose monitor was killed is cleared away by this."""
        watch = self.watch()
        if watch is None:
            return self._at_rest()
        if not watch.alive():
            running.clear_dead(self)
            return self._at_rest()
        if watch.init and procfs.start_time(watch.init) == watch.init_start_time:
            return Status("running", self.record["State"], watch.init, watch.started_at)
        # Either on its way up (Docker calls that Created), or its program has ended and the monitor is cleaning up.
        return self._at_rest() if not watch.init else Status("exited", self._settled()["State"])

    def _at_rest(self) -> Status:
        self.forget()
        recorded = self.record["State"]
        if recorded["StartedAt"] != times.ZERO and recorded["FinishedAt"] < recorded["StartedAt"]:
            # It was running when the machine went down: nobody saw how it ended, and Docker says 255 then.
            recorded = {**recorded, "ExitCode": 255, "FinishedAt": recorded["StartedAt"]}
        return Status("created" if recorded["StartedAt"] == times.ZERO else "exited", recorded)

    def _settled(self) -> dict:
        """The record once the monitor has written the end into it, which it does first."""
        def settled() -> bool:
            self.forget()
            return self.record["State"]["FinishedAt"] != times.ZERO

        wait_until(settled, 1)
        return self.record


def find(word: str) -> Container:
    """The container with this name, id or unique beginning of an id.

    Errors: NoSuchContainer; EngineError when several ids begin like this.
    """
    owner = names.owner(places.data, word.removeprefix("/"))
    if owner and _exists(owner):
        return Container(owner)
    if len(word) == 64 and _exists(word):
        return Container(word)
    if word and HEX.issuperset(word):
        matches = [entry for entry in _ids() if entry.startswith(word)]
        if len(matches) > 1:
            raise EngineError(f"Multiple IDs found with provided prefix: {word}", exit_code=1)
        if matches:
            return Container(matches[0])
    raise NoSuchContainer(word)


def every() -> list[Container]:
    """All containers, the newest first."""
    found = []
    for container_id in _ids():
        container = Container(container_id)
        try:
            found.append((container.record["Created"], container))
        except NoSuchContainer:  # being made or removed at this moment
            continue
    return [container for _, container in sorted(found, key=lambda pair: pair[0], reverse=True)]


def _exists(container_id: str) -> bool:
    return os.path.exists(f"{places.data}/containers/{container_id}/config.v2.json")


def _ids() -> list[str]:
    try:
        return [entry for entry in os.listdir(f"{places.data}/containers") if len(entry) == 64]
    except FileNotFoundError:
        return []


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
            discard(container)
            raise
    return container


def discard(container: Container) -> None:
    """Take away all that `create` made; fine when some of it is gone already."""
    if container._record is not None:
        names.release(places.data, container.name, container.id)
    running.remove_writable_layer(container)
    store.remove_tree(container.directory)


def remove(container: Container, *, force: bool = False, volumes: bool = False) -> None:  # noqa: ARG001
    """Remove a container that does not run; with `force`, kill it first. `volumes` is for `rm -v`: minirun has none yet."""
    status = container.status()
    if status.word == "running":
        if not force:
            raise EngineError(f"You cannot remove a running container {container.id}. Stop the container before "
                              "attempting removal or force remove", exit_code=1)
        kill(container, "KILL")
    _await_monitor(container)
    if _exists(container.id):  # with --rm its monitor has removed it
        with container.queue():
            discard(container)


# ---- starting --------------------------------------------------------------------------------------------------

def run(options: Options) -> int:
    """Create a container, start it and stay with it until it ends; or leave it alone, with -d.

    Returns: its exit code.
    """
    container = create(options)
    if options.detach:
        try:
            start(container)
        finally:
            print(container.id, flush=True)
        return 0
    config = container.record["Config"]
    return start(container, attach=True, stdin=config["AttachStdin"], output=(config["AttachStdout"], config["AttachStderr"]),
                 detach_keys=options.detach_keys, signals=options.sig_proxy) or 0


def start(container: Container, *, attach: bool = False, stdin: bool = False, output: tuple[bool, bool] = (True, True),
          detach_keys: str = "", signals: bool = True) -> int | None:
    """Start a container; one that runs already is left alone, as Docker leaves it.

    Arguments: attach (bool), stay with it; stdin (bool), pass our input on; output, show its standard output and its
    standard error; detach_keys (str), Docker's notation; signals (bool), pass our signals on.
    Returns: with `attach` its exit code, else None. Errors: ProgramError (126, 127), EngineError.
    """
    sock = None
    with container.queue():
        status = container.status()
        if status.word != "running":
            _await_monitor(container)
            sock = _begin_monitor(container, attach, stdin, output)
    if not attach:
        return None
    if sock is None:
        return follow(container, stdin=stdin, output=output, detach_keys=detach_keys, signals=signals)
    return _watch(container, sock, stdin, detach_keys, signals)


def _begin_monitor(container: Container, attach: bool, stdin: bool, output: tuple[bool, bool]) -> object:
    """Fork the monitor and wait until it has started the container, or has said why it could not."""
    import _socket

    from minirun.engine import monitor
    from minirun.engine.attach import flags

    container.forget()
    ours, theirs = process.Channel.pair()
    sock, client = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET) if attach else (None, None)
    wants = flags(stdin=stdin, stdout=output[0], stderr=output[1])
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
        discard(container)
        return
    container.record["State"].update(ExitCode=error.exit_code, Error=error.message)
    container.save()


def follow(container: Container, *, stdin: bool, output: tuple[bool, bool] = (True, True), detach_keys: str = "",
           signals: bool = True) -> int:
    """Attach to a container that runs. Returns: its exit code. Errors: EngineError when it does not run."""
    from minirun.engine import attach

    try:
        sock = attach.connect(container.run_directory, attach.flags(stdin=stdin, stdout=output[0], stderr=output[1]))
    except OSError:
        raise EngineError("You cannot attach to a stopped container, start it first", exit_code=1) from None
    return _watch(container, sock, stdin, detach_keys, signals)


def _watch(container: Container, sock: object, stdin: bool, detach_keys: str, signals: bool) -> int:
    from minirun.engine.attach import DETACH_KEYS, Detached, Watcher, parse_keys

    keys = parse_keys(detach_keys) if detach_keys else DETACH_KEYS
    terminal = container.record["Config"]["Tty"]
    try:
        # In a terminal that we read, ctrl-C is a byte for the container; in one that we do not, it is our signal.
        return Watcher(sock, stdin=stdin, terminal=terminal, detach_keys=keys, signals=signals).watch()  # type: ignore[arg-type]
    except Detached:
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
        _await_monitor(container)


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
        if not _await_monitor(container, None if seconds < 0 else seconds):
            kill(container, "SIGKILL")
    except EngineError:
        _await_monitor(container)  # it has ended by itself between the look and the signal


def restart(container: Container, seconds: int | None = None) -> None:
    """Stop and start."""
    stop(container, seconds)
    start(container)


def wait(container: Container) -> int:
    """Block until a container has ended. Returns: its exit code."""
    from minirun.engine import attach

    if container.status().word != "running":
        _await_monitor(container)
        return container.status().exit_code
    try:
        sock = attach.connect(container.run_directory, 0)
    except OSError:
        _await_monitor(container)
        return container.status().exit_code
    return attach.Watcher(sock, stdin=False, terminal=False, signals=False).watch()


def _await_monitor(container: Container, seconds: float | None = None) -> bool:
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
