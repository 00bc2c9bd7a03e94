"""Clearing up after a kill -9: of a shim, of a `start`, of a `create` or `rm`.

There is no daemon that would notice a crash, so the commands do, where they begin to act: one that starts, stops or
removes a container clears up that container first, one that makes a container clears up all of them. A command that
only asks (`ps`, `inspect`, `logs`) changes nothing. containerd does the same when it finds a shim dead.
"""

from __future__ import annotations

import posix as os  # os without its Python half, which alone takes a tenth of `ps`

from minirun import rmtree, store
from minirun.engine import paths
from minirun.engine.container import names
from minirun.engine.container.container import KILLED, QUEUE, Container, Status
from minirun.engine.container.index import MAKING, REMOVED, clear, discard, exists
from minirun.errors import MinirunError


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


def reconcile_all() -> None:
    """Clear up all containers, and what is left of those that were half made or half removed.

    One that another command has in its hands is left to that. What cannot be cleared is left to `system check`, which
    says why: it must not keep another container from being made.
    """
    directory = f"{paths.data}/containers"
    for entry in _entries(directory):
        path = f"{directory}/{entry}"
        if entry.startswith(REMOVED) or entry.startswith(MAKING) and store.is_unlocked(f"{path}/{QUEUE}"):
            clear(path)
        elif len(entry) == 64 and not exists(entry):
            _clear_half_made(Container(entry))
    for entry in _entries(f"{paths.run}/containers"):
        if exists(entry):  # an exec root may serve several data roots
            _reconcile_unless_busy(Container(entry))


def _entries(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _clear_half_made(container: Container) -> None:
    """A directory without a record: its container is being made at this moment, or its maker was killed."""
    if store.is_unlocked(f"{container.directory}/{QUEUE}") and not exists(container.id):
        discard(container, with_volumes=True)
        names.release_all(paths.data, container.id)


def _reconcile_unless_busy(container: Container) -> None:
    watched = container.watch()
    if watched and watched.alive() or not store.is_unlocked(f"{container.directory}/{QUEUE}"):
        return
    try:
        with container.queue():
            reconcile(container)
    except MinirunError:  # removed meanwhile, or a damaged record
        return
