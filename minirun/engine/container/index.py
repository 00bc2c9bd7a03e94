"""The containers of a data root: found by name or ID, listed, added and removed.

A container is a directory named by its ID; one rename(2) makes it appear and another makes it disappear.
"""

from __future__ import annotations

from minirun import rmtree, store, stringid
from minirun.engine.container import names
from minirun.engine.container.container import LOCK, VOLUMES, Container
from minirun.errors import EngineError, KernelError, MinirunError, NoSuchContainer
from minirun.light import TYPE_CHECKING, os

if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirun.engine.container.container import Status
    from minirun.engine.daemon import Daemon

#: In a container's directory while it is removed: its anonymous volumes are to be removed with it.
WITH_VOLUMES = ".with-volumes"
#: How the directories are named of containers that have been removed, and of those that nobody has locked yet.
REMOVED, MAKING = ".removed-", ".making-"

#: The errors of containers that `every` could not read; `ps` shows them as warnings, `system check` in detail.
unreadable: list[str] = []


def find(daemon: Daemon, word: str) -> Container:
    """The container with this name, ID or unambiguous prefix of an ID.

    Errors: NoSuchContainer; EngineError when several IDs have this prefix.
    """
    owner = names.owner(daemon.data_root, word.removeprefix("/"))
    for container_id in (owner, word if len(word) == 64 else ""):
        if container_id and (container := Container(daemon, container_id)).exists():
            return container
    if word and stringid.is_hex(word):
        matches = [entry for entry in _ids(daemon) if entry.startswith(word)]
        if len(matches) > 1:
            raise EngineError(f"Multiple IDs found with provided prefix: {word}", exit_code=1)
        if matches:
            return Container(daemon, matches[0])
    raise NoSuchContainer(word)


def every(daemon: Daemon) -> list[Container]:
    """All containers, newest first. Those whose record is damaged are left out and noted in `unreadable`."""
    found = []
    for container_id in _ids(daemon):
        container = Container(daemon, container_id)
        try:
            found.append((container.record["Created"], container))
        except NoSuchContainer:  # it is being created, or has been removed
            continue
        except MinirunError as error:  # a damaged record must not hide the others
            unreadable.append(error.message)
    return [container for _, container in sorted(found, key=lambda pair: pair[0], reverse=True)]


def statuses(daemon: Daemon) -> Iterator[tuple[Container, Status]]:
    """All containers with their status, newest first; without those that are removed in the meantime."""
    for container in every(daemon):
        try:
            yield container, container.status()
        except NoSuchContainer:
            continue


def _ids(daemon: Daemon) -> list[str]:
    """The IDs of all containers, also of those that are being created."""
    try:
        return [entry for entry in os.listdir(f"{daemon.data_root}/containers") if len(entry) == 64]
    except FileNotFoundError:
        return []


def reserve(container: Container) -> store.lock:
    """Make the directory of a new container. Returns: its lock (see `Container.lock`), held.

    The directory is renamed to the container's ID only when the lock is held. So one that has no record and whose lock
    is free was left by a killed `create`.
    Errors: KernelError for a full or read-only disk.
    """
    making = f"{container.daemon.data_root}/containers/{MAKING}{container.id}"
    while True:
        store.make_directory(making, 0o710)
        try:
            lock = store.lock(f"{making}/{LOCK}").acquire()
            os.rename(making, container.directory)
        except FileNotFoundError:  # taken for abandoned and removed before it was locked
            continue
        except OSError as reason:
            raise KernelError(f"rename {making}", reason.errno or 0, hint=store.disk_hint(reason)) from None
        return lock


def discard(container: Container, *, with_volumes: bool = False) -> None:
    """Remove all that `create` made. Idempotent. Arguments: with_volumes (bool), its anonymous volumes too."""
    clear(container.daemon, retire(container, with_volumes=with_volumes))


def retire(container: Container, *, with_volumes: bool = False) -> str:
    """Make a container disappear, by one rename, without removing its files yet.

    Arguments: with_volumes (bool), its anonymous volumes too. Returns: the path of the renamed directory, for `clear`.
    """
    try:
        names.release(container.daemon.data_root, container.name, container.id)
    except MinirunError:  # no record, or a damaged one: a name counts as free once its container is gone
        pass
    with_volumes = with_volumes and store.exists(f"{container.directory}/{VOLUMES}")
    if with_volumes:
        store.write_text(
            f"{container.directory}/{WITH_VOLUMES}", ""
        )  # for `clear` by another process, if this one is killed
    remains = f"{container.daemon.data_root}/containers/{REMOVED}{container.id}"
    try:
        os.rename(container.directory, remains)
    except FileNotFoundError:
        return remains
    except OSError as reason:
        raise KernelError(f"rename {container.directory}", reason.errno or 0, hint=store.disk_hint(reason)) from None
    if with_volumes:
        from minirun.engine.volume import volumes

        volumes.release(container.daemon, remains)
    return remains


def clear(daemon: Daemon, remains: str) -> None:
    """Remove the directory of a container that was retired, and its anonymous volumes if that was asked. Idempotent."""
    if not store.exists(f"{remains}/{WITH_VOLUMES}"):
        rmtree.remove_tree(remains)
        return
    from minirun.engine.volume import volumes

    volumes.release(daemon, remains)
    rmtree.remove_tree(remains)
    volumes.remove_leftovers(daemon)


def clear_locked(daemon: Daemon, remains: str) -> None:
    """The same under the container's lock, by which `reconcile_all` sees that this process is removing it."""
    try:
        lock = store.lock(f"{remains}/{LOCK}").acquire()
    except FileNotFoundError:  # removed by another command
        return
    with lock:
        clear(daemon, remains)
