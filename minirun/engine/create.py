"""`create`: a container made and not started, as a directory, a name, a writable layer and its configuration."""

from __future__ import annotations

import os
import sys

from minirun import store
from minirun.engine.container import names
from minirun.engine.container.container import Container
from minirun.engine.container.index import discard, reserve
from minirun.engine.container.reconcile import reconcile_all
from minirun.engine.network import endpoint_config
from minirun.errors import NoSuchNetwork
from minirun.network import predefined
from minirun.trace import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.cli.parser.grammar import Options
    from minirun.engine.daemon import Daemon

#: What uname(2) calls most machines, and what images for them say.
USUAL = {"x86_64": "amd64", "aarch64": "arm64"}


def create(daemon: Daemon, options: Options) -> Container:
    """Make a container and do not start it: a directory, a name, a writable layer, a record.

    Errors: NoSuchImage, BadParameter, EngineError as Docker's; nothing is left behind then.
    """
    # A container is made once and started often; and with `run`, what is loaded here is loaded beside the `Starter`.
    from minirun.engine.container import config
    from minirun.image.snapshot import overlayfs

    with step("find the image"):
        image = daemon.images.find(options.image)
        if options.platform or image.config.get("architecture") != USUAL.get(os.uname().machine):
            from minirun.image import platforms  # most images are for this machine

            sys.stderr.write(platforms.check(image.config, options.platform, options.image))
    reconcile_all(daemon)  # their names, addresses and ports are free again then; the shim takes longer to get ready
    container = Container(daemon, os.urandom(32).hex())
    with step("make the container's record"):
        name = names.check(options.name) if options.name else ""
        container._record = config.make(options, image, container.id, name)
        if options.volumes_from:
            from minirun.engine.volume import volumes_from

            volumes_from.take(container)
        _settle_networks(container, options.link)
        queue = reserve(container)
        try:
            with queue:
                container.record["Name"] = "/" + names.reserve(daemon.data_root, name, container.id)
                overlayfs.ensure_directories(image.layers, container.directory)
                if any(point["Type"] == "volume" for point in container.record["MountPoints"]):
                    from minirun.engine.volume import populate

                    populate.attach(container)
                if container.record["Links"]:
                    from minirun.engine.network import legacy_links

                    legacy_links.write_down(container)
                container.save(host_config=True)
            if options.cidfile:
                store.write_text(options.cidfile, container.id, mode=0o644)
        except BaseException:
            discard(container, with_volumes=True)
            raise
    return container


def _settle_networks(container: Container, links: list[str]) -> None:
    """Find out what the words of a new container's wishes stand for, as far as it is there already.

    Errors: BadParameter for a link to a container that is not.
    """
    record = container.record
    mode = record["HostConfig"]["NetworkMode"]
    if links and endpoint_config.network_of(mode) == predefined.BRIDGE:
        from minirun.engine.network import legacy_links

        record["Links"] = legacy_links.resolve(container.daemon, links)
    if mode.startswith("container:"):
        from minirun.engine.network import shared_netns

        shared_netns.settle(container)
    elif predefined.is_user_defined(mode):
        try:
            name = container.daemon.networks.find(mode).name
        except NoSuchNetwork:
            return  # it may be there when the container is started
        record["Networks"] = {name: record["Networks"][mode]}
