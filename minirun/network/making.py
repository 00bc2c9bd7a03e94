"""Networks come and go: create, remove, reload; and what is left when somebody is killed over it.

The record below the data root is what makes a network: it is written when all else is done, and removed before all
else. What has volatile files but no record any more is an orphan, and the next one who passes takes it down.
"""

from __future__ import annotations

import os

from minirun import store
from minirun.errors import EngineError, MinirunError
from minirun.network import controller as door
from minirun.network import create_options, default_bridge
from minirun.network.bridge import setup
from minirun.network.controller import Network
from minirun.network.ipam import address_pool, default_pools
from minirun.trace import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.network.daemon_config import Settings


class Place:
    """Where networks are: `.data` (data root), `.run` (exec root), `.settings` (the config file's)."""

    __slots__ = ("data", "run", "settings")

    def __init__(self, data: str, run: str, settings: Settings) -> None:
        self.data, self.run, self.settings = data, run, settings


def create(place: Place, wish: dict) -> Network:
    """Make a network, and lay it. Arguments, errors: see `networks.create`."""
    default = door.default(place.data, place.run, place.settings)
    with step(f"make the network {wish['Name']}"), store.lock(f"{place.run}/networks/ifindex") as queue:
        clear_orphans(place)
        present = in_order(place, default)
        others = [network.record for network in door.kept(place.data, place.run)] + [default.record]
        record = create_options.of_wish(
            wish, others, lambda ipv6: default_pools.hand_out(place.run, place.settings, others, ipv6=ipv6)
        )
        network = Network(place.run, {**record, "Data": place.data}, place.settings)
        try:
            setup.lay([*present, network], place.settings, queue.fd, needed=[network])
            store.write(f"{place.data}/networks/{network.id}.json", record, durable=True)
        except BaseException:
            if network.is_laid():  # and the disk below the data root takes no record of it
                setup.take_down(network, place.settings)
            store.remove_tree(network.directory)
            raise
    return network


def remove(place: Place, network: Network) -> None:
    """Remove a network. Arguments, errors: see `networks.remove`."""
    if network.is_predefined:
        raise EngineError(f"{network.name} is a pre-defined network and cannot be removed")
    store.make_directory(f"{place.run}/networks")
    with step(f"remove the network {network.name}"), store.lock(f"{place.run}/networks/ifindex"):
        if os.path.isdir(network.directory) and address_pool.reservations(network.directory):
            raise EngineError(
                f"error while removing network: network {network.name} id {network.id} has active endpoints"
            )
        store.discard(f"{place.data}/networks/{network.id}.json")
        setup.take_down(network, place.settings)
        clear_orphans(place)


def lay_all(place: Place, *, needed: Network | None = None, afresh: bool = False) -> list[MinirunError]:
    """Lay all networks: in the order of their IDs, the default one last. The caller holds no lock.

    Arguments: needed, the one that must not fail; afresh, see `foundation.lay`. Returns: what went wrong with others.
    """
    default = door.default(place.data, place.run, place.settings)
    with store.lock(f"{place.run}/networks/ifindex") as queue:
        if needed is not None and door.is_in_place(needed, place.settings):
            return []  # another has laid it while we stood in the queue
        clear_orphans(place)
        networks = in_order(place, default)
        must = [network for network in networks if network.id == (needed or default).id]
        return setup.lay(networks, place.settings, queue.fd, needed=must, afresh=afresh or "Before" in default.record)


def in_order(place: Place, default: Network) -> list[Network]:
    """All networks that have a bridge, as dockerd begins them: by their IDs, the default one last.

    With them go those of another data root that are laid by way of the same exec root: their rules are looked after
    too.
    """
    found = {
        network.id: network
        for network in laid(place) + door.kept(place.data, place.run, place.settings)
        if network.has_bridge and not network.is_default
    }
    return [*(found[identity] for identity in sorted(found)), default]


def laid(place: Place) -> list[Network]:
    """The networks that are in the kernel, were, or were about to be, by their volatile files."""
    found = []
    for key in store.names(f"{place.run}/networks"):
        try:
            record = store.read(f"{place.run}/networks/{key}/network.json")
        except (OSError, MinirunError):  # no directory of a network, or a damaged file
            continue
        found.append(Network(place.run, record, place.settings))
    return found


def reload(place: Place) -> list[MinirunError]:
    """What dockerd does when it starts. Returns, errors: see `networks.reload`."""
    default_pools.begin_anew(place.run)
    with step("lay all networks anew"):
        store.make_directory(f"{place.run}/networks/{door.DEFAULT}/cables")
        with store.lock(f"{place.run}/networks/ifindex"):
            others = [network.record for network in door.kept(place.data, place.run)]
            default_bridge.plan(place.run, place.settings, others)
        return lay_all(place, afresh=True)


def orphans(place: Place) -> list[Network]:
    """Networks of this data root over whose making or removing somebody was killed. The caller holds the lock."""
    return [
        network
        for network in laid(place)
        if network.record.get("Data") == place.data and not os.path.exists(f"{place.data}/networks/{network.id}.json")
    ]


def clear_orphans(place: Place) -> None:
    """Take them down. The caller holds the lock."""
    for network in orphans(place):
        setup.take_down(network, place.settings)
