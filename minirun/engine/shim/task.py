"""A container's task: from the bundle to a running process, and back (containerd's word for a container that runs).

`start` is what happens between the fork of the shim and the first instruction of the program; `delete` undoes it. It
may be called twice, or by another process: when a shim was killed, the next command that acts on the container cleans
up (`container.reconcile`).
"""

from __future__ import annotations

import os

from minirun import rmtree, timestamps
from minirun.engine.container import index
from minirun.engine.network import sandbox, sandbox_store
from minirun.engine.shim import run_state
from minirun.errors import MinirunError
from minirun.kernel import namespaces
from minirun.kernel.cgroup.cgroup import Cgroup
from minirun.light import TYPE_CHECKING
from minirun.runtime import lifecycle
from minirun.runtime import spec as specs
from minirun.runtime import state as states
from minirun.trace import step

if TYPE_CHECKING:
    from minirun.engine.container.container import Container
    from minirun.engine.shim.relay import Relay, Service
    from minirun.engine.shim.stdio import Stdio
    from minirun.runtime.state import State


def start(container: Container, stdio: Stdio, services: list[Service]) -> tuple[State, int]:
    """Start a container from its bundle. The caller is its shim, which becomes the parent of its first process.

    Arguments: stdio, its standard streams; services, the shim's, see `sandbox.join`. Returns: the runtime's state, and
    a descriptor of the mount namespace: as long as that is open, the exit of the process need not wait for some twenty
    unmounts. Errors: MinirunError; what has been made by then is left to `delete`.
    """
    spec = specs.load(container.run_directory)
    directories = lifecycle.Directories(container.run_directory, state_directory(container))
    # The sandbox is joined to its networks while the process builds its root: neither needs the other.
    state = lifecycle.create(
        spec,
        directories,
        stdio=stdio.child_fds,
        console=stdio.console_socket,
        on_namespaces=lambda pid: sandbox.join(container, pid, services),
    )
    mounts = namespaces.Namespace(f"/proc/{state.pid}/ns/mnt").fd
    lifecycle.start(state)
    run_state.write(container.run_directory, state)
    _record_start(container)
    return state, mounts


def state_directory(container: Container) -> str:
    """The directory of the runtime's state.json for a container."""
    return f"{container.daemon.exec_root}/runtime/{container.id}"


def _record_start(container: Container) -> None:
    """Write the start into the container's State: else it would count as Created after a reboot."""
    container.record["State"].update(StartedAt=timestamps.now(), ExitCode=0, Error="", OOMKilled=False)
    if not container.record["HostConfig"]["AutoRemove"]:
        container.save()


def handle_exit(container: Container, relay: Relay, code: int, mounts: int = -1) -> None:
    """Record the exit of a container, delete its task, with --rm remove it, and tell the attached clients.

    Arguments: code (int), its exit code; mounts (int), the descriptor that `start` has returned, or -1.
    """
    for service in relay.services:
        service.stop()
    try:
        record_exit(container, code)
    except MinirunError:
        pass  # a full disk: the exit code is lost, but clients get it, and nothing must be left behind
    remains = ""
    try:
        delete(container)
        if container.record["HostConfig"]["AutoRemove"]:
            remains = index.retire(container, with_volumes=True)
    finally:
        relay.send_exit(code)  # also when something cannot be undone: the next command cleans that up
    if mounts >= 0:
        os.close(mounts)
    if remains:
        index.clear_locked(container.daemon, remains)  # last, for no client has to wait for that


def record_exit(container: Container, code: int, started_at: str = "") -> None:
    """Write the exit into the container's State; to be called before its cgroup is removed, which counts OOM kills.

    Arguments: started_at (RFC 3339), if the start has not been recorded.
    """
    if container.record["HostConfig"]["AutoRemove"]:
        return
    killed = Cgroup(f"/minirun/{container.id}").oom_kills() > 0
    with container.edit() as record:  # locked, because `network connect` may be changing it too
        state = record["State"]
        state.update(
            StartedAt=started_at or state["StartedAt"],
            FinishedAt=timestamps.now(),
            ExitCode=code,
            Error="",
            OOMKilled=killed,
        )


def delete(container: Container) -> None:
    """Undo `start`, as far as it went; may be called twice, and by another process than the shim.

    The processes first, then the network: a network namespace that is in use keeps its veth pairs. The run directory,
    which says where all the rest is, goes last.
    """
    with step("take the container down"):
        directory = state_directory(container)
        if os.path.exists(f"{directory}/state.json"):
            lifecycle.delete(states.load(directory), force=True)
        if os.path.exists(f"{container.run_directory}/{sandbox_store.FILE}"):
            sandbox.leave(container)
        rmtree.remove_tree(container.run_directory)
