"""`--network container:NAME`: two containers with one network namespace (setns(2)), and so with the same addresses.

The second one joins by path, /proc/PID/ns/net of the first one's process, and has no sandbox of its own. It has its own
UTS namespace, in which it gets the first one's host name, and it uses the first one's files in /etc.
"""

from __future__ import annotations

from minirun import store
from minirun.engine.container import index
from minirun.engine.network import sandbox_store
from minirun.errors import EngineError, KernelError, NoSuchContainer
from minirun.light import TYPE_CHECKING, os

if TYPE_CHECKING:
    from minirun.engine.container.container import Container

MODE = "container:"


def resolve_mode(container: Container) -> None:
    """Write the other container's id into a new container's NetworkMode, because its name may be given to another."""
    host_config = container.record["HostConfig"]
    name = host_config["NetworkMode"].removeprefix(MODE)
    try:
        host_config["NetworkMode"] = MODE + index.find(container.daemon, name).id
    except NoSuchContainer:
        return  # an error when the container is started


def _owner(container: Container) -> Container:
    """The container that has the network namespace. Errors: NoSuchContainer; EngineError when it is this one."""
    found = index.find(container.daemon, container.record["HostConfig"]["NetworkMode"].removeprefix(MODE))
    if found.id == container.id:
        raise EngineError("cannot join own network")
    return found


def prepare(container: Container) -> dict:
    """Before the start: take over the other container's host name.

    Returns: "namespace", the path of its network namespace, and "files", the directory of its files in /etc.
    Errors: NoSuchContainer; EngineError when it does not run.
    """
    owner = _owner(container)
    pid = owner.init_pid()
    if not pid:
        raise EngineError(f"cannot join network of a non running container: {owner.id}")
    config = owner.record["Config"]
    container.record["Config"].update(Hostname=config["Hostname"], Domainname=config["Domainname"])
    container.save()
    # The owner's shim must delete the veth pairs when the owner exits, because the namespace goes on.
    store.write_text(f"{owner.run_directory}/{sandbox_store.JOINED}", "")
    return {"namespace": f"/proc/{pid}/ns/net", "files": owner.directory}


def verify(container: Container, pid: int) -> None:
    """Check that the container's process is in the owner's network namespace, and not in that of a reused pid.

    Errors: EngineError when the owner has exited in the meantime.
    """
    owner = _owner(container)
    owner_pid = owner.init_pid()
    try:
        if owner_pid and os.stat(f"/proc/{owner_pid}/ns/net").st_ino == os.stat(f"/proc/{pid}/ns/net").st_ino:
            return
    except OSError as reason:
        raise KernelError(f"stat /proc/{pid}/ns/net", reason.errno or 0) from None
    raise EngineError(f"cannot join network of a non running container: {owner.id}")
