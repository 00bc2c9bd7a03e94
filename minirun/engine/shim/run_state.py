"""Who watches a container: what its monitor writes down while it is there, for other commands to ask about.

All of it is in the container's volatile directory, and goes with it when the monitor has cleaned up.
"""

from __future__ import annotations

import posix as os  # os without its Python half, which alone takes a tenth of `ps`

from minirun import store, timestamps
from minirun.errors import KernelError
from minirun.kernel import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.runtime.state import State


#: The file in which `cable` notes what is plugged in.
CABLE = "cable.json"
#: The file that says that another container has joined the network namespace (see `joining`).
JOINED = "joined"
#: The file in which a monitor notes the services that it had to give up, a line for each.
FAILURES = "failures"
#: The directory, among what survives a reboot, that names those who have a link to a container (see `linking`).
PARENTS = "parents"


class Watch:
    """Who watches a container: `.pid`, `.start_time` of the monitor; `.init`, `.init_start_time` of the container's
    first process (0 before it has started), `.started_at` (RFC 3339)."""

    __slots__ = ("init", "init_start_time", "pid", "start_time", "started_at")

    def __init__(self, data: dict) -> None:
        self.pid, self.start_time = data["pid"], data["startTime"]
        self.init, self.init_start_time, self.started_at = data["init"], data["initStartTime"], data["startedAt"]

    def alive(self) -> bool:
        """Whether the monitor is there: asked of the kernel."""
        return procfs.start_time(self.pid) == self.start_time

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the monitor is gone, at most so many seconds. Returns: whether it is."""
        from select import POLLIN, poll

        from minirun.kernel import syscalls  # most commands only look

        if not self.alive():
            return True
        try:
            pidfd = syscalls.pidfd_open(self.pid)
        except KernelError:  # it has ended in this moment
            return True
        try:
            poller = poll()
            poller.register(pidfd, POLLIN)
            return not self.alive() or bool(poller.poll(None if seconds is None else seconds * 1000))
        finally:
            os.close(pidfd)


def of(run_directory: str) -> Watch | None:
    """The monitor noted in a container's volatile directory, or None."""
    try:
        return Watch(store.read(f"{run_directory}/monitor.json"))
    except (FileNotFoundError, NotADirectoryError):
        return None


def note(run_directory: str, state: State | None = None) -> None:
    """Note this process as the container's monitor, and the container's first process once there is one."""
    pid = os.getpid()
    store.write(
        f"{run_directory}/monitor.json",
        {
            "pid": pid,
            "startTime": procfs.start_time(pid),
            "init": state.pid if state else 0,
            "initStartTime": state.start_time if state else 0,
            "startedAt": timestamps.now() if state else "",
        },
    )


def cable_of(run_directory: str) -> dict:
    """What is plugged into a container (see `cable`); without an endpoint while nothing is."""
    try:
        return store.read(f"{run_directory}/{CABLE}")
    except (FileNotFoundError, NotADirectoryError):
        return {"Name": "", "Inode": 0, "Endpoints": {}, "Interfaces": {}, "Ports": [], "Resolver": None}


def endpoints_of(run_directory: str) -> dict[str, dict]:
    """Its endpoints on its networks, by their names (see `network.bridge.endpoint.create`)."""
    return cable_of(run_directory)["Endpoints"]


def ports_of(run_directory: str) -> list[dict] | None:
    """Its published ports (see `network.ports`); None while they are changing."""
    return cable_of(run_directory)["Ports"]


def leads_out(endpoint: dict) -> bool:
    """Whether a network lets the world in and out: one that is internal does not, nor do `none` and `host`."""
    return bool(endpoint.get("Gateway")) and "Internal" not in endpoint


def plugging(run_directory: str) -> store.lock:
    """Queue up for changing what is plugged in: `with watch.plugging(...)`.

    It keeps `network connect` apart from the end of the container. Errors: FileNotFoundError when that has come.
    """
    return store.lock(f"{run_directory}/{CABLE}.lock")


def note_failure(run_directory: str, service: object, error: Exception) -> None:
    """Note that a service of the monitor has come to an end by an error that it did not expect."""
    place = error.__traceback__
    while place and place.tb_next:
        place = place.tb_next
    where = f"{place.tb_frame.f_code.co_filename.rpartition('/')[2]}:{place.tb_lineno}" if place else "nowhere"
    line = f"{type(service).__name__}: {type(error).__name__}: {error} ({where})\n"
    try:
        fd = os.open(f"{run_directory}/{FAILURES}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.write(fd, line.encode("utf-8", "backslashreplace"))
        os.close(fd)
    except OSError:  # a full disk: nobody can be told, and the container is not to suffer for it
        return


def failures_of(run_directory: str) -> list[str]:
    """What `note_failure` has noted; mostly nothing."""
    try:
        fd = os.open(f"{run_directory}/{FAILURES}", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return []
    try:
        return os.read(fd, 65536).decode("utf-8", "replace").splitlines()
    finally:
        os.close(fd)
