"""One container: its configuration on disk and its status (moby, container/container.go and state.go).

A container is a directory. Its status is not stored there: the directory names two processes, the shim and the
container's first process, and the kernel is asked about them. Nothing here changes anything but the configuration; what
a killed shim leaves behind is cleared by `reconcile`, where a command begins to act.
"""

from __future__ import annotations

from minirun import store, timestamps
from minirun.engine.network import sandbox_store
from minirun.engine.shim import run_state
from minirun.engine.shim.run_state import ShimState
from minirun.errors import NoSuchContainer
from minirun.kernel import procfs
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon

#: In a container's directory: the file that `Container.lock` locks.
LOCK = ".lock"
#: In a container's directory: the volumes that it uses (see `engine.volume.volumes`).
VOLUMES = "volumes.json"
#: The exit code of a container whose shim was killed: its first process is killed for that (128 + SIGKILL).
KILLED = 137


class Status:
    """The State of a container, as `docker inspect` shows it.

    `.state` ("created", "running" or "exited"); `.pid` (int) of its first process, 0 when there is none; `.exit_code`
    (int); `.started_at` and `.finished_at` (str, RFC 3339); `.error` (str); `.oom_killed` (bool).
    """

    __slots__ = ("error", "exit_code", "finished_at", "oom_killed", "pid", "started_at", "state")

    def __init__(self, state: str, recorded: dict, pid: int = 0, started_at: str = "") -> None:
        self.state, self.pid = state, pid
        self.exit_code: int = recorded["ExitCode"] if state != "running" else 0
        self.started_at: str = started_at or recorded["StartedAt"]
        self.finished_at: str = recorded["FinishedAt"]
        self.error: str = recorded["Error"]
        self.oom_killed: bool = recorded["OOMKilled"]


