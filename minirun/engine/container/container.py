"""One container: its configuration on disk, and its status.

A container is a directory. Its status is never read from there: the directory says whom to ask, a shim and a first
process, and the kernel answers. Nothing here changes anything but the configuration; what a killed shim leaves behind
is cleared by `reconcile`, where a command begins to act.
"""

from __future__ import annotations

from minirun import store, timestamps
from minirun.engine.shim import run_state
from minirun.engine.shim.run_state import Watch
from minirun.errors import NoSuchContainer
from minirun.kernel import procfs
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon

#: In a container's directory: the lock of `Container.queue`.
QUEUE = ".lock"
#: In a container's directory: the volumes it uses (see `engine.volume.volumes`).
VOLUMES = "volumes.json"
#: The exit code of a container whose shim was killed: its first process is killed for that (128 + SIGKILL).
KILLED = 137


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


class Record(dict):
    """What `create` wrote down (see `record.make`), as it is on disk: in two files, as Docker has it.

    HostConfig is two thirds of it, and `ps` does without: it is read when it is asked for. Arguments: container.
    Errors: NoSuchContainer when it has been removed meanwhile, also later, from `record["HostConfig"]`.
    """

    __slots__ = ("container",)

    def __init__(self, container: Container) -> None:
        self.container = container
        super().__init__(self._read("config.v2.json"))

    def __missing__(self, key: str) -> dict:
        if key == "Networks":  # a container from before there were networks of one's own
            from minirun.engine.network import endpoint_config

            value = self[key] = endpoint_config.make(self["HostConfig"]["NetworkMode"], None)
            return value
        if key != "HostConfig":
            raise KeyError(key)
        value = self[key] = self._read("hostconfig.json")
        return value

    def _read(self, file: str) -> dict:
        try:
            return store.read(f"{self.container.directory}/{file}")
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchContainer(self.container.id) from None


