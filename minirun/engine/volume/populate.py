"""Create a container's volumes and populate them from its image (Docker's copy-up).

The image's files come into a volume in two steps: a copy beside it (`.filling`), which is renamed when it is complete
(`.filled`), and then the moving of its entries into `_data`, which the next command finishes if this one was killed.
`_data` itself is never replaced: a running container may have it mounted.
"""

from __future__ import annotations

import os

from minirun import rmtree, store, stringid
from minirun.engine.container.container import VOLUMES
from minirun.engine.volume import volumes
from minirun.errors import BadParameter
from minirun.image.snapshot import copy_up, overlayfs
from minirun.light import TYPE_CHECKING
from minirun.trace import step

if TYPE_CHECKING:
    from minirun.engine.container.container import Container
    from minirun.engine.daemon import Daemon


def create_volumes(container: Container) -> None:
    """Create and populate the volumes of a new container; the caller has its lock, and writes its config after this.

    Sets the names and sources of its mount points. Errors: BadParameter for a place that is a file in the image;
    KernelError for a full disk. Volumes that were created here are removed then.
    """
    points = [point for point in container.record["MountPoints"] if point["Type"] == "volume"]
    anonymous = []
    for point in points:
        inherited = point.pop("Anonymous", False)  # with --volumes-from
        if inherited or not point["Name"]:
            point["Name"] = point["Name"] or stringid.generate()
            anonymous.append(point["Name"])
        point["Source"] = f"{volumes.path_of(container.daemon, point['Name'])}/_data"
    new = []
    try:
        with step("make the container's volumes"), volumes.lock(container.daemon):
            store.write(
                f"{container.directory}/{VOLUMES}", {"All": [point["Name"] for point in points], "Anonymous": anonymous}
            )
            for point in points:
                if volumes.create(container.daemon, point["Name"], point.pop("Labels", None)):
                    new.append(point["Name"])
        with step("fill empty volumes with what the image has there"):
            for point in points:
                if not point.pop("NoCopy", False):
                    _populate(container, point)
    except BaseException:
        store.discard(f"{container.directory}/{VOLUMES}")
        volumes.remove_unused(container.daemon, new)
        volumes.remove_leftovers(container.daemon)
        raise


def _populate(container: Container, point: dict) -> None:
    """Copy what the image has at the volume's place into the volume, if that is empty."""
    path = volumes.path_of(container.daemon, point["Name"])
    stack = overlayfs.stack(container.layers(), container.directory)
    with store.lock(f"{path}/.lock"):
        _complete_copy(path)
        if os.listdir(f"{path}/_data"):
            return
        filling = f"{path}/.filling"
        rmtree.remove_tree(filling)  # left by a process that was killed
        store.make_directory(filling)
        try:
            if not copy_up.copy_up(stack, point["Destination"], filling):
                return
            os.rename(filling, f"{path}/.filled")
        except NotADirectoryError:
            raise BadParameter(_not_a_directory(container, point)) from None
        finally:
            rmtree.remove_tree(filling)
        _complete_copy(path)


def _not_a_directory(container: Container, point: dict) -> str:
    path = f"{container.run_directory}/rootfs{point['Destination']}"
    if point["Mode"]:
        return f"source {path} is not directory"
    return f"cannot mount volume over existing file, file exists {path}"


def finish_copy(daemon: Daemon, name: str) -> None:
    """Finish the population of a volume that a killed `create` has begun."""
    path = volumes.path_of(daemon, name)
    with store.lock(f"{path}/.lock"):
        _complete_copy(path)


def _complete_copy(path: str) -> None:
    """Move a complete copy into place; the caller has the volume's lock. Safe to do twice."""
    filled, data = f"{path}/.filled", f"{path}/_data"
    if not store.exists(filled):
        return
    looks = os.stat(filled)
    for entry in os.listdir(filled):
        if not os.path.lexists(f"{data}/{entry}"):
            os.rename(f"{filled}/{entry}", f"{data}/{entry}")
    copy_up.copy_metadata(filled, data, looks)
    os.utime(data, ns=(looks.st_mtime_ns,) * 2)
    rmtree.remove_tree(filled)


def interrupted(daemon: Daemon) -> list[str]:
    """The names of volumes in which a killed `create` has left something."""
    found = []
    for name in volumes.every(daemon):
        path = volumes.path_of(daemon, name)
        begun = store.exists(f"{path}/.filling") or store.exists(f"{path}/.filled")
        if begun and store.is_unlocked(f"{path}/.lock"):
            found.append(name)
    return found


def clean_up(daemon: Daemon, name: str) -> None:
    """Finish the population of a volume, and remove a copy that is not complete."""
    path = volumes.path_of(daemon, name)
    with store.lock(f"{path}/.lock"):
        rmtree.remove_tree(f"{path}/.filling")
        _complete_copy(path)
