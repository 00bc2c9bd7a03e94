"""The operations of the OCI runtime: create, start, kill, delete, on the parent's side (OCI runtime-spec, runtime.md).

`create` and `start` are separate on purpose. Between them there is a process in all its namespaces that does nothing
yet: the moment in which a network can be connected to its network namespace, by our own engine, by Docker or by Podman.
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
from minirun.runtime.init import InheritedFds
from minirun.runtime.state import State
from minirun.trace import step

if TYPE_CHECKING:
    from collections.abc import Callable


class Directories:
    """The directories of a container: `.bundle` (str), which holds config.json; `.state` (str), for its runtime state,
    whose last component is the container's ID."""

    __slots__ = ("bundle", "state")

    def __init__(self, bundle: str, state: str) -> None:
        self.bundle, self.state = bundle, state


def create(
    spec: dict,
    directories: Directories,
    *,
    stdio: tuple[int, int, int] | None = None,
    console: int = -1,
    on_namespaces: Callable[[int], None] | None = None,
) -> State:
    """Create a container: when this returns all of it exists, but the user's program has not been started.

    Arguments: spec (dict), checked by `spec.load`; stdio, three descriptors for the program, or None for ours; console
    (int), a connected Unix socket that is sent the terminal's master; on_namespaces, called with the pid of the init
    process as soon as its namespaces exist, while it builds its root file system (the moment of OCI's createRuntime
    hooks).
    Returns: its State, with status "created". The init process is a child of the caller.
    Errors: ProgramError when the program cannot be executed, MinirunError for others; nothing is left behind then.
    """
    container_id = os.path.basename(directories.state)
    cgroup = Cgroup((spec.get("linux") or {}).get("cgroupsPath") or f"/minirun/{container_id}")
    state = State(directories.state, container_id, directories.bundle, cgroup.path)
    state.annotations = spec.get("annotations") or {}
    with step(f"create container {container_id[:12]}"):
        if os.path.exists(f"{directories.state}/state.json"):
            raise MinirunError(f"container with given ID already exists: {container_id}")
        store.make_directory(directories.state)
        # Saved before anything exists, so that after a kill -9 the next command finds what to remove.
        state.save()
        try:
            fifo = _make_fifo(state)
            # Limits before the process: it must not run for a moment without them.
            cgroup.ensure()
            cgroup.limit((spec.get("linux") or {}).get("resources") or {})
            ours, theirs = Channel.pair()
            state.pid = _spawn_init(spec, cgroup, InheritedFds(theirs, stdio, console), fifo)
            # Only the child may hold this end, or its death would not read as end of file.
            theirs.close()
            state.start_time = procfs.start_time(state.pid) or 0
            state.save()
            _wait_until_ready(ours, state.pid, on_namespaces)
            return state
        except BaseException:  # also KeyboardInterrupt: a half-made container has no other owner
            delete(state, force=True)
            raise


def _make_fifo(state: State) -> int:
    """Make the exec fifo, in which init waits for `start`, and open it so that init inherits it."""
    # For reading and writing: open(2) does not block then, and init needs no path to it after pivot_root (fifo(7)).
    syscalls.mkfifo(state.fifo, 0o600)
    return os.open(state.fifo, os.O_RDWR | os.O_CLOEXEC)


def _spawn_init(spec: dict, cgroup: Cgroup, fds: InheritedFds, fifo: int) -> int:
    """Fork the container's first process, in its cgroup and pid namespace. Returns: its pid."""
    cgroup_fd = cgroup.open_v2()
    wanted = specs.namespaces(spec)
    with step("begin the container's first process"):
        # Not dumpable, and inherited by the child: no process inside the container may trace it, take descriptors from
        # its /proc/PID/fd (CVE-2016-9962) or reach our interpreter by /proc/PID/exe (CVE-2019-5736) before execve.
        syscalls.prctl("SET_DUMPABLE", 0)
        try:
            with _pid_namespace(wanted.get("pid")):
                flags = syscalls.CLONE_NEWPID if wanted.get("pid") == "" else 0
                return process.spawn(
                    "minirun:init",
                    "container",
                    lambda: init.main(spec, cgroup, fds, fifo),
                    flags=flags,
                    cgroup=cgroup_fd,
                )
        finally:
            # The shim keeps reading its own /proc entries, which belong to root while a process is not dumpable.
            syscalls.prctl("SET_DUMPABLE", 1)
            for fd in (fifo, cgroup_fd):
                if fd >= 0:
                    os.close(fd)


