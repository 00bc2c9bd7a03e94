"""`--network container:NAME`: two containers with one network namespace (setns(2)), and so with one set of addresses.

The second one joins by path, /proc/PID/ns/net of the first one's process, and has no cable of its own. It has its own
UTS namespace, in which it gets the other's host name, and the other's files in /etc.
"""

from __future__ import annotations

import posix as os

from minirun import store
from minirun.engine.container import index
from minirun.engine.shim import run_state
from minirun.errors import EngineError, KernelError, NoSuchContainer
from minirun.kernel import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.container.container import Container

MODE = "container:"


def settle(container: Container) -> None:
    """Write the id of the other container into a new record, if there is one: its name may change hands later."""
    host_config = container.record["HostConfig"]
    try:
        host_config["NetworkMode"] = (
            MODE + index.find(container.daemon, host_config["NetworkMode"].removeprefix(MODE)).id
        )
    except NoSuchContainer:
        return  # whoever starts it hears of that


def other(container: Container) -> Container:
    """The container whose network this one shares. Errors: NoSuchContainer; EngineError when it has named itself."""
    found = index.find(container.daemon, container.record["HostConfig"]["NetworkMode"].removeprefix(MODE))
    if found.id == container.id:
        raise EngineError("cannot join own network")
    return found


def join(container: Container) -> dict:
    """Get ready to join another container's network: take its host name.

    Returns: "namespace", the path of its network namespace, and "files", the directory of its files in /etc.
    Errors: NoSuchContainer; EngineError when it does not run.
    """
    found = other(container)
    pid = pid_of(found)
    if not pid:
        raise EngineError(f"cannot join network of a non running container: {found.id}")
    theirs = found.record["Config"]
    container.record["Config"].update(Hostname=theirs["Hostname"], Domainname=theirs["Domainname"])
    container.save()
    # It is to pull its cables out when it ends, although the namespace goes on.
    store.write_text(f"{found.run_directory}/{run_state.JOINED}", "")
    return {"namespace": f"/proc/{pid}/ns/net", "files": found.directory}


def ensure_joined(container: Container, pid: int) -> None:
    """See that the container's process is in the network of the other, and not of who got its pid.

    Errors: EngineError when the other has ended meanwhile.
    """
    found = other(container)
    theirs = pid_of(found)
    try:
        if theirs and os.stat(f"/proc/{theirs}/ns/net").st_ino == os.stat(f"/proc/{pid}/ns/net").st_ino:
            return
    except OSError as reason:
        raise KernelError(f"stat /proc/{pid}/ns/net", reason.errno or 0) from None
    raise EngineError(f"cannot join network of a non running container: {found.id}")


def pid_of(container: Container) -> int:
    """A container's first process, 0 when there is none."""
    watched = container.shim_state()
    if watched is None or not watched.init:
        return 0
    alive = procfs.start_and_parent(watched.init) == (watched.init_start_time, watched.pid)
    return watched.init if alive else 0
