"""The register of containers: who is there, under which name and id, and what each is doing.

A container is a directory. What it is doing is never read from there: the directory says whom to ask, a monitor and a
first process, and the kernel answers.
"""

from __future__ import annotations

import posix as os  # os without its Python half, which alone takes a tenth of `ps`

from minirun import store
from minirun.engine import paths, timestamps
from minirun.engine.container import names
from minirun.engine.shim import run_state
from minirun.engine.shim.run_state import Watch
from minirun.errors import EngineError, KernelError, MinirunError, NoSuchContainer
from minirun.kernel import procfs

HEX = frozenset("0123456789abcdef")
#: In a container's directory: who changes its status holds this (see `Container.queue`).
QUEUE = ".lock"
#: In a container's directory: the volumes it uses (see `volumes`), and that those without a name shall go with it.
VOLUMES, WITH_VOLUMES = "volumes.json", ".with-volumes"
#: What a directory is called whose container is gone, and one that has nobody in its queue yet.
REMOVED, MAKING = ".removed-", ".making-"

#: What `every` could not read, for whoever wants to say so; `system check` has more to say about it.
unreadable: list[str] = []


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
    """One container. `.id`; `.directory` (what survives a reboot), `.run_directory` (what does not); `.record`."""

    def __init__(self, container_id: str) -> None:
        self.id = container_id
        self.directory = f"{paths.data}/containers/{container_id}"
        self.run_directory = f"{paths.run}/containers/{container_id}"
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

    def status(self, *, queued: bool = False) -> Status:
        """What it is doing: asked of the kernel. What a killed monitor has left behind is cleared away by this.

        Arguments: queued (bool), whether the caller is first in the container's queue.
        Errors: NoSuchContainer when it has been removed meanwhile.
        """
        watched = self.watch()
        if watched is None:
            self._clear_bundle(queued)
            return self._at_rest()
        if watched.init and procfs.start_and_parent(watched.init) == (watched.init_start_time, watched.pid):
            return Status("running", self.record["State"], watched.init, watched.started_at)
        if not watched.alive():
            self._clear_dead(queued)
            return self._at_rest()
        # Either on its way up (Docker calls that Created), or its program has ended and the monitor is cleaning up.
        return self._at_rest() if not watched.init else Status("exited", self._settled()["State"])

    def _clear_bundle(self, queued: bool) -> None:
        """A bundle without a monitor: its command was killed before it had one; or it is being written now."""
        if store.exists(self.run_directory) and (queued or store.nobody_holds(f"{self.directory}/{QUEUE}")):
            store.remove_tree(self.run_directory)

    def _clear_dead(self, queued: bool) -> None:
        from minirun.engine.shim import task  # seldom: and it loads all that a start needs

        if queued:
            task.clear_dead(self)
            return
        with self.queue():
            task.clear_dead(self)

    def may_be_discarded(self) -> bool:
        """Whether nothing of it is left but files: none of its processes, nor a monitor that still cleans up.

        The caller has the queue. A container whose record cannot be read may be discarded too.
        """
        watched = self.watch()
        if watched and not watched.alive():
            self._clear_dead(queued=True)
            watched = None
        return watched is None and exists(self.id)

    def _at_rest(self) -> Status:
        self.forget()
        recorded = self.record["State"]
        if recorded["StartedAt"] != timestamps.ZERO and not _has_ended(recorded):
            # It was running when the machine went down: nobody saw how it ended, and Docker says 255 then.
            recorded = {**recorded, "ExitCode": 255, "FinishedAt": recorded["StartedAt"]}
        return Status("created" if recorded["StartedAt"] == timestamps.ZERO else "exited", recorded)

    def _settled(self) -> dict:
        """The record once the monitor has written the end into it, which it does first."""
        from minirun.kernel.cgroup.cgroup import wait_until  # a container is seldom met in the moment of its end

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
        self.lock.__enter__()
        self.container.forget()
        return self.container.record

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self.container.save()
        finally:
            self.lock.__exit__()


