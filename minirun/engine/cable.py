"""A container's cable: its network namespace is plugged into its network, and gets a name for the standard tools."""

from __future__ import annotations

from minirun import store
from minirun.engine import etc_files, places, watch
from minirun.network import netns, networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.register import Container


def plug_in(container: Container, pid: int) -> None:
    """Plug the network namespace of the container's process into the container's network.

    What is taken is noted before it is used, where the clean-up looks. With `--network none` there is a loopback and
    a name, with `--network host` nothing is done.
    """
    mode = container.record["HostConfig"]["NetworkMode"]
    if mode == "host":
        return
    note: dict = {"Name": container.name, "Inode": netns.inode(pid), "Endpoint": None}
    path = f"{container.run_directory}/{watch.CABLE}"
    if mode == "none":
        store.write(path, note)
        networks.loopback_only(pid)
    else:
        network = networks.ensure_default(places.run, places.data, places.settings())
        store.write(path, note)  # an address without an endpoint in the note is found by its owner
        note["Endpoint"] = networks.reserve(network, container.id)
        store.write(path, note)
        networks.plug(network, note["Endpoint"], pid)
        store.write(path, note)  # the kernel may have given the device another number
        etc_files.write_hosts(container, note["Endpoint"])
    # A name that somebody has already is left to him.
    netns.publish(pid, container.name)


def unplug(container: Container) -> None:
    """Take away what `plug_in` made; fine when some of it is gone already."""
    note = store.read(f"{container.run_directory}/{watch.CABLE}")
    netns.withdraw(note["Name"], note["Inode"])
    if note["Endpoint"]:
        networks.disconnect(places.run, note["Endpoint"])
    else:
        networks.release_all(places.run, container.id)
