"""Clearing up after a kill -9: of a shim, of a `start`, of a `create` or `rm`.

There is no daemon that would notice a crash. So a command does, where it begins to act: `stop`, `kill` and `exec`
reconcile the container that they are about; `create`, `run`, `start`, `rm`, and what removes networks, volumes or
images reconcile all. A command that only asks (`ps`, `inspect`, `logs`) changes nothing (see `Container.status`).
containerd does the same when it finds a dead shim.
"""

from __future__ import annotations

from minirun import rmtree, store
from minirun.engine.container import names
from minirun.engine.container.container import KILLED, LOCK, Container, Status
from minirun.engine.container.index import MAKING, REMOVED, clear, discard
from minirun.errors import MinirunError
from minirun.light import TYPE_CHECKING, os

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon


def reconcile(container: Container) -> None:
    """Clear up what a killed shim or a killed `start` has left. The caller holds the container's lock."""
    if container.shim_state() is not None:
        clear_dead_shim(container)
    elif store.exists(container.run_directory):
        rmtree.remove_tree(container.run_directory)  # a bundle: its `start` was killed before there was a shim


def reconciled_status(container: Container) -> Status:
    """The status of a container after `reconcile`. The caller holds the container's lock.

    Errors: NoSuchContainer when it has been removed: also by this, if it had --rm and its shim was killed.
    """
    reconcile(container)
    return container.status()


def clear_dead_shim(container: Container) -> bool:
    """Clear up after a shim that was killed. The caller holds the container's lock.

    The container's processes are killed, since their output and exit code are lost.
    Returns: whether there was a dead shim and the container had started under it.
    """
    shim = container.shim_state()
    if shim is None or shim.alive():
        return False
    from minirun.engine.shim import task

    container.reload()
    if shim.started_at:
        task.record_exit(container, KILLED, shim.started_at)
    task.delete(container)
    if container.record["HostConfig"]["AutoRemove"]:
        discard(container, with_volumes=True)
    return bool(shim.started_at)


def reconcile_all(daemon: Daemon) -> None:
    """Reconcile all containers, and remove what a killed `create` or `rm` has left.

    A container whose lock another command holds is left to that command. What cannot be cleared is passed over, so that
    it does not keep another container from being created; `system check` says why.
    """
    directory = f"{daemon.data_root}/containers"
    for entry in _entries(directory):
        path = f"{directory}/{entry}"
        try:
            if entry.startswith((REMOVED, MAKING)) and store.is_unlocked(f"{path}/{LOCK}"):
                clear(daemon, path)
            elif len(entry) == 64 and not (container := Container(daemon, entry)).exists():
                _clear_half_made(container)
        except MinirunError:
            continue
    for entry in _entries(f"{daemon.exec_root}/containers"):
        container = Container(daemon, entry)
        try:
            if container.exists():  # an exec root may serve several data roots
                reconcile_unless_busy(container)
        except (MinirunError, LookupError, TypeError):  # a damaged monitor.json, of the wrong shape perhaps
            continue


def _entries(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _clear_half_made(container: Container) -> None:
    """Remove a directory without a record, unless its container is being created at this moment."""
    if store.is_unlocked(f"{container.directory}/{LOCK}") and not container.exists():
        discard(container, with_volumes=True)
        names.release_all(container.daemon.data_root, container.id)


def reconcile_unless_busy(container: Container) -> None:
    """Clear up what a killed shim or `start` has left, unless another command holds the container's lock."""
    shim = container.shim_state()
    if shim and shim.alive() or not store.is_unlocked(f"{container.directory}/{LOCK}"):
        return
    try:
        with container.lock():
            reconcile(container)
    except MinirunError:  # removed in the meantime, or a damaged record
        return
