"""The containers of a data root: found by name or id, listed, reserved, removed.

A container is a directory named by its id; one rename makes it appear and another makes it disappear.
"""

from __future__ import annotations

import posix as os  # os without its Python half, which alone takes a tenth of `ps`

from minirun import rmtree, store
from minirun.engine.container import names
from minirun.engine.container.container import QUEUE, VOLUMES, Container
from minirun.errors import EngineError, KernelError, MinirunError, NoSuchContainer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirun.engine.container.container import Status
    from minirun.engine.daemon import Daemon

HEX = frozenset("0123456789abcdef")
#: In a container's directory: its volumes without a name shall go with it.
WITH_VOLUMES = ".with-volumes"
#: What a directory is called whose container is gone, and one that has nobody in its queue yet.
REMOVED, MAKING = ".removed-", ".making-"

#: What `every` could not read, for whoever wants to say so; `system check` has more to say about it.
unreadable: list[str] = []


def find(daemon: Daemon, word: str) -> Container:
    """The container with this name, id or unique beginning of an id.

    Errors: NoSuchContainer; EngineError when several ids begin like this.
    """
    owner = names.owner(daemon.data_root, word.removeprefix("/"))
    for container_id in (owner, word if len(word) == 64 else ""):
        if container_id and (container := Container(daemon, container_id)).exists():
            return container
    if word and HEX.issuperset(word):
        matches = [entry for entry in _ids(daemon) if entry.startswith(word)]
        if len(matches) > 1:
            raise EngineError(f"Multiple IDs found with provided prefix: {word}", exit_code=1)
        if matches:
            return Container(daemon, matches[0])
    raise NoSuchContainer(word)


def every(daemon: Daemon) -> list[Container]:
    """All containers, the newest first."""
    found = []
    for container_id in _ids(daemon):
        container = Container(daemon, container_id)
        try:
            found.append((container.record["Created"], container))
        except NoSuchContainer:  # it is being made, or was removed meanwhile
            continue
        except MinirunError as error:  # damaged: it must not hide all others
            unreadable.append(error.message)
    return [container for _, container in sorted(found, key=lambda pair: pair[0], reverse=True)]


def statuses(daemon: Daemon) -> Iterator[tuple[Container, Status]]:
    """All containers that are not removed meanwhile, the newest first, and what each is doing."""
    for container in every(daemon):
        try:
            yield container, container.status()
        except NoSuchContainer:
            continue


def _ids(daemon: Daemon) -> list[str]:
    """The ids of all containers, also of those that are half made."""
    try:
        return [entry for entry in os.listdir(f"{daemon.data_root}/containers") if len(entry) == 64]
    except FileNotFoundError:
        return []


def reserve(container: Container) -> store.lock:
    """Make the directory of a new container, with its maker first in its queue. Returns: the lock, held.

    It gets its name in the moment when it is held, so that one which is not held, and has no record, was given up.
    """
    making = f"{container.daemon.data_root}/containers/{MAKING}{container.id}"
    while True:
        store.make_directory(making, 0o710)
        try:
            queue = store.lock(f"{making}/{QUEUE}").acquire()
            os.rename(making, container.directory)
        except FileNotFoundError:  # somebody took it for given up, before we were in its queue
            continue
        except OSError as reason:
            raise KernelError(f"rename {making}", reason.errno or 0, hint=store.disk_hint(reason)) from None
        return queue


def discard(container: Container, *, with_volumes: bool = False) -> None:
    """Take away all that `create` made; fine when some of it is gone already.

    Arguments: with_volumes (bool), its volumes without a name, too.
    """
    clear(container.daemon, retire(container, with_volumes=with_volumes))


def retire(container: Container, *, with_volumes: bool = False) -> str:
    """Let a container be gone for everybody else, which takes one rename.

    Arguments: with_volumes (bool), and its volumes without a name with it.
    Returns: the directory with its remains, which may take their time to be removed (see `clear`).
    """
    try:
        names.release(container.daemon.data_root, container.name, container.id)
    except MinirunError:  # no record, or a damaged one: a name whose container is gone counts as free
        pass
    with_volumes = with_volumes and store.exists(f"{container.directory}/{VOLUMES}")
    if with_volumes:
        store.write_text(f"{container.directory}/{WITH_VOLUMES}", "")  # for who finds the remains if we are killed
    remains = f"{container.daemon.data_root}/containers/{REMOVED}{container.id}"
    try:
        os.rename(container.directory, remains)
    except FileNotFoundError:
        return remains
    except OSError as reason:
        raise KernelError(f"rename {container.directory}", reason.errno or 0, hint=store.disk_hint(reason)) from None
    if with_volumes:
        from minirun.engine.volume import volumes

        volumes.leave(container.daemon, remains)
    return remains


def clear(daemon: Daemon, remains: str) -> None:
    """Remove what is left of a container that has been retired; fine when it is gone already."""
    if not store.exists(f"{remains}/{WITH_VOLUMES}"):
        rmtree.remove_tree(remains)
        return
    from minirun.engine.volume import volumes  # few containers have any

    volumes.leave(daemon, remains)
    rmtree.remove_tree(remains)
    volumes.sweep(daemon)
