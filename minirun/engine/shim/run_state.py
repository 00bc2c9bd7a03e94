"""What a shim (process `minirun:monitor`) leaves for other commands in the container's run directory.

    monitor.json   its pid and start time, those of the container's first process, and when that was started
    failures       a line for each service that failed in it (DNS server, userland proxy)

The directory is in the exec root and is removed by the shim once it has cleaned up.
"""

from __future__ import annotations

from minirun import store, timestamps
from minirun.errors import KernelError
from minirun.kernel import procfs
from minirun.light import TYPE_CHECKING, os

if TYPE_CHECKING:
    from minirun.runtime.state import State

FAILURES = "failures"


class ShimState:
    """The contents of monitor.json.

    `.pid` and `.start_time` (clock ticks since boot) of the shim; `.init` and `.init_start_time` of the container's
    first process, 0 before it has been started; `.started_at` (RFC 3339).
    """

    __slots__ = ("init", "init_start_time", "pid", "start_time", "started_at")

    def __init__(self, data: dict) -> None:
        self.pid, self.start_time = data["pid"], data["startTime"]
        self.init, self.init_start_time, self.started_at = data["init"], data["initStartTime"], data["startedAt"]

    def alive(self) -> bool:
        """Whether the shim runs. The start time tells it from a later process with the same pid."""
        return procfs.start_time(self.pid) == self.start_time

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the shim has exited, at most so many seconds (None: for ever). Returns: whether it has."""
        from select import POLLIN, poll

        from minirun.kernel import syscalls  # most commands only read the file

        if not self.alive():
            return True
        try:
            pidfd = syscalls.pidfd_open(self.pid)
        except KernelError:  # it has exited since the line above
            return True
        try:
            poller = poll()
            poller.register(pidfd, POLLIN)
            return not self.alive() or bool(poller.poll(None if seconds is None else seconds * 1000))
        finally:
            os.close(pidfd)


def read(run_directory: str) -> ShimState | None:
    """The shim of a container; None when there is none."""
    try:
        return ShimState(store.read(f"{run_directory}/monitor.json"))
    except (FileNotFoundError, NotADirectoryError):
        return None


def write(run_directory: str, state: State | None = None) -> None:
    """Note this process as the container's shim. Arguments: state, of the container's first process once it runs."""
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


def record_failure(run_directory: str, service: object, error: Exception) -> None:
    """Append a line for a service of the shim that was stopped because of an unexpected error."""
    place = error.__traceback__
    while place and place.tb_next:
        place = place.tb_next
    where = f"{place.tb_frame.f_code.co_filename.rpartition('/')[2]}:{place.tb_lineno}" if place else "nowhere"
    line = f"{type(service).__name__}: {type(error).__name__}: {error} ({where})\n"
    try:
        fd = os.open(f"{run_directory}/{FAILURES}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.write(fd, line.encode("utf-8", "backslashreplace"))
        os.close(fd)
    except OSError:  # a full disk: there is no place to report it, and the container must not suffer from that
        return


def read_failures(run_directory: str) -> list[str]:
    """The lines of `record_failure`, normally none."""
    try:
        fd = os.open(f"{run_directory}/{FAILURES}", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return []
    try:
        return os.read(fd, 65536).decode("utf-8", "replace").splitlines()
    finally:
        os.close(fd)
