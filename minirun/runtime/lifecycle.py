"""create, start, kill, delete: the parent's side of a container's life (OCI runtime-spec, runtime.md).

`create` and `start` are apart on purpose. Between them there is a process in all its namespaces that does nothing
yet: the moment in which a cable can be plugged into its network namespace, by our own engine, by Docker or by Podman.
"""

from __future__ import annotations

import errno
import os

from minirun import rmtree, store
from minirun.errors import MinirunError
from minirun.kernel import namespaces, process, procfs, syscalls
from minirun.kernel.cgroup.cgroup import Cgroup
from minirun.kernel.socketpair import Channel
from minirun.kernel.wait import wait_until
from minirun.light import TYPE_CHECKING, signal
from minirun.runtime import init
from minirun.runtime import spec as specs
from minirun.runtime import state as states
from minirun.runtime.init import Hands
from minirun.runtime.state import State
from minirun.trace import step

if TYPE_CHECKING:
    from collections.abc import Callable


class Place:
    """Where a container is on disk: `.bundle` (str), with its config.json; `.state` (str), the directory where its
    state is kept, whose last part is the container's id."""

    __slots__ = ("bundle", "state")

    def __init__(self, bundle: str, state: str) -> None:
        self.bundle, self.state = bundle, state


def create(
    spec: dict,
    place: Place,
    *,
    stdio: tuple[int, int, int] | None = None,
    console: int = -1,
    meanwhile: Callable[[int], None] | None = None,
) -> State:
    """Create a container: all of it is there when this returns, but the user's program has not been started.

    Arguments: spec (dict), checked by `spec.load`; place, its directories; stdio, three descriptors for the program or
    None for ours; console (int), a connected socket that gets the terminal's master; meanwhile, called with the pid of
    the container's process as soon as that is in its namespaces, while it builds its root: the cable can be plugged in.
    Returns: its State, with status "created". The container's process is a child of the caller.
    Errors: ProgramError when the program cannot be executed, MinirunError for all else; nothing is left then.
    """
    container_id = os.path.basename(place.state)
    cgroup = Cgroup((spec.get("linux") or {}).get("cgroupsPath") or f"/minirun/{container_id}")
    state = State(place.state, container_id, place.bundle, cgroup.path)
    state.annotations = spec.get("annotations") or {}
    with step(f"create container {container_id[:12]}"):
        if os.path.exists(f"{place.state}/state.json"):
            raise MinirunError(f"container with given ID already exists: {container_id}")
        store.make_directory(place.state)
        state.save()  # before anything exists, so that whatever comes to be can be found and cleared
        try:
            fifo = _make_fifo(state)
            cgroup.ensure()
            cgroup.limit((spec.get("linux") or {}).get("resources") or {})
            ours, theirs = Channel.pair()
            state.pid = _spawn_init(spec, cgroup, Hands(theirs, stdio, console), fifo)
            theirs.close()
            state.start_time = procfs.start_time(state.pid) or 0
            state.save()
            _accompany(ours, state.pid, meanwhile)
            return state
        except BaseException:
            delete(state, force=True)
            raise


def _make_fifo(state: State) -> int:
    syscalls.mkfifo(state.fifo, 0o600)
    return os.open(state.fifo, os.O_RDWR | os.O_CLOEXEC)


def _spawn_init(spec: dict, cgroup: Cgroup, hands: Hands, fifo: int) -> int:
    """Begin the container's first process."""
    home = cgroup.open_v2()
    wanted = specs.namespaces(spec)
    with step("begin the container's first process"):
        # Not dumpable: nobody who gets hold of this process's /proc entry from inside can read or change it.
        syscalls.prctl("SET_DUMPABLE", 0)
        try:
            with _born_in(wanted.get("pid")):
                flags = syscalls.CLONE_NEWPID if wanted.get("pid") == "" else 0
                return process.spawn(
                    "minirun:init", "container", lambda: init.main(spec, cgroup, hands, fifo), flags=flags, cgroup=home
                )
        finally:
            syscalls.prctl("SET_DUMPABLE", 1)
            for fd in (fifo, home):
                if fd >= 0:
                    os.close(fd)