class Container:
    """One container. `.daemon`; `.id`; `.directory` (survives a reboot), `.run_directory` (does not); `.record`."""

    def __init__(self, daemon: Daemon, container_id: str) -> None:
        self.daemon, self.id = daemon, container_id
        self.directory = f"{daemon.data_root}/containers/{container_id}"
        self.run_directory = f"{daemon.exec_root}/containers/{container_id}"
        self._record: dict | None = None

    @property
    def record(self) -> dict:
        """What `create` wrote down (see `record.make`). Errors: NoSuchContainer when it has been removed meanwhile."""
        if self._record is None:
            self._record = Record(self)
        return self._record

    @property
    def name(self) -> str:
        """The name without Docker's slash."""
        return self.record["Name"][1:]

    @property
    def log(self) -> str:
        """The path of the json-file log."""
        return f"{self.directory}/{self.id}-json.log"

    def exists(self) -> bool:
        """Whether it has been made to the end, and not been removed."""
        return store.exists(f"{self.directory}/config.v2.json")

    def save(self, *, host_config: bool = False) -> None:
        """Write the record, as a whole or not at all. Arguments: host_config (bool), whether that is new, too."""
        if host_config:
            store.write(f"{self.directory}/hostconfig.json", self.record["HostConfig"])
        rest = {key: value for key, value in self.record.items() if key != "HostConfig"}
        store.write(f"{self.directory}/config.v2.json", rest)

    def forget(self) -> None:
        """Read the record anew when it is asked for next: another process may have changed it."""
        self._record = None

    def queue(self) -> store.lock:
        """Queue up for changing the container's status: `with container.queue(): ...`."""
        if not store.exists(self.directory):  # removed since we found it
            raise NoSuchContainer(self.id)
        return store.lock(f"{self.directory}/{QUEUE}")

    def cable(self) -> dict:
        """What is plugged in while it runs (see `cable`)."""
        return run_state.cable_of(self.run_directory)

    def edit(self) -> _Editing:
        """Change the record when others may be doing the same: `with container.edit() as record: ...`."""
        return _Editing(self)

    def ports(self) -> dict[str, list[dict[str, str]] | None]:
        """NetworkSettings.Ports while it runs: what each exposed port is published as, or None."""
        exposed = self.record["Config"].get("ExposedPorts")
        if not exposed:  # what is published is exposed as well
            return {}
        cable = run_state.cable_of(self.run_directory)
        if cable["Ports"] is None or not any(map(run_state.leads_out, cable["Endpoints"].values())):
            return {}
        from minirun.network import inspect

        return inspect.ports(exposed, cable["Ports"])

    def watch(self) -> Watch | None:
        """Its monitor, or None when it has none."""
        return run_state.of(self.run_directory)

    def await_monitor(self, seconds: float | None = None) -> bool:
        """Wait until its monitor has cleaned up and is gone. Returns: whether it is."""
        watched = self.watch()
        return watched is None or watched.wait(seconds)

    def status(self) -> Status:
        """What it is doing: asked of the kernel; nothing is changed.

        One whose shim was killed counts as killed with it, though its processes may still be there: nobody has its
        output and exit code, and `reconcile` will kill them. With --rm it counts as removed.
        Errors: NoSuchContainer when it has been removed meanwhile.
        """
        watched = self.watch()
        if watched is None:
            return self._stopped()
        if watched.init and procfs.start_and_parent(watched.init) == (watched.init_start_time, watched.pid):
            return Status("running", self.record["State"], watched.init, watched.started_at)
        if watched.alive():
            # Either on its way up (Docker calls that Created), or its program has ended and the monitor is cleaning up.
            return self._stopped() if not watched.init else Status("exited", self._settled()["State"])
        last = self.watch()  # a shim that ends by itself removes this file first
        if last is None or (last.pid, last.start_time) != (watched.pid, watched.start_time):
            return self.status()
        return self._abandoned(watched)

    def _abandoned(self, watched: Watch) -> Status:
        """The status after the death of its shim: what `reconcile.clear_dead_shim` will write down."""
        self.forget()
        if self.record["HostConfig"]["AutoRemove"]:
            raise NoSuchContainer(self.id)
        if not watched.started_at:
            return self._stopped()
        from minirun.kernel.cgroup.cgroup import Cgroup

        recorded = {
            **self.record["State"],
            "StartedAt": watched.started_at,
            "FinishedAt": timestamps.now(),
            "ExitCode": KILLED,
            "Error": "",
            "OOMKilled": Cgroup(f"/minirun/{self.id}").oom_kills() > 0,
        }
        return Status("exited", recorded)

    def _stopped(self) -> Status:
        self.forget()
        recorded = self.record["State"]
        if recorded["StartedAt"] != timestamps.ZERO and not _has_ended(recorded):
            # It was running when the machine went down: nobody saw how it ended, and Docker says 255 then.
            recorded = {**recorded, "ExitCode": 255, "FinishedAt": recorded["StartedAt"]}
        return Status("created" if recorded["StartedAt"] == timestamps.ZERO else "exited", recorded)

    def _settled(self) -> dict:
        """The record once the monitor has written the end into it, which it does first."""
        from minirun.kernel.wait import wait_until  # a container is seldom met in the moment of its end

        def settled() -> bool:
            self.forget()
            return _has_ended(self.record["State"])

        wait_until(settled, 1)
        return self.record


class _Editing:
    """The record of a container as it is now, for one process at a time; written when all went well."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.lock = store.lock(f"{container.directory}/.record")

    def __enter__(self) -> dict:
        self.lock.acquire()
        self.container.forget()
        return self.container.record

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self.container.save()
        finally:
            self.lock.release()


def _has_ended(recorded: dict) -> bool:
    """Whether the last end on record belongs to the last start. (Without the Z, RFC 3339 sorts as text.)"""
    return recorded["FinishedAt"].rstrip("Z") >= recorded["StartedAt"].rstrip("Z")