def _wait_until_ready(channel: Channel, pid: int, on_namespaces: Callable[[int], None] | None) -> None:
    """Wait for init's two messages, "namespaces" and "ready", and call `on_namespaces` in between.

    Errors: the one that init has sent; MinirunError when it ended without any.
    """
    try:
        message = channel.receive()
        if message and on_namespaces:
            try:
                on_namespaces(pid)
            except MinirunError:
                # If init has failed too, ours failed because of that: its error is raised here instead.
                channel.receive()
                raise
        if not message or not channel.receive():
            raise MinirunError(f"the container's process ended before it was ready: {_describe_exit(pid)}")
    finally:
        channel.close()


class _pid_namespace:
    """Let the next child be born in the pid namespace at `path`, if one is given: `with _pid_namespace(path): ...`."""

    def __init__(self, path: str | None) -> None:
        self.path = path

    def __enter__(self) -> None:
        if self.path:
            namespaces.enter({"pid": namespaces.Namespace(self.path)})

    def __exit__(self, *_: object) -> None:
        # Not reached in the child. The parent must go back, or its later children (iptables, say) would be born in the
        # container's pid namespace, and be killed with it.
        if self.path:
            namespaces.enter({"pid": namespaces.Namespace("/proc/self/ns/pid")})


def _describe_exit(pid: int) -> str:
    """How a child of ours ended, for an error message."""
    try:
        code = process.wait_exit_code(pid)
    except ChildProcessError:
        return "nobody saw how"
    # The OOM killer sends SIGKILL, and a limit too low for init itself is the usual cause; crun gives the same hint.
    hint = " (killed: the memory limit could be too low)" if code == 128 + signal.SIGKILL else ""
    return f"exit code {code}{hint}"


def reap(pid: int) -> None:
    """Wait for a child and drop its exit code, so that it does not stay a zombie; no error when it is not our child."""
    try:
        process.wait_exit_code(pid)
    except ChildProcessError:
        return


def start(state: State) -> None:
    """Let init execute the user's program. Errors: MinirunError unless the container's status is "created"."""
    with step("start the program"):
        status = state.status()
        if status not in states.MAY_START:
            raise MinirunError(f"cannot start a container that is {status}")
        try:
            # O_NONBLOCK: when init is dead there is no reader, and this fails with ENXIO instead of waiting (fifo(7)).
            fifo = os.open(state.fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as reason:
            how = "ended" if reason.errno == errno.ENXIO else "started"
            raise MinirunError(f"cannot start a container that has {how}") from None
        # Unlinked before the byte is written: status() reads "running" from its absence, and the
        # program may end before we come to it.
        os.unlink(state.fifo)
        os.write(fifo, b"!")
        os.close(fifo)


def kill(state: State, number: int, *, all_processes: bool = False) -> None:
    """Send a signal to the container's first process, or with `all_processes` to every process in its cgroup.

    Arguments: number (int), the signal. Errors: MinirunError "container not running", which callers match.
    """
    if all_processes:
        for pid in Cgroup(state.cgroup).pids():
            process.kill(pid, procfs.start_time(pid) or 0, number)
        return
    if state.status() not in states.MAY_KILL or not process.kill(state.pid, state.start_time, number):
        raise MinirunError("container not running")


def delete(state: State, *, force: bool = False) -> None:
    """Remove what `create` made: processes, cgroup and state directory. Idempotent.

    Arguments: force (bool), kill a container that is alive. Errors: MinirunError when it is alive and `force` is False.
    """
    with step("delete what create made"):
        status = state.status()
        if status not in (*states.MAY_DELETE, "creating") and not force:
            raise MinirunError(f"cannot delete container {state.id} that is not stopped: {status}")
        cgroup = Cgroup(state.cgroup)
        # The state last: if this is interrupted, the next delete finds from it what is left.
        _kill_all(state, cgroup)
        cgroup.remove()
        rmtree.remove_tree(state.directory)


def _kill_all(state: State, cgroup: Cgroup) -> None:
    """Kill every process of the container. Errors: MinirunError when one does not end within 10 s."""
    # When pid 1 of a pid namespace ends, the kernel kills all others in it (pid_namespaces(7)). The processes of a
    # container that shares another pid namespace are found by its cgroup, and again until none is left: they may fork.
    if state.pid:
        process.kill(state.pid, state.start_time, signal.SIGKILL)

    def emptied() -> bool:
        _reap_if_ours(state.pid)  # a zombie stays in its cgroup until it is waited for
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