def _accompany(channel: Channel, pid: int, meanwhile: Callable[[int], None] | None) -> None:
    """Wait until the container's process is ready or has said why it cannot be; do `meanwhile` while it gets ready."""
    try:
        message = channel.receive()
        if message and meanwhile:
            try:
                meanwhile(pid)
            except MinirunError:
                channel.receive()  # if the process has failed as well, its reason is the first one, and is raised here
                raise
        if not message or not channel.receive():
            raise MinirunError(f"the container's process ended before it was ready: {_how_it_ended(pid)}")
    finally:
        channel.close()


class _born_in:
    """Let the next child be born in the pid namespace at a path: `with _born_in(path): ...`; no path, no change."""

    def __init__(self, path: str | None) -> None:
        self.path = path

    def __enter__(self) -> None:
        if self.path:
            namespaces.enter({"pid": namespaces.Opened(self.path)})

    def __exit__(self, *_: object) -> None:
        # In the child this would be too late to matter and is not reached; the parent must not stay, or its later
        # children (iptables, say) would be born in the container.
        if self.path:
            namespaces.enter({"pid": namespaces.Opened("/proc/self/ns/pid")})


def _how_it_ended(pid: int) -> str:
    try:
        code = process.end_code(pid)
    except ChildProcessError:
        return "nobody saw how"
    return f"exit code {code}" + (
        " (killed: the memory limit could be too low)" if code == 128 + signal.SIGKILL else ""
    )


def reap(pid: int) -> None:
    """Take note of a child's end; fine when it is no child of ours."""
    try:
        process.end_code(pid)
    except ChildProcessError:
        return


def start(state: State) -> None:
    """Let a created container's process become the user's program. Errors: MinirunError unless it is created."""
    with step("start the program"):
        status = state.status()
        if status not in states.MAY_START:
            raise MinirunError(f"cannot start a container that is {status}")
        try:
            fifo = os.open(state.fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as reason:
            how = "ended" if reason.errno == errno.ENXIO else "started"
            raise MinirunError(f"cannot start a container that has {how}") from None
        # The fifo's name goes first: from its absence the status "running" is read.
        os.unlink(state.fifo)
        os.write(fifo, b"!")
        os.close(fifo)


def kill(state: State, number: int, *, everybody: bool = False) -> None:
    """Send a signal to the container's first process, or to all of its processes.

    Errors: MinirunError "container not running" (callers match these words).
    """
    if everybody:
        for pid in Cgroup(state.cgroup).pids():
            process.kill(pid, procfs.start_time(pid) or 0, number)
        return
    if state.status() not in states.MAY_KILL or not process.kill(state.pid, state.start_time, number):
        raise MinirunError("container not running")


def delete(state: State, *, force: bool = False) -> None:
    """Take away what `create` made: the cgroup and the state directory. Fine when some or all of it is gone already.

    Arguments: force (bool), kill a container that is still alive.
    Errors: MinirunError when it is alive and `force` is not given.
    """
    with step("delete what create made"):
        status = state.status()
        if status not in (*states.MAY_DELETE, "creating") and not force:
            raise MinirunError(f"cannot delete container {state.id} that is not stopped: {status}")
        cgroup = Cgroup(state.cgroup)
        _kill_all(state, cgroup)
        cgroup.remove()
        rmtree.remove_tree(state.directory)


def _kill_all(state: State, cgroup: Cgroup) -> None:
    """End every process of the container. When pid 1 of a pid namespace ends, the kernel kills all others in it; those
    of a container that shares somebody else's pid namespace are found by their cgroup."""
    if state.pid:
        process.kill(state.pid, state.start_time, signal.SIGKILL)

    def emptied() -> bool:
        _reap_if_ours(state.pid)
        left = cgroup.pids()
        for pid in left:
            process.kill(pid, procfs.start_time(pid) or 0, signal.SIGKILL)
        return not left

    if not wait_until(emptied, 10):
        raise MinirunError(
            f"container {state.id[:12]}: its processes do not end", hint="see ps for state D (waiting for a disk)"
        )


def _reap_if_ours(pid: int) -> None:
    try:
        if pid:
            os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
