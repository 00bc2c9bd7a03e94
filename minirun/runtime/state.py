"""A container's state directory, and its status, which is never stored (OCI runtime-spec, runtime.md, "State").

The disk only remembers whom to ask: pid and start time of the container's first process. Whether it lives, only the
kernel knows; a file that says "running" is a lie as soon as the process is killed. One more file speaks: the fifo in
which `init` waits for `start` is there as long as the container is created and not started.
"""

from __future__ import annotations

import os

from minirun import store
from minirun.errors import MinirunError
from minirun.kernel import procfs

FIFO = "exec.fifo"

#: What may be done in which status (runtime.md, "Operations").
MAY_START = ("created",)
MAY_KILL = ("created", "running", "paused")
MAY_DELETE = ("stopped",)


class State:
    """What is known of a container.

    `.directory` (str) its state directory; `.id`, `.bundle` (str); `.pid`, `.start_time` (int) of its first process, as
    this pid namespace numbers it; `.cgroup` (str) the path in the cgroup trees; `.annotations` (dict).
    """

    __slots__ = ("annotations", "bundle", "cgroup", "directory", "id", "pid", "start_time")

    def __init__(self, directory: str, container_id: str, bundle: str, cgroup: str) -> None:
        self.directory, self.id, self.bundle, self.cgroup = directory, container_id, bundle, cgroup
        self.pid = self.start_time = 0
        self.annotations: dict[str, str] = {}

    @property
    def fifo(self) -> str:
        """The path of the fifo in which `init` waits for `start`."""
        return f"{self.directory}/{FIFO}"

    def status(self) -> str:
        """ "creating", "created", "running" or "stopped": asked of the kernel now."""
        if not self.pid:
            return "creating"
        if procfs.start_time(self.pid) != self.start_time:
            return "stopped"
        return "created" if os.path.exists(self.fifo) else "running"

    def save(self) -> None:
        """Remember whom to ask."""
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
        """The state as `state` prints it and hooks read it (runtime.md, "State")."""
        status = self.status()
        return {
            "ociVersion": "1.0.2",
            "id": self.id,
            "status": status,
            "pid": self.pid if status in MAY_KILL else 0,
            "bundle": self.bundle,
            "annotations": self.annotations,
        }


def load(directory: str) -> State:
    """The state that was saved in `directory`. Errors: MinirunError when there is none."""
    try:
        data = store.read(f"{directory}/state.json")
    except (FileNotFoundError, NotADirectoryError):
        raise MinirunError(f"container {os.path.basename(directory)} does not exist") from None
    state = State(directory, data["id"], data["bundle"], data["cgroup"])
    state.pid, state.start_time, state.annotations = data["pid"], data["startTime"], data["annotations"]
    return state
