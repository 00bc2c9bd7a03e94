"""The targets of a comparison: `minirun:NAME`, `docker:NAME`, `pid:N` and `host`, each found as a process.

A container is its first process: whatever makes it a container, whichever engine has made it, belongs to that process,
and the kernel shows it in /proc/PID. So an engine is only asked for a pid. Docker is asked through its client, which
knows how to reach the daemon (DOCKER_HOST, contexts, certificates).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from minirun import stringid
from minirun.engine.container import index
from minirun.errors import KernelError, MinirunError, NoSuchContainer
from minirun.kernel import process, procfs

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon

KINDS = "minirun:NAME, docker:NAME, pid:N or host"
#: What Docker's client prints for a container: id, pid (0 when it does not run), status.
TEMPLATE = "{{.Id}} {{.State.Pid}} {{.State.Status}}"


class Target:
    """One side of a comparison.

    `.word` as typed; `.engine` ("minirun", "docker" or ""); `.id` of the container, "" if it is none; `.pid`;
    `.start_time`, which tells the process from a later one with the same pid.
    """

    __slots__ = ("engine", "id", "pid", "start_time", "word")

    def __init__(self, word: str, engine: str, container_id: str, pid: int) -> None:
        self.word, self.engine, self.id, self.pid = word, engine, container_id, pid
        self.start_time = procfs.start_time(pid)
        if self.start_time is None:
            raise MinirunError(f"{word}: no such process")

    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return procfs.start_time(self.pid) == self.start_time


def find(daemon: Daemon, word: str) -> Target:
    """Find a target. Arguments: word, see the module.

    Errors: MinirunError, one line, for an unknown prefix, for a container that does not exist or does not run, and when
    Docker cannot be asked.
    """
    prefix, colon, name = word.partition(":")
    if word == "host":
        return Target(word, "", "", os.getpid())
    if prefix == "minirun" and colon:
        return _minirun(daemon, word, name)
    if not colon or prefix not in _FINDERS:
        raise MinirunError(f"{word}: cannot be looked at: expected {KINDS}")
    return _FINDERS[prefix](word, name)


def _minirun(daemon: Daemon, word: str, name: str) -> Target:
    try:
        container = index.find(daemon, name)
        status = container.status()
    except NoSuchContainer:
        raise MinirunError(f"{word}: no such container") from None
    if not status.pid:
        raise MinirunError(f"{word}: is not running ({status.state})")
    return Target(word, "minirun", container.id, status.pid)


def _docker(word: str, name: str) -> Target:
    result = ask_docker("inspect", "--type", "container", "--format", TEMPLATE, name)
    if result.code:
        complaint = first_line(result.err)
        raise MinirunError(f"{word}: " + ("no such container" if "o such container" in complaint else complaint))
    container_id, pid, status = result.out.split()
    if pid == "0":
        raise MinirunError(f"{word}: is not running ({status})")
    return Target(word, "docker", container_id, int(pid))


def _pid(word: str, name: str) -> Target:
    if not (name.isascii() and name.isdigit() and int(name)):
        raise MinirunError(f"{word}: expected a number after pid:")
    engine, container_id = _owner(int(name))
    return Target(word, engine, container_id, int(name))


_FINDERS = {"docker": _docker, "pid": _pid}


def _owner(pid: int) -> tuple[str, str]:
    """The engine and the container that a process belongs to, by the names of its cgroups: ".../docker/ID"."""
    try:
        places = [line.split(":", 2)[2] for line in procfs.read(f"/proc/{pid}/cgroup").splitlines()]
    except KernelError:
        return "", ""
    for engine in ("docker", "minirun"):
        for place in places:
            for part in place.split("/"):
                name = part.removeprefix("docker-").removesuffix(".scope")
                if stringid.is_id(name) and engine in place:
                    return engine, name
    return "", ""


def ask_docker(*words: str) -> process.Result:
    """Run Docker's client, in this process's environment. Errors: MinirunError when it is not installed."""
    return process.run(("docker", *words), check=False, environment=dict(os.environ))


def first_line(complaint: str) -> str:
    """The first line of an error output, without the program's name."""
    return (complaint.strip() or "no answer").splitlines()[0].removeprefix("Error: ").removeprefix("docker: ")
