"""Networks and the containers on them: the only door into this floor.

A network has a *record*, which is what `docker network inspect` shows (see `definitions`). Those that the user made are
kept below the data root and survive a reboot, as do `host` and `none`; the default one, `bridge`, is new after each.
What has a bridge is *laid* before it is used (`ensure`): link and firewall rules are in the kernel.

Files:
    <data>/networks/ID.json      a user's network; host.json and none.json
    <run>/networks/ifindex       the queue (flock), and the next device number as its content
    <run>/networks/rules         under which generation all firewall rules were in place
    <run>/networks/KEY/          KEY is `bridge` or the network's ID:
        network.json                 its record, and a stamp: the host and the link on which it is known to be laid
        172.17.0.2                   who has this address, and the name of his cable
        cables/                      cables of the past that the kernel has yet to pull out
        rules/                       firewall rules of single endpoints
"""

from __future__ import annotations

from minirun import store
from minirun.errors import EngineError, MinirunError, NoSuchNetwork
from minirun.network.bridge import device as bridges
from minirun.network.bridge import veth
from minirun.network.bridge.endpoint import (
    PATIENCE,
    check_wish,
    connect,
    disconnect,
    loopback_only,
    loopback_without_ipv6,
    plug,
    reserve,
    set_default_route,
)
from minirun.network.daemon_config import Settings
from minirun.network.gc import Leftover, clear, leftovers, release_all
from minirun.network.iptables import generation
from minirun.trace import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirun.kernel.netlink.links import Link
    from minirun.network.bridge.device import Bridge

DEFAULT = "bridge"
#: Docker's drivers by the names of the networks that are always there.
PREDEFINED = {"bridge": "bridge", "host": "host", "none": "null"}

__all__ = [
    "DEFAULT",
    "PATIENCE",
    "PREDEFINED",
    "Leftover",
    "Network",
    "check_wish",
    "clear",
    "clear_orphans",
    "connect",
    "create",
    "disconnect",
    "ensure",
    "ensure_default",
    "every",
    "find",
    "leftovers",
    "loopback_only",
    "loopback_without_ipv6",
    "orphans",
    "plug",
    "release_all",
    "reload",
    "remove",
    "reserve",
    "reset",
    "set_default_route",
]


class Network:
    """A network: `.record` (see `definitions`), `.run` (exec root), `.bridge` (if `.has_bridge`); and, out of the
    record, `.name`, `.id`, `.driver` ("bridge", "host" or "null"), `.created`; `.directory`, its volatile files.

    Arguments: settings, of which it takes whether a container may reach itself by its published port.
    """

    __slots__ = ("bridge", "record", "run")
    bridge: Bridge

    def __init__(self, run: str, record: dict, settings: Settings | None = None) -> None:
        self.run, self.record = run, record
        hairpin = settings is not None and not settings.userland_proxy
        if record["Driver"] == "bridge":
            self.bridge = bridges.of_record(record, hairpin=hairpin)

    @property
    def name(self) -> str:
        return str(self.record["Name"])

    @property
    def id(self) -> str:
        return str(self.record["Id"])

    @property
    def driver(self) -> str:
        return str(self.record["Driver"])

    @property
    def created(self) -> str:
        return str(self.record["Created"])

    @property
    def has_bridge(self) -> bool:
        return self.driver == "bridge"

    @property
    def is_default(self) -> bool:
        return self.name == DEFAULT

    @property
    def is_predefined(self) -> bool:
        return self.name in PREDEFINED

    @property
    def directory(self) -> str:
        return f"{self.run}/networks/{DEFAULT if self.is_default else self.id}"

    def shown(self) -> dict:
        """The record as `docker network inspect` shows it."""
        return {key: value for key, value in self.record.items() if key not in _PRIVATE}

    # For the foundation, which lays networks:

    def note(self) -> None:
        """Write down that it is about to be laid, or what is known of it."""
        store.write(f"{self.directory}/network.json", self.record)

    def stamp(self, link: Link, given: dict) -> None:
        """Write down that it is laid. Arguments: link, its bridge; given (dict), the settings in the config file."""
        self.record.update(Host=generation.host(), BridgeIndex=link.index, MAC=link.mac, Settings=given)
        self.record.pop("Before", None)
        self.note()

    def stamped(self) -> dict:
        """What was written down when it was laid on this host, or about to be; {} when it never was."""
        try:
            stamp = store.read(f"{self.directory}/network.json")
        except (OSError, MinirunError):  # or the file is damaged
            return {}
        return stamp if stamp.get("Host") in (None, generation.host()) else {}

    def is_laid(self) -> bool:
        """Whether its link is where it was when it was laid."""
        stamp = self.stamped()
        return bool(stamp.get("BridgeIndex")) and stamp["BridgeIndex"] == veth.number_of(self.record["Bridge"])


_PRIVATE = frozenset(
    ("Bridge", "Pools", "Configured", "Host", "BridgeIndex", "MAC", "Settings", "Foreign", "Data", "Before")
)


def _queue(run: str) -> store.lock:
    return store.lock(f"{run}/networks/ifindex")


# ---- finding ----------------------------------------------------------------------------------------------------


