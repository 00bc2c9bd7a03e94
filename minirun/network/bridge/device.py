"""A bridge is a switch made of software; docker0 is one, with an address of its own that the containers use as their
way out. minirun0 is made like docker0, detail for detail:

* its MAC is 02:42 and four random bytes, set when it is made; a bridge without one takes the lowest MAC of its ports
  and would change it as containers come and go;
* its transmit queue has length 0: packets only pass through;
* it ignores IPv6 router advertisements, and gets its addresses while it is still down.
"""

from __future__ import annotations

import os

from minirun.errors import EngineError
from minirun.kernel import procfs
from minirun.kernel.netlink import links
from minirun.network.ipam.address_pool import Pool
from minirun.network.ipam.subnet import Subnet
from minirun.trace import step

NAME = "minirun0"
FORWARDING = "/proc/sys/net/ipv4/ip_forward"
#: A bridge with IPv6 has this address on top of its own (libnetwork's bridge driver, setup_ipv6.go).
LINK_LOCAL = ("fe80::1", 64)
#: How `network create -o` and `docker network inspect` name what a bridge can be told.
OPTION, MTU_OPTION = "com.docker.network.bridge.", "com.docker.network.driver.mtu"
PREFIX_OPTION = "com.docker.network.container_iface_prefix"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.kernel.netlink.socket import Socket


class Bridge:
    """A bridge as it is to be.

    `.name`; `.pool` (ipam.Pool) and `.pool6` (the same, or None): subnet, gateway, which addresses are free for
    containers; `.gateway` and `.gateway6` (str), the containers' way out, the bridge itself unless `default-gateway`
    says otherwise; `.mtu` (int), of its cables; `.prefix` (str), "eth", how the containers' links are called.
    Yes or no: `.icc`, its containers may speak with each other; `.masquerade`; `.internal`, no way to the world;
    `.hairpin`, a container may reach itself by its published port (userland-proxy off); `.silent`, it has no IPv4
    address itself. `.binding` (str), the host's address on which ports are published when none is named.
    """

    __slots__ = (
        "binding",
        "gateway",
        "gateway6",
        "hairpin",
        "icc",
        "internal",
        "masquerade",
        "mtu",
        "name",
        "pool",
        "pool6",
        "prefix",
        "silent",
    )

    def __init__(self, name: str, pool: Pool, pool6: Pool | None = None) -> None:
        self.name, self.pool, self.pool6 = name, pool, pool6
        self.gateway, self.gateway6 = pool.gateway, pool6.gateway if pool6 else ""
        self.mtu, self.prefix, self.binding = 1500, "eth", "0.0.0.0"
        self.icc = self.masquerade = True
        self.internal = self.hairpin = self.silent = False

    @property
    def subnet(self) -> Subnet:
        """Its IPv4 subnet."""
        return self.pool.subnet

    def addresses(self) -> list[tuple[str, int, str]]:
        """(address, prefix length, broadcast address) of all that the bridge itself has."""
        found = [] if self.silent else [(self.pool.gateway, self.subnet.prefix, self.subnet.broadcast)]
        if self.pool6:
            found += [(self.pool6.gateway, self.pool6.subnet.prefix, ""), (*LINK_LOCAL, "")]
        return found


def of_record(record: dict, *, hairpin: bool = False) -> Bridge:
    """The bridge of a network's record."""
    pools = [Pool(Subnet(pool["Subnet"]), pool["Gateway"], pool["Range"], pool["Taken"]) for pool in record["Pools"]]
    bridge = Bridge(record["Bridge"], *pools)
    options = record["Options"]
    bridge.mtu = int(options.get(MTU_OPTION) or 0) or 1500
    bridge.prefix = options.get(PREFIX_OPTION) or "eth"
    bridge.binding = options.get(f"{OPTION}host_binding_ipv4") or bridge.binding
    bridge.icc = is_true(options.get(f"{OPTION}enable_icc", "true"))
    bridge.masquerade = is_true(options.get(f"{OPTION}enable_ip_masquerade", "true"))
    bridge.silent = is_true(options.get(f"{OPTION}inhibit_ipv4", "false"))
    bridge.internal, bridge.hairpin = record["Internal"], hairpin
    aux = record["IPAM"]["Config"][0].get("AuxiliaryAddresses") or {}
    bridge.gateway = aux.get("DefaultGatewayIPv4", bridge.gateway)
    if bridge.pool6:
        bridge.gateway6 = (record["IPAM"]["Config"][1].get("AuxiliaryAddresses") or {}).get(
            "DefaultGatewayIPv6", bridge.gateway6
        )
    return bridge


