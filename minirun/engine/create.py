"""`create`: a directory with a configuration, a name and a writable layer (moby, daemon/create.go)."""

from __future__ import annotations

import os
import sys

from minirun import store, stringid
from minirun.engine.container import names
from minirun.engine.container.container import Container
from minirun.engine.container.index import discard, reserve
from minirun.engine.container.reconcile import reconcile_all
from minirun.engine.network import endpoint_config
from minirun.errors import BadParameter, NoSuchNetwork
from minirun.light import TYPE_CHECKING
from minirun.network import predefined
from minirun.trace import step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.engine.daemon import Daemon
    from minirun.engine.options import CreateOptions

#: What uname(2) calls the commonest machines → the GOARCH of an image for them.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def create(daemon: Daemon, options: CreateOptions) -> Container:
    """Create a container and do not start it. Errors: as `make`."""
    container = make(daemon, options)
    reconcile_all(daemon)
    return container


def make(daemon: Daemon, options: CreateOptions) -> Container:
    """The part of `create` that `run` begins with, which reconciles the other containers while this one starts.

    Where dead containers may hold what this one asks for (a port, an address, a name) they are reconciled before. To
    ask each of 300 running containers for its shim takes 10 ms, a quarter of a start.
    Errors: NoSuchImage, BadParameter, EngineError, as Docker's; nothing is left behind then.
    """
    # Imported here, for with `run` this happens while the pre-forked shim loads its own modules.
    from minirun.engine.container import config
    from minirun.image.snapshot import overlayfs

    with step("find the image"):
        image = daemon.images.find(options.image)
        if options.platform or image.config.get("architecture") != ARCHITECTURES.get(os.uname().machine):
            from minirun.image import platforms

            sys.stderr.write(platforms.check(image.config, options.platform, options.image))
    if options.port_bindings or options.endpoint:
        reconcile_all(daemon)
    container = Container(daemon, stringid.generate())
    with step("make the container's record"):
        name = names.check(options.name) if options.name else ""
        container._record = config.make(options, image, container.id, name)
        if options.volumes_from:
            from minirun.engine.volume import volumes_from

            volumes_from.apply(container)
        _resolve_network_names(container, options.link)
        lock = reserve(container)
        try:
            with lock:
                container.record["Name"] = "/" + _reserve_name(container, name)
                overlayfs.ensure_directories(image.layers, container.directory)
                if any(point["Type"] == "volume" for point in container.record["MountPoints"]):
                    from minirun.engine.volume import populate

                    populate.create_volumes(container)
                if container.record["Links"]:
                    from minirun.engine.network import legacy_links

                    legacy_links.store_links(container)
                container.save(host_config=True)
            if options.cidfile:
                store.write_text(options.cidfile, container.id, mode=0o644)
        except BaseException:
            discard(container, with_volumes=True)
            raise
    return container


def _reserve_name(container: Container, name: str) -> str:
    try:
        return names.reserve(container.daemon.data_root, name, container.id)
    except BadParameter:  # its owner may have been one with --rm, whose shim was killed
        reconcile_all(container.daemon)
        return names.reserve(container.daemon.data_root, name, container.id)


def _resolve_network_names(container: Container, links: Sequence[str]) -> None:
    """Replace the names of networks and containers in a new container's network settings by what they stand for.

    A network that does not exist yet keeps its name: it may exist when the container is started.
    Errors: BadParameter for a link to a container that does not exist.
    """
    record = container.record
    mode = record["HostConfig"]["NetworkMode"]
    if links and endpoint_config.network_of_mode(mode) == predefined.BRIDGE:
        from minirun.engine.network import legacy_links

        record["Links"] = legacy_links.resolve(container.daemon, links)
    if mode.startswith("container:"):
        from minirun.engine.network import shared_netns

        shared_netns.resolve_mode(container)
    elif predefined.is_user_defined(mode):
        try:
            name = container.daemon.networks.find(mode).name
        except NoSuchNetwork:
            return
        record["Networks"] = {name: record["Networks"][mode]}