class Record(dict):
    """A container's configuration (see `config.make`), read from Docker's two files: config.v2.json, hostconfig.json.

    HostConfig is two thirds of it, and `ps` does not need it: its file is read at the first `record["HostConfig"]`.
    Errors: NoSuchContainer when the container has been removed in the meantime, also from `record["HostConfig"]`.
    """

    __slots__ = ("container",)

    def __init__(self, container: Container) -> None:
        self.container = container
        super().__init__(self._read("config.v2.json"))

    def __missing__(self, key: str) -> dict:
        if key == "Networks":  # made by a release that had no user-defined networks
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
    """One container.

    `.daemon`, whose container it is; `.id` (64 hex digits); `.directory` in the data root, which survives a reboot;
    `.run_directory` in the exec root, which exists while it runs and is the OCI bundle; `.record`, its configuration.
    """

    def __init__(self, daemon: Daemon, container_id: str) -> None:
        self.daemon, self.id = daemon, container_id
        self.directory = f"{daemon.data_root}/containers/{container_id}"
        self.run_directory = f"{daemon.exec_root}/containers/{container_id}"
        self._record: dict | None = None

    @property
    def record(self) -> dict:
        """Its configuration (see `config.make`). Errors: NoSuchContainer when it has been removed in the meantime."""
        if self._record is None:
            self._record = Record(self)
        return self._record

    @property
    def name(self) -> str:
        """Its name, without the leading slash of the record."""
        return self.record["Name"][1:]

    @property
    def log(self) -> str:
        """The path of its json-file log."""
        return f"{self.directory}/{self.id}-json.log"

    def exists(self) -> bool:
        """Whether `create` has finished it and it has not been removed."""
        return store.exists(f"{self.directory}/config.v2.json")

    def save(self, *, host_config: bool = False) -> None:
        """Write config.v2.json atomically. Arguments: host_config (bool), hostconfig.json too, for `create`."""
        if host_config:
            store.write(f"{self.directory}/hostconfig.json", self.record["HostConfig"])
        rest = {key: value for key, value in self.record.items() if key != "HostConfig"}
        store.write(f"{self.directory}/config.v2.json", rest)

    def reload(self) -> None:
        """Have the record read again when it is next used: another process may have changed it."""
        self._record = None

    def lock(self) -> store.lock:
        """The lock that serialises what starts, stops and removes it: `with container.lock(): ...`.

        Errors: NoSuchContainer.
        """
        if not store.exists(self.directory):  # removed since it was found
            raise NoSuchContainer(self.id)
        return store.lock(f"{self.directory}/{LOCK}")

    def sandbox(self) -> dict:
        """Its sandbox while it runs: endpoints, published ports, resolver (see `engine.network.sandbox_store`)."""
        return sandbox_store.read(self.run_directory)

    def edit(self) -> _RecordUpdate:
        """Read, change and write the record under a lock of its own: `with container.edit() as record: ...`."""
        return _RecordUpdate(self)

    def layers(self) -> list[str]:
        """The directories of its image's layers, lowest first. By the record, for a tag may have moved."""
        from minirun.image.content.layout import Layout

        layout = Layout(f"{self.daemon.data_root}/images")
        return [layout.layer(chain_id) for chain_id in self.record["LayerIDs"]]

    def ports(self) -> dict[str, list[dict[str, str]] | None]:
        """NetworkSettings.Ports while it runs: for each exposed port its bindings on the host, or None."""
        exposed = self.record["Config"].get("ExposedPorts")
        if not exposed:  # a published port is always exposed as well
            return {}
        sandbox = self.sandbox()
        if sandbox["Ports"] is None or not any(map(sandbox_store.has_external_access, sandbox["Endpoints"].values())):
            return {}
        from minirun.network import inspect

        return inspect.ports(exposed, sandbox["Ports"])

    def shim_state(self) -> ShimState | None:
        """Its shim (process `minirun:monitor`) as noted in the exec root; None when there is none."""
        return run_state.read(self.run_directory)

    def init_pid(self) -> int:
        """The pid of its first process, 0 when that does not run."""
        shim = self.shim_state()
        if shim is None or not shim.init:
            return 0
        return shim.init if procfs.start_and_parent(shim.init) == (shim.init_start_time, shim.pid) else 0

    def wait_for_shim(self, seconds: float | None = None) -> bool:
        """Wait until its shim has cleaned up and exited. Arguments: seconds, None for ever. Returns: whether it has."""
        shim = self.shim_state()
        return shim is None or shim.wait(seconds)

    def status(self) -> Status:
        """Its status, as the kernel knows it. Changes nothing.

        A container whose shim was killed counts as killed with it, although its processes may still be there: their
        output and exit code are lost, and `reconcile` will kill them. With --rm it counts as removed.
        Errors: NoSuchContainer when it has been removed in the meantime.
        """
        shim = self.shim_state()
        if shim is None:
            return self._stopped()
        if shim.init and procfs.start_and_parent(shim.init) == (shim.init_start_time, shim.pid):
            return Status("running", self.record["State"], shim.init, shim.started_at)
        if shim.alive():
            # Either it is being started, which Docker calls Created, or it has exited and the shim is cleaning up.
            return self._stopped() if not shim.init else Status("exited", self._record_with_end()["State"])
        last = self.shim_state()  # a shim removes this file before it exits, unless it was killed
        if last is None or (last.pid, last.start_time) != (shim.pid, shim.start_time):
            return self.status()
        return self._killed_with(shim)

    def _killed_with(self, shim: ShimState) -> Status:
        """The status after its shim was killed: what `reconcile.clear_dead_shim` will write into the record."""
        self.reload()
        if self.record["HostConfig"]["AutoRemove"]:
            raise NoSuchContainer(self.id)
        if not shim.started_at:
            return self._stopped()
        from minirun.kernel.cgroup.cgroup import Cgroup

        recorded = {
            **self.record["State"],
            "StartedAt": shim.started_at,
            "FinishedAt": timestamps.now(),
            "ExitCode": KILLED,
            "Error": "",
            "OOMKilled": Cgroup(f"/minirun/{self.id}").oom_kills() > 0,
        }
        return Status("exited", recorded)

    def _stopped(self) -> Status:
        """The status without a shim: what the record says."""
        self.reload()
        recorded = self.record["State"]
        if recorded["StartedAt"] != timestamps.ZERO and not _has_ended(recorded):
            # It was running when the machine went down, so its exit code is not known: Docker says 255 then.
            recorded = {**recorded, "ExitCode": 255, "FinishedAt": recorded["StartedAt"]}
        return Status("created" if recorded["StartedAt"] == timestamps.ZERO else "exited", recorded)

    def _record_with_end(self) -> dict:
        """The record once the shim has written the exit code into it, which it does first; waits at most 1 s."""
        from minirun.kernel.wait import wait_until

        def is_written() -> bool:
            self.reload()
            return _has_ended(self.record["State"])

        wait_until(is_written, 1)
        return self.record


class _RecordUpdate:
    """A locked read-modify-write of a container's record; nothing is written when the block raises."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.lock = store.lock(f"{container.directory}/.record")

    def __enter__(self) -> dict:
        self.lock.acquire()
        self.container.reload()
        return self.container.record

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self.container.save()
        finally:
            self.lock.release()


def _has_ended(recorded: dict) -> bool:
    """Whether the recorded end belongs to the last start. (RFC 3339 without the Z sorts as text.)"""
    return recorded["FinishedAt"].rstrip("Z") >= recorded["StartedAt"].rstrip("Z")
