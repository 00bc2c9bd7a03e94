"""The register of containers: who is there, under which name and id, and what each is doing.

A container is a directory. What it is doing is never read from there: the directory says whom to ask, a monitor and a
first process, and the kernel answers.
"""

from __future__ import annotations

import os

from minirun import store
from minirun.engine import names, places, running, times
from minirun.engine.running import Watch
from minirun.errors import EngineError, NoSuchContainer
from minirun.kernel import procfs
from minirun.kernel.cgroups import wait_until

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
    def known(self) -> bool:
        """Whether there is a record: an attempt to make a container may have ended before that."""
        return self._record is not None or exists(self.id)

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
        if not os.path.isdir(self.directory):  # removed since we found it
            raise NoSuchContainer(self.id)
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
        if recorded["StartedAt"] != times.ZERO and not _has_ended(recorded):
            # It was running when the machine went down: nobody saw how it ended, and Docker says 255 then.
            recorded = {**recorded, "ExitCode": 255, "FinishedAt": recorded["StartedAt"]}
        return Status("created" if recorded["StartedAt"] == times.ZERO else "exited", recorded)

    def _settled(self) -> dict:
        """The record once the monitor has written the end into it, which it does first."""
        def settled() -> bool:
            self.forget()
            return _has_ended(self.record["State"])

        wait_until(settled, 1)
        return self.record


def _has_ended(recorded: dict) -> bool:
    """Whether the last end on record belongs to the last start. (Without the Z, RFC 3339 sorts as text.)"""
    return recorded["FinishedAt"].rstrip("Z") >= recorded["StartedAt"].rstrip("Z")


def find(word: str) -> Container:
    """The container with this name, id or unique beginning of an id.

    Errors: NoSuchContainer; EngineError when several ids begin like this.
    """
    owner = names.owner(places.data, word.removeprefix("/"))
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
        except NoSuchContainer:  # being made or removed at this moment
            continue
    return [container for _, container in sorted(found, key=lambda pair: pair[0], reverse=True)]


def exists(container_id: str) -> bool:
    """Whether there is a container with this full id."""
    return os.path.exists(f"{places.data}/containers/{container_id}/config.v2.json")


def _ids() -> list[str]:
    try:
        return [entry for entry in os.listdir(f"{places.data}/containers") if len(entry) == 64]
    except FileNotFoundError:
        return []