def is_true(word: str) -> bool:
    """Whether a word means yes, by Go's strconv.ParseBool."""
    return word in ("1", "t", "T", "TRUE", "true", "True")


def present_subnet(netlink: Socket, name: str) -> tuple[Subnet, str] | None:
    """(subnet, gateway) that a bridge has already; None when there is no such bridge or it has no IPv4 address."""
    link = links.find_link(netlink, name)
    for index, address, prefix in links.addresses(netlink) if link else ():
        if link and index == link.index:
            return Subnet(f"{address}/{prefix}"), address
    return None


def random_mac() -> str:
    """02:42 and four random bytes."""
    return f"02:42:{os.urandom(4).hex(':')}"


def ensure(netlink: Socket, bridge: Bridge, index: int, mac: str = "") -> bool:
    """Make the bridge, still down, with its addresses, unless it is there. True when it was made.

    Arguments: index (int), the number it shall have, 0 for the next one; mac (str), "" for a new one.
    Errors: EngineError when a link of this name is no bridge.
    """
    link = links.find_link(netlink, bridge.name)
    if link is not None and link.kind != "bridge":
        raise EngineError(f"existing interface {bridge.name} is not a bridge")
    made = link is None
    if made:
        netlink.do(links.new_bridge(index, name=bridge.name, mac=mac or random_mac(), txqlen=0))
        link = links.find_link(netlink, bridge.name)
        set_sysctl(f"ipv6/conf/{bridge.name}/accept_ra", "0")
    assert link is not None
    _ensure_addresses(netlink, bridge, link)
    if bridge.hairpin:
        set_sysctl(f"ipv4/conf/{bridge.name}/route_localnet", "1")
    return made


def _ensure_addresses(netlink: Socket, bridge: Bridge, link: links.Link) -> None:
    """Where there is another IPv4 address, it has to go, as in Docker."""
    present = [(address, prefix) for index, address, prefix in links.addresses(netlink) if index == link.index]
    if present and not bridge.silent and bridge.addresses()[0][:2] not in present:
        netlink.do(links.del_address(link, *present[0]))
    if bridge.pool6:
        set_sysctl(f"ipv6/conf/{bridge.name}/disable_ipv6", "0")
        present += [(address, prefix) for index, address, prefix in links.addresses6(netlink) if index == link.index]
    for address, prefix, broadcast in bridge.addresses():
        if (address, prefix) not in present:
            netlink.do(links.new_address(link, address, prefix, broadcast))


def set_sysctl(name: str, value: str) -> None:
    """Set a net sysctl, unless it has the value already or is not there (a kernel without IPv6)."""
    path = f"/proc/sys/net/{name}"
    if os.path.exists(path) and procfs.read(path).strip() != value:
        procfs.write(path, value)


def ensure_up(netlink: Socket, bridge: Bridge) -> links.Link:
    """Start the bridge, unless it runs. Returns: its link."""
    link = links.find_link(netlink, bridge.name)
    assert link is not None
    if not link.up:
        with step(f"start {bridge.name}"):
            netlink.do(links.set_link(link, up=True))
    return link


def remove(netlink: Socket, name: str) -> None:
    """Delete a bridge; fine when it is gone already."""
    link = links.find_link(netlink, name)
    if link is not None and link.kind == "bridge":
        netlink.do(links.del_link(link))


def forwards() -> bool:
    """True when the kernel passes packets on from link to link."""
    return procfs.read(FORWARDING).strip() != "0"


def set_forwarding(value: str) -> None:
    """ "1": the kernel passes packets on, "0": it keeps what is not for it."""
    procfs.write(FORWARDING, value)
