"""A container's state.json, and the status that is computed from it (OCI runtime-spec, runtime.md, "State").

The status itself is never stored: a file that says "running" is wrong as soon as the process is killed. The file holds
pid and start time of the init process, and the kernel is asked whether that is alive (runc's refreshState does the
same). The exec fifo, in which init waits for `start`, exists exactly while the container is created and not started.
"""

from __future__ import annotations

import os

from minirun import store
from minirun.errors import MinirunError
from minirun.kernel import procfs

FIFO = "exec.fifo"

#: The statuses in which an operation is allowed (runtime.md, "Operations").
MAY_START = ("created",)
MAY_KILL = ("created", "running", "paused")
MAY_DELETE = ("stopped",)


class State:
    """The state of a container.

    `.directory` (str), its state directory; `.id`, `.bundle` (str); `.pid` (int) and `.start_time` (int, clock ticks
    since boot) of its init process, in our pid namespace; `.cgroup` (str), the path in the cgroup hierarchies;
    `.annotations` (dict), from config.json.
    """

    __slots__ = ("annotations", "bundle", "cgroup", "directory", "id", "pid", "start_time")

    def __init__(self, directory: str, container_id: str, bundle: str, cgroup: str) -> None:
        self.directory, self.id, self.bundle, self.cgroup = directory, container_id, bundle, cgroup
        self.pid = self.start_time = 0  # 0 until init is forked: status "creating"
        self.annotations: dict[str, str] = {}

    @property
    def fifo(self) -> str:
        """The path of the exec fifo, in which init waits for `start`."""
        return f"{self.directory}/{FIFO}"

    def status(self) -> str:
        """The status now: "creating", "created", "running" or "stopped"."""
        if not self.pid:
            return "creating"
        # Not the pid alone: it may belong to another process by now.
        if procfs.start_time(self.pid) != self.start_time:
            return "stopped"
        return "created" if os.path.exists(self.fifo) else "running"

    def save(self) -> None:
        """Write state.json."""
        store.write(
            f"{self.directory}/state.json",
            {
                "id": self.id,
                "bundle": self.bundle,
                "cgroup": self.cgroup,
                "pid": self.pid,
                "startTime": self.start_time,
                "annotations": self.annotations,
            },
        )

    def describe(self) -> dict[str, object]:
        """The state as the `state` operation prints it and hooks read it on stdin (runtime.md, "State")."""
        status = self.status()
        return {
            "ociVersion": "1.0.2",
            "id": self.id,
            "status": status,
            "pid": self.pid if status in MAY_KILL else 0,  # a stopped one's pid may be in use again
            "bundle": self.bundle,
            "annotations": self.annotations,
        }


def load(directory: str) -> State:
    """Read state.json of a state directory. Errors: MinirunError when there is none."""
    try:
        data = store.read(f"{directory}/state.json")
    except (FileNotFoundError, NotADirectoryError):
        raise MinirunError(f"container {os.path.basename(directory)} does not exist") from None
    state = State(directory, data["id"], data["bundle"], data["cgroup"])
    state.pid, state.start_time, state.annotations = data["pid"], data["startTime"], data["annotations"]
    return state
