"""Clearing up after a kill -9: of a shim, of a `start`, of a `create` or `rm`.

There is no daemon that would notice a crash, so the commands do, where they begin to act: one that starts, stops or
removes a container clears up that container first, one that makes a container clears up all of them. A command that
only asks (`ps`, `inspect`, `logs`) changes nothing. containerd does the same when it finds a shim dead.
"""

from __future__ import annotations

from minirun import rmtree, store
from minirun.engine.container import names
from minirun.engine.container.container import KILLED, QUEUE, Container, Status
from minirun.engine.container.index import MAKING, REMOVED, clear, discard
from minirun.errors import MinirunError
from minirun.light import TYPE_CHECKING, os

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon


def reconcile(container: Container) -> None:
    """Clear up what a killed shim, or a killed `start`, has left of a container; the caller has its queue."""
    watched = container.watch()
    if watched is not None:
        clear_dead_shim(container)
    elif store.exists(container.run_directory):
        rmtree.remove_tree(container.run_directory)  # a bundle: its `start` was killed before there was a shim


def reconciled_status(container: Container) -> Status:
    """Clear up (see `reconcile`), and say what the container is doing then.

    Errors: NoSuchContainer when it has been removed, which also happens to one with --rm when its shim was killed.
    """
    reconcile(container)
    return container.status()


def clear_dead_shim(container: Container) -> bool:
    """Clear up after a shim that was killed; the caller has the container's queue.

    What ran under it is killed: nobody has its output and exit code.
    Returns: whether there was one, and the container had started under it.
    """
    watched = container.watch()
    if watched is None or watched.alive():
        return False
    from minirun.engine.shim import task  # seldom: and it loads all that a start needs

    container.forget()
    if watched.started_at:
        task.note_end(container, KILLED, watched.started_at)
    task.take_down(container)
    if container.record["HostConfig"]["AutoRemove"]:
        discard(container, with_volumes=True)
    return bool(watched.started_at)


def reconcile_all(daemon: Daemon) -> None:
    """Clear up all containers, and what is left of those that were half made or half removed.

    One that another command has in its hands is left to that. What cannot be cleared is left to `system check`, which
    says why: it must not keep another container from being made.
    """
    directory = f"{daemon.data_root}/containers"
    for entry in _entries(directory):
        path = f"{directory}/{entry}"
        if entry.startswith(REMOVED) or entry.startswith(MAKING) and store.is_unlocked(f"{path}/{QUEUE}"):
            clear(daemon, path)
        elif len(entry) == 64 and not (container := Container(daemon, entry)).exists():
            _clear_half_made(container)
    for entry in _entries(f"{daemon.exec_root}/containers"):
        container = Container(daemon, entry)
        if container.exists():  # an exec root may serve several data roots
            _reconcile_unless_busy(container)


def _entries(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _clear_half_made(container: Container) -> None:
    """A directory without a record: its container is being made at this moment, or its maker was killed."""
    if store.is_unlocked(f"{container.directory}/{QUEUE}") and not container.exists():
        discard(container, with_volumes=True)
        names.release_all(container.daemon.data_root, container.id)


def _reconcile_unless_busy(container: Container) -> None:
    watched = container.watch()
    if watched and watched.alive() or not store.is_unlocked(f"{container.directory}/{QUEUE}"):
        return
    try:
        with container.queue():
            reconcile(container)
    except MinirunError:  # removed meanwhile, or a damaged record
        return
