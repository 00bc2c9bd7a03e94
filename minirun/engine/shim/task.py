"""From a bundle to a running container and back: each step up, and the way down that undoes it.

`bring_up` is what happens between the fork of the monitor and the first instruction of the program; `take_down` undoes
it and may be called twice, or by another process: when a shim was killed, the next command that acts on the
container clears up (`container.reconcile`).
"""

from __future__ import annotations

import os

from minirun import rmtree, timestamps
from minirun.engine.network import sandbox
from minirun.engine.shim import run_state
from minirun.kernel import namespaces
from minirun.kernel.cgroup.cgroup import Cgroup
from minirun.runtime import lifecycle
from minirun.runtime import spec as specs
from minirun.runtime import state as states
from minirun.trace import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.container.container import Container
    from minirun.engine.shim.relay import Service
    from minirun.engine.shim.stdio import Ends
    from minirun.runtime.state import State


# ---- up --------------------------------------------------------------------------------------------------------


def bring_up(container: Container, ends: Ends, services: list[Service]) -> tuple[State, int]:
    """Take a container from its bundle to a running program. The caller is its monitor and becomes its parent.

    Arguments: ends, of the program's standard streams; services, of the monitor, see `cable.plug_in`. Returns: its
    state, and its mount namespace, open: while that is held, the end of its process need not wait for some twenty
    unmounts.
    What was made when something fails is left to `take_down`.
    """
    spec = specs.load(container.run_directory)
    directories = lifecycle.Directories(container.run_directory, state_directory(container))
    # While its process builds its root, the cable is plugged in: neither needs the other.
    state = lifecycle.create(
        spec,
        directories,
        stdio=ends.given,
        console=ends.console,
        on_namespaces=lambda pid: sandbox.plug_in(container, pid, services),
    )
    mounts = namespaces.Namespace(f"/proc/{state.pid}/ns/mnt").fd
    lifecycle.start(state)
    run_state.note(container.run_directory, state)
    note_start(container)
    return state, mounts


def state_directory(container: Container) -> str:
    """Where the runtime keeps the container's state."""
    return f"{container.daemon.exec_root}/runtime/{container.id}"


def note_start(container: Container) -> None:
    """Write into the record that it has started: a reboot would otherwise leave it as one that never was."""
    container.record["State"].update(StartedAt=timestamps.now(), ExitCode=0, Error="", OOMKilled=False)
    if not container.record["HostConfig"]["AutoRemove"]:
        container.save()


# ---- down ------------------------------------------------------------------------------------------------------


def note_end(container: Container, code: int, started_at: str = "") -> None:
    """Write into the record how the container has ended; must come before its cgroup goes, which knows of OOM kills.

    Arguments: started_at, when it has started, if nobody could write that down yet.
    """
    if container.record["HostConfig"]["AutoRemove"]:
        return
    killed = Cgroup(f"/minirun/{container.id}").oom_kills() > 0
    with container.edit() as record:  # somebody may connect it with a network at this moment
        state = record["State"]
        state.update(
            StartedAt=started_at or state["StartedAt"],
            FinishedAt=timestamps.now(),
            ExitCode=code,
            Error="",
            OOMKilled=killed,
        )


def take_down(container: Container) -> None:
    """Undo `bring_up`, as far as it came; may be called twice, and by somebody else than the one who brought it up.

    The processes first, then the name: a network namespace that is still in use keeps its cable. The directory that
    says where all the rest is goes last.
    """
    with step("take the container down"):
        directory = state_directory(container)
        if os.path.exists(f"{directory}/state.json"):
            lifecycle.delete(states.load(directory), force=True)
        if os.path.exists(f"{container.run_directory}/{run_state.CABLE}"):
            sandbox.unplug(container)
        rmtree.remove_tree(container.run_directory)
