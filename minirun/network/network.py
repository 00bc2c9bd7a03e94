"""A network: its record on disk, and the bridge that it stands for (libnetwork's Network).

The *record* is what `docker network inspect` shows, with some keys of our own (see `create_options`). A network with a
bridge is *set up* before it is used: its link and its firewall rules are in the kernel (see `bridge.setup`). What is
known about that is saved in its volatile directory, <run>/networks/KEY, where KEY is `bridge` or the network's ID:

    network.json                 the record, and the host and the link on which the network was set up
    172.17.0.2                   a reserved address: which container has it, and the name of its veth
    cables/                      veth pairs of ended endpoints, which the kernel has yet to delete
    rules/                       firewall rules of single endpoints
"""

from __future__ import annotations

from minirun import store
from minirun.errors import MinirunError
from minirun.light import TYPE_CHECKING
from minirun.network import predefined
from minirun.network.bridge import device, veth
from minirun.network.iptables import generation

if TYPE_CHECKING:
    from minirun.kernel.netlink.links import Link
    from minirun.network.bridge.device import Bridge
    from minirun.network.daemon_config import Settings

#: Keys of the record that `docker network inspect` does not show.
_PRIVATE = frozenset(
    ("Bridge", "Pools", "Configured", "Host", "BridgeIndex", "MAC", "Settings", "Foreign", "Data", "Before")
)


class Network:
    """A network: `.record` (dict), `.run` (exec root), `.bridge` (if `.has_bridge`); and, out of the record, `.name`,
    `.id`, `.driver` ("bridge", "host" or "null"), `.created`; `.directory`, its volatile files.

    Arguments: settings, for `userland-proxy`: without the proxy the bridge's ports are in hairpin mode.
    """

    __slots__ = ("bridge", "record", "run")
    bridge: Bridge

    def __init__(self, run: str, record: dict, settings: Settings | None = None) -> None:
        self.run, self.record = run, record
        hairpin = settings is not None and not settings.userland_proxy
        if record["Driver"] == "bridge":
            self.bridge = device.of_record(record, hairpin=hairpin)

    @property
    def name(self) -> str:
        """The network's name."""
        return str(self.record["Name"])

    @property
    def id(self) -> str:
        """The network's ID, 64 hexadecimal digits."""
        return str(self.record["Id"])

    @property
    def driver(self) -> str:
        """Its driver: "bridge", "host" or "null"."""
        return str(self.record["Driver"])

    @property
    def created(self) -> str:
        """When it was created (RFC 3339)."""
        return str(self.record["Created"])

    @property
    def has_bridge(self) -> bool:
        """Whether it has a bridge, as those of the bridge driver do."""
        return self.driver == "bridge"

    @property
    def is_default(self) -> bool:
        """Whether it is the default network, `bridge`."""
        return self.name == predefined.BRIDGE

    @property
    def is_predefined(self) -> bool:
        """Whether it is one of the networks that always exist."""
        return predefined.is_predefined(self.name)

    @property
    def directory(self) -> str:
        """Its volatile files."""
        return directory_of(self.run, self.name, self.id)

    def inspect(self) -> dict:
        """The record without our own keys, as `docker network inspect` shows it."""
        return {key: value for key, value in self.record.items() if key not in _PRIVATE}

    # ---- what is known about the network in the kernel ---------------------------------------------------------

    def save(self) -> None:
        """Write the record to the volatile directory: before anything is made for it in the kernel, and after that."""
        store.write(f"{self.directory}/network.json", self.record)

    def save_set_up(self, link: Link, given: dict) -> None:
        """Save that the network is set up. Arguments: link, its bridge; given (dict), what the config file says."""
        self.record.update(Host=generation.host(), BridgeIndex=link.index, MAC=link.mac, Settings=given)
        self.record.pop("Before", None)
        self.save()

    def saved(self) -> dict:
        """The record as it was saved on this host in this boot; {} when there is none, or it is damaged."""
        try:
            record = store.read(f"{self.directory}/network.json")
        except (OSError, MinirunError):
            return {}
        return record if record.get("Host") in (None, generation.host()) else {}

    def is_link_present(self) -> bool:
        """Whether the bridge has the interface index that it had when the network was set up: a bridge that was deleted
        and made again by hand has another."""
        saved = self.saved()
        return bool(saved.get("BridgeIndex")) and saved["BridgeIndex"] == veth.index_of(self.record["Bridge"])


def directory_of(run: str, name: str, network_id: str) -> str:
    """The volatile files of a network."""
    return f"{run}/networks/{name if name == predefined.BRIDGE else network_id}"