def _has_ended(recorded: dict) -> bool:
    """Whether the last end on record belongs to the last start. (Without the Z, RFC 3339 sorts as text.)"""
    return recorded["FinishedAt"].rstrip("Z") >= recorded["StartedAt"].rstrip("Z")


def find(word: str) -> Container:
    """The container with this name, id or unique beginning of an id.

    Errors: NoSuchContainer; EngineError when several ids begin like this.
    """
    owner = names.owner(paths.data, word.removeprefix("/"))
    if owner and exists(owner):
        return Container(owner)
    if len(word) == 64 and exists(word):
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
        except NoSuchContainer:
            _clear_half_made(container)
        except MinirunError as error:  # damaged: it must not hide all others
            unreadable.append(error.message)
    return [container for _, container in sorted(found, key=lambda pair: pair[0], reverse=True)]


def exists(container_id: str) -> bool:
    """Whether there is a container with this full id."""
    return store.exists(f"{paths.data}/containers/{container_id}/config.v2.json")


def _ids() -> list[str]:
    """The ids of all containers. What was cut short while it was made or removed is removed on the way."""
    directory = f"{paths.data}/containers"
    try:
        entries = os.listdir(directory)
    except FileNotFoundError:
        return []
    for entry in entries:
        path = f"{directory}/{entry}"
        if entry.startswith(REMOVED) or entry.startswith(MAKING) and store.nobody_holds(f"{path}/{QUEUE}"):
            clear(path)
    return [entry for entry in entries if len(entry) == 64]


def _clear_half_made(container: Container) -> None:
    """A directory without a record: its container is being made at this moment, or whoever made it was killed."""
    if store.nobody_holds(f"{container.directory}/{QUEUE}") and not exists(container.id):
        discard(container, with_volumes=True)
        names.release_all(paths.data, container.id)


def reserve(container: Container) -> store.lock:
    """Make the directory of a new container, with its maker first in its queue. Returns: the lock, held.

    It gets its name in the moment when it is held, so that one which is not held, and has no record, was given up.
    """
    making = f"{paths.data}/containers/{MAKING}{container.id}"
    while True:
        store.make_directory(making, 0o710)
        try:
            queue = store.lock(f"{making}/{QUEUE}").__enter__()
            os.rename(making, container.directory)
        except FileNotFoundError:  # somebody took it for given up, before we were in its queue
            continue
        except OSError as reason:
            raise KernelError(f"rename {making}", reason.errno or 0, hint=store.disk_hint(reason)) from None
        return queue


def discard(container: Container, *, with_volumes: bool = False) -> None:
    """Take away all that `create` made; fine when some of it is gone already.

    Arguments: with_volumes (bool), its volumes without a name, too.
    """
    clear(retire(container, with_volumes=with_volumes))


def retire(container: Container, *, with_volumes: bool = False) -> str:
    """Let a container be gone for everybody else, which takes one rename.

    Arguments: with_volumes (bool), and its volumes without a name with it.
    Returns: the directory with its remains, which may take their time to be removed (see `clear`).
    """
    try:
        names.release(paths.data, container.name, container.id)
    except MinirunError:  # no record, or a damaged one: a name whose container is gone counts as free
        pass
    with_volumes = with_volumes and store.exists(f"{container.directory}/{VOLUMES}")
    if with_volumes:
        store.write_text(f"{container.directory}/{WITH_VOLUMES}", "")  # for who finds the remains if we are killed
    remains = f"{paths.data}/containers/{REMOVED}{container.id}"
    try:
        os.rename(container.directory, remains)
    except FileNotFoundError:
        return remains
    except OSError as reason:
        raise KernelError(f"rename {container.directory}", reason.errno or 0, hint=store.disk_hint(reason)) from None
    if with_volumes:
        from minirun.engine.volume import volumes

        volumes.leave(remains)
    return remains


def clear(remains: str) -> None:
    """Remove what is left of a container that has been retired; fine when it is gone already."""
    if not store.exists(f"{remains}/{WITH_VOLUMES}"):
        store.remove_tree(remains)
        return
    from minirun.engine.volume import volumes  # few containers have any

    volumes.leave(remains)
    store.remove_tree(remains)
    volumes.sweep()
