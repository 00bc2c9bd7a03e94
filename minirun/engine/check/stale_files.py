"""Stale files after a crash: half-created containers, names without an owner, unused layers, unfinished writes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from minirun import rmtree, store
from minirun.engine.check.problem import Problem, containers, is_being_written, is_busy, is_new, writer
from minirun.engine.container.container import Container
from minirun.engine.container.index import MAKING, REMOVED, clear, discard
from minirun.engine.shim import task
from minirun.engine.volume import populate, volumes
from minirun.errors import MinirunError
from minirun.image.content import gc
from minirun.image.content.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirun.engine.daemon import Daemon


def half_made(daemon: Daemon) -> Iterator[Problem]:
    """Kind "container": directories of containers without a config: `create` or `rm` was killed."""
    for name in store.names(f"{daemon.data_root}/containers"):
        path = f"{daemon.data_root}/containers/{name}"
        if name.startswith((REMOVED, MAKING)) and not is_new(path):  # see `index.retire` and `index.reserve`
            yield Problem("container", f"{path}: remains of a container", clear, daemon, path)
    for container in containers(daemon):
        if _is_half_made(container):
            yield Problem("container", f"{container.directory}: holds no container", _discard, container)


def _discard(container: Container) -> None:
    discard(container, with_volumes=True)


def _is_half_made(container: Container) -> bool:
    return not (
        container.exists()
        or os.path.isdir(container.run_directory)
        or is_new(container.directory)
        or is_busy(container)
    )


def orphaned_names(daemon: Daemon) -> Iterator[Problem]:
    """Kind "name": names whose container is gone."""
    for file in store.names(f"{daemon.data_root}/names"):
        path = f"{daemon.data_root}/names/{file}"
        if _has_no_owner(daemon, path):
            yield Problem("name", f'the name "{file}" belongs to a container that is gone', _free_name, daemon, path)


def _has_no_owner(daemon: Daemon, path: str) -> bool:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            owner = file.read()
    except FileNotFoundError:
        return False
    if not owner:
        return not is_new(path)  # its creator died before it had written its ID
    container = Container(daemon, owner)
    return not os.path.isdir(container.directory) or _is_half_made(container)


def _free_name(daemon: Daemon, path: str) -> None:
    with store.lock(f"{daemon.data_root}/names.lock"):  # held by each command that takes over a dead container's name
        if _has_no_owner(daemon, path):
            store.discard(path)


def volume_leftovers(daemon: Daemon) -> Iterator[Problem]:
    """Kind "volume": volumes whose creation, population or removal was killed (see `volumes`, `populate`)."""
    if not os.path.isdir(volumes.directory(daemon)):
        return
    for path in volumes.leftovers(daemon):
        if not is_new(path):
            yield Problem("volume", f"{path}: remains of a volume", rmtree.remove_tree, path)
    for name in populate.interrupted(daemon):
        yield Problem("volume", f"volume {name}: was left while it was filled", populate.clean_up, daemon, name)


def image_leftovers(daemon: Daemon) -> Iterator[Problem]:
    """Kind "image": layers, blobs and ingests that no image needs (see `gc.orphans`)."""
    layout = daemon.images.layout
    if not os.path.isdir(f"{layout.root}/tmp"):
        return
    try:
        with layout.lock():
            orphans = _orphans(daemon, layout)
    except MinirunError as error:
        yield Problem("image", f"{layout.root} cannot be checked", None, why=str(error))
        return
    for path in orphans:
        yield Problem("image", f"{path}: no image needs it", _remove_orphan, daemon, layout, path)


def _orphans(daemon: Daemon, layout: Layout) -> list[str]:
    kept = [chain for container in containers(daemon) if container.exists() for chain in container.record["LayerIDs"]]
    return [path for path in gc.orphans(layout, kept) if not is_being_written(path)]


def _remove_orphan(daemon: Daemon, layout: Layout, path: str) -> None:
    with layout.lock():
        if path in _orphans(daemon, layout):
            rmtree.remove_tree(path)


def unfinished_writes(daemon: Daemon) -> Iterator[Problem]:
    """Kind "write": new versions of files (see `store.write`) whose writer is gone."""
    directories = [f"{daemon.data_root}/images", f"{daemon.data_root}/networks"]
    directories += [container.directory for container in containers(daemon)]
    directories += [
        directory
        for container in containers(daemon)
        for directory in (container.run_directory, task.state_directory(container))
    ]
    directories += [path for path, _, _ in os.walk(f"{daemon.exec_root}/networks")]
    for directory in directories:
        for name in store.names(directory):
            path = f"{directory}/{name}"
            if writer(name) and not is_being_written(name) and os.path.isfile(path):
                yield Problem("write", f"{path}: its writer was killed", store.discard, path)
