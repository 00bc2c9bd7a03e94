"""Volumes: directories that outlive the containers they are mounted in, as Docker's `local` driver keeps them.

    DATA/volumes/NAME/_data/         what containers see there
    DATA/volumes/NAME/volume.json    what `inspect` shows
    DATA/volumes/.making-...         not a volume yet; no name of one begins with a dot
    DATA/volumes/.removed-...        not a volume any more
    DATA/volumes/.lock               held while a volume is created, taken into use or removed (flock)
    DATA/containers/ID/volumes.json  those that a container uses: {"All": [names], "Anonymous": [names]}

A volume is created under another name and appears by one rename, and it goes by one, so it never exists by half. Its
users are recorded with each container and nowhere else: a container that is gone uses nothing.
"""

from __future__ import annotations

import os
import stat
import time

from minirun import rmtree, store, timestamps
from minirun.engine.container.container import VOLUMES
from minirun.errors import EngineError, KernelError, NoSuchVolume
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from minirun.engine.daemon import Daemon

MAKING, REMOVED = ".making-", ".removed-"


def directory(daemon: Daemon) -> str:
    """Where the volumes are."""
    return f"{daemon.data_root}/volumes"


def path_of(daemon: Daemon, name: str) -> str:
    """The directory of a volume. Errors: NoSuchVolume for a word that cannot be the name of one."""
    if not name or "/" in name or "\0" in name or name[0] == "." or len(os.fsencode(name)) > 255:
        raise NoSuchVolume(name)
    return f"{directory(daemon)}/{name}"


def lock(daemon: Daemon) -> store.lock:
    """The lock for creating, using or removing a volume: `with volumes.lock(daemon): ...`."""
    store.make_directory(directory(daemon))
    return store.lock(f"{directory(daemon)}/.lock")


def every(daemon: Daemon) -> list[str]:
    """The names of all volumes, sorted."""
    return [name for name in store.names(directory(daemon)) if name[0] != "."]


def inspect(daemon: Daemon, name: str) -> dict:
    """A volume as `docker inspect` shows it. Errors: NoSuchVolume."""
    path = path_of(daemon, name)
    try:
        record = store.read(f"{path}/volume.json")
    except (FileNotFoundError, NotADirectoryError):
        raise NoSuchVolume(name) from None
    return dict(sorted({**record, "Mountpoint": f"{path}/_data"}.items()))


def create(
    daemon: Daemon, name: str, labels: dict[str, str] | None = None, options: dict[str, str] | None = None
) -> bool:
    """Create a volume; fine when there is one of this name. The caller has the lock. Returns: whether it is new.

    Arguments: name, checked (see `parse`); labels, options: None for a volume that `run` creates, which Docker shows
    as null.
    """
    path, making = path_of(daemon, name), f"{directory(daemon)}/{MAKING}{os.urandom(8).hex()}"
    if store.exists(path):
        return False
    store.make_directory(f"{making}/_data", 0o755)
    os.chmod(f"{making}/_data", 0o755)  # independent of our umask
    created = timestamps.rfc3339_nano(time.time_ns() // timestamps.SECOND * timestamps.SECOND)
    store.write(
        f"{making}/volume.json",
        {"CreatedAt": created, "Driver": "local", "Labels": labels, "Name": name, "Options": options, "Scope": "local"},
        durable=True,
    )
    os.rename(making, path)
    return True


def references(daemon: Daemon) -> dict[str, list[str]]:
    """Which containers use which volumes: name → ids."""
    found: dict[str, list[str]] = {}
    for container_id in store.names(f"{daemon.data_root}/containers"):
        if len(container_id) == 64:
            for name in of_container(f"{daemon.data_root}/containers/{container_id}"):
                found.setdefault(name, []).append(container_id)
    return found


def of_container(container: str, which: str = "All") -> list[str]:
    """The volumes of a container, or its "Anonymous" ones. Arguments: container (str), its directory."""
    try:
        return store.read(f"{container}/{VOLUMES}")[which]
    except (FileNotFoundError, NotADirectoryError):
        return []


def remove(daemon: Daemon, name: str) -> None:
    """Remove a volume that no container uses. Errors: NoSuchVolume, EngineError."""
    if not store.exists(path_of(daemon, name)):
        raise NoSuchVolume(name)
    with lock(daemon):
        ids = references(daemon).get(name)
        if ids:
            raise EngineError(f"remove {name}: volume is in use - [{', '.join(ids)}]", exit_code=1)
        if not _retire(daemon, name):
            raise NoSuchVolume(name)
    remove_leftovers(daemon)


def remove_unused(daemon: Daemon, names: Iterable[str]) -> None:
    """Retire those of some volumes that no container uses; `remove_leftovers` removes what is left of them."""
    with lock(daemon):
        used = references(daemon)
        for name in names:
            if name not in used:
                _retire(daemon, name)


def release(daemon: Daemon, container: str) -> None:
    """Retire the anonymous volumes of a removed container, unless another one uses them (`--volumes-from`).

    Safe to do twice. Arguments: container (str), what is left of its directory.
    """
    names = of_container(container, "Anonymous")
    if names:
        remove_unused(daemon, names)


def _retire(daemon: Daemon, name: str) -> bool:
    try:
        os.rename(path_of(daemon, name), f"{directory(daemon)}/{REMOVED}{os.urandom(8).hex()}")
    except FileNotFoundError:  # another process was quicker
        return False
    except OSError as reason:
        raise KernelError(f"rename {path_of(daemon, name)}", reason.errno or 0, hint=store.disk_hint(reason)) from None
    return True


def leftovers(daemon: Daemon) -> list[str]:
    """The paths of volumes whose creation or removal was cut short."""
    with lock(daemon):  # held by each process that is creating one
        return [
            f"{directory(daemon)}/{name}"
            for name in store.names(directory(daemon))
            if name.startswith((MAKING, REMOVED))
        ]


def remove_leftovers(daemon: Daemon) -> None:
    """Remove all remains."""
    for path in leftovers(daemon):
        rmtree.remove_tree(path)


def size(daemon: Daemon, name: str) -> int:
    """What a volume takes, in bytes: the sizes of its files, each counted once, as Docker counts."""
    from minirun.image.snapshot.merged_tree import MergedTree

    sizes = {}
    with MergedTree([f"{path_of(daemon, name)}/_data"]) as tree:
        for found in tree.walk():
            if not stat.S_ISDIR(found.status.st_mode):
                sizes[found.status.st_dev, found.status.st_ino] = found.status.st_size
    return sum(sizes.values())