def find(data: str, run: str, word: str, settings: Settings | None = None) -> Network:
    """The network that a word means: its name, its ID, or the beginning of its ID.

    Errors: NoSuchNetwork; EngineError when the beginning of an ID fits several.
    """
    if word in (DEFAULT, "default"):
        return default(data, run, settings)
    found = list(every(data, run, settings))
    for matches in (
        [one for one in found if one.id == word],
        [one for one in found if one.name == word],
        [one for one in found if word and one.id.startswith(word)],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise EngineError(f"{len(matches)} matches found based on ID prefix: network {word} is ambiguous")
    raise NoSuchNetwork(word)


def every(data: str, run: str, settings: Settings | None = None) -> list[Network]:
    """All networks, sorted by name, with `bridge`, `host` and `none`."""
    found = [default(data, run, settings)]
    found += kept(data, run, settings)
    return sorted(found, key=lambda network: network.name)


def kept(data: str, run: str, settings: Settings | None = None) -> list[Network]:
    """Those below the data root: all but the default one."""
    return [Network(run, {**record, "Data": data}, settings) for record in _kept(data)]


def default(data: str, run: str, settings: Settings | None = None) -> Network:
    """The network `bridge`; it need not be laid yet."""
    record = _remembered_default(run, settings)
    if record is None:
        from minirun.network import default_bridge

        store.make_directory(f"{run}/networks/{DEFAULT}/cables")
        with _queue(run):
            record = _remembered_default(run, settings) or default_bridge.plan(
                run, settings or Settings(), list(_kept(data))
            )
    return Network(run, record, settings)


def _remembered_default(run: str, settings: Settings | None) -> dict | None:
    """Its record, if it is of this boot and network namespace and made with these settings; else None."""
    try:
        record = store.read(f"{run}/networks/{DEFAULT}/network.json")
        known = record["Host"] == generation.host() and record["Settings"] == (settings.given if settings else {})
    except (OSError, MinirunError, LookupError):  # none yet, or a damaged record: it will be made
        return None
    return record if known else None


def _kept(data: str) -> Iterator[dict]:
    """The records below the data root; `host` and `none` are made when they are not there yet."""
    directory = f"{data}/networks"
    names = store.names(directory)
    if "host.json" not in names or "none.json" not in names:
        from minirun.network import create_options

        store.make_directory(directory)
        for name in ("host", "none"):
            store.reserve(
                f"{directory}/{name}.json",
                store.dumps(
                    create_options.new(
                        name, PREDEFINED[name], IPAM={"Driver": "default", "Options": None, "Config": []}
                    )
                ),
            )
        names = store.names(directory)
    for name in names:
        if name.endswith(".json"):
            try:
                yield store.read(f"{directory}/{name}")
            except FileNotFoundError:  # removed at this moment
                continue


# ---- laying -----------------------------------------------------------------------------------------------------


def ensure_default(run: str, data: str = "", settings: Settings | None = None) -> Network:
    """The network `bridge`, with minirun0 and its firewall rules in place. Arguments and errors: see `ensure`."""
    network = default(data, run, settings)
    ensure(network, settings, data)
    return network


def ensure(network: Network, settings: Settings | None = None, data: str = "") -> None:
    """Have a network's link and all firewall rules in the kernel.

    Arguments: data (str), the data root. Almost always all is there, and a look at two files and three facts of the
    kernel is what this costs. Errors: MinirunError, for example for a missing iptables; nothing is left then.
    """
    settings = settings or Settings()
    if not network.has_bridge or is_in_place(network, settings):
        return
    from minirun.network import making  # only the first start after a boot comes here, or after somebody's change

    with step("lay the networks"):
        making.lay_all(making.Place(data, network.run, settings), needed=network)


def is_in_place(network: Network, settings: Settings) -> bool:
    """Whether a network's link is there, and nobody has touched the rules."""
    return network.is_laid() and (not settings.iptables or generation.is_unchanged(network.run))


# ---- the verbs --------------------------------------------------------------------------------------------------


def create(data: str, run: str, wish: dict, settings: Settings | None = None) -> Network:
    """Make a network, and lay it.

    Arguments: wish, with the keys of Docker's API: "Name", "Driver", "Internal", "Attachable", "EnableIPv6", "IPAM",
    "Options", "Labels". Errors: EngineError with Docker's text; nothing is left then.
    """
    from minirun.network import making

    return making.create(making.Place(data, run, settings or Settings()), wish)


def remove(data: str, run: str, network: Network, settings: Settings | None = None) -> None:
    """Remove a network. Errors: EngineError for one that is always there, or that a container is on."""
    from minirun.network import making

    making.remove(making.Place(data, run, settings or Settings()), network)


def orphans(data: str, run: str, settings: Settings | None = None) -> list[Network]:
    """Networks over whose making or removing somebody was killed."""
    from minirun.network import making

    if not store.names(f"{run}/networks"):
        return []
    with _queue(run):
        return making.orphans(making.Place(data, run, settings or Settings()))


def clear_orphans(data: str, run: str, settings: Settings | None = None) -> None:
    """Take such networks down."""
    from minirun.network import making

    with _queue(run):
        making.clear_orphans(making.Place(data, run, settings or Settings()))


def reload(data: str, run: str, settings: Settings | None = None) -> list[MinirunError]:
    """What dockerd does when it starts: our chains are made anew, what is missing comes back, the config file counts.

    Bridges that were deleted by hand are made again, and their containers plugged in; so are the rules of published
    ports. The administrator's chain stays. Returns: what went wrong with single networks.
    """
    from minirun.network import making

    return making.reload(making.Place(data, run, settings or Settings()))


def reset(data: str, run: str, settings: Settings | None = None) -> list[str]:
    """Take away all that is ours in the kernel: cables, bridges, rules, chains; give the sysctls back what they were.

    The networks themselves stay known, and are laid again when they are needed; names in /run/netns are the business of
    who gave them. Returns: what had to be left, and why. Errors: MinirunError.
    """
    from minirun.network import making, reset

    return reset.reset(making.Place(data, run, settings or Settings()))
