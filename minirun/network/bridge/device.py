"""The bridge device: a switch in software, with an address that the containers use as their gateway (ip-link(8)).

minirun0 is made like docker0, detail for detail:

* its MAC is 02:42 and four random bytes, set when it is made; a bridge without one takes the lowest MAC of its ports
  and would change it as containers come and go;
* its transmit queue has length 0: packets only pass through;
* it ignores IPv6 router advertisements, and gets its addresses while it is still down.
"""

from __future__ import annotations

from minirun import store
from minirun.errors import EngineError
from minirun.kernel import procfs
from minirun.kernel.netlink import addresses, links
from minirun.light import TYPE_CHECKING, os
from minirun.network.ipam.address_pool import Pool
from minirun.network.ipam.subnet import Subnet
from minirun.trace import step

NAME = "minirun0"
FORWARDING = "/proc/sys/net/ipv4/ip_forward"
#: A bridge with IPv6 has this address on top of its own (libnetwork's bridge driver, setup_ipv6.go).
LINK_LOCAL = ("fe80::1", 64)
#: The names of the bridge driver's options in `network create -o` and `network inspect`.
OPTION, MTU_OPTION = "com.docker.network.bridge.", "com.docker.network.driver.mtu"
PREFIX_OPTION = "com.docker.network.container_iface_prefix"

if TYPE_CHECKING:
    from minirun.kernel.netlink.socket import Socket


class Bridge:
    """The configuration of a bridge (libnetwork's networkConfiguration).

    `.name`; `.pool` (ipam.Pool) and `.pool6` (the same, or None): subnet, gateway, and the addresses for containers;
    `.gateway` and `.gateway6` (str), the containers' default gateway: the bridge itself unless `default-gateway` says
    otherwise; `.mtu` (int, bytes), of its veth pairs; `.prefix` (str), "eth", of the containers' interface names;
    `.binding` (str), the host's address on which ports are published when none is named.
    Booleans: `.icc`, inter-container communication is allowed; `.masquerade`, packets to the outside get the host's
    address; `.internal`, no traffic to or from the outside; `.hairpin`, ports are in hairpin mode, so that a container
    reaches itself by its published port without the userland proxy; `.inhibit_ipv4`, the bridge gets no IPv4 address.
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
        "inhibit_ipv4",
    )

    def __init__(self, name: str, pool: Pool, pool6: Pool | None = None) -> None:
        self.name, self.pool, self.pool6 = name, pool, pool6
        self.gateway, self.gateway6 = pool.gateway, pool6.gateway if pool6 else ""
        self.mtu, self.prefix, self.binding = 1500, "eth", "0.0.0.0"
        self.icc = self.masquerade = True
        self.internal = self.hairpin = self.inhibit_ipv4 = False

    @property
    def subnet(self) -> Subnet:
        """The IPv4 subnet."""
        return self.pool.subnet

    def addresses(self) -> list[tuple[str, int, str]]:
        """(address, prefix length, broadcast address) of each address of the bridge itself."""
        found = [] if self.inhibit_ipv4 else [(self.pool.gateway, self.subnet.prefix, self.subnet.broadcast)]
        if self.pool6:
            found += [(self.pool6.gateway, self.pool6.subnet.prefix, ""), (*LINK_LOCAL, "")]
        return found


def of_record(record: dict, *, hairpin: bool = False) -> Bridge:
    """The configuration that a network's record stands for. Arguments: hairpin, see `Bridge`."""
    pools = [Pool(Subnet(pool["Subnet"]), pool["Gateway"], pool["Range"], pool["Taken"]) for pool in record["Pools"]]
    bridge = Bridge(record["Bridge"], *pools)
    options = record["Options"]
    bridge.mtu = int(options.get(MTU_OPTION) or 0) or 1500
    bridge.prefix = options.get(PREFIX_OPTION) or "eth"
    bridge.binding = options.get(f"{OPTION}host_binding_ipv4") or bridge.binding
    bridge.icc = is_true(options.get(f"{OPTION}enable_icc", "true"))
    bridge.masquerade = is_true(options.get(f"{OPTION}enable_ip_masquerade", "true"))
    bridge.inhibit_ipv4 = is_true(options.get(f"{OPTION}inhibit_ipv4", "false"))
    bridge.internal, bridge.hairpin = record["Internal"], hairpin
    aux = record["IPAM"]["Config"][0].get("AuxiliaryAddresses") or {}
    bridge.gateway = aux.get("DefaultGatewayIPv4", bridge.gateway)
    if bridge.pool6:
        bridge.gateway6 = (record["IPAM"]["Config"][1].get("AuxiliaryAddresses") or {}).get(
            "DefaultGatewayIPv6", bridge.gateway6
        )
    return bridge


def is_true(word: str) -> bool:
    """Whether Go's strconv.ParseBool gives true for a word."""
    return word in ("1", "t", "T", "TRUE", "true", "True")


def current_subnet(netlink: Socket, name: str) -> tuple[Subnet, str] | None:
    """(subnet, address) of an existing bridge; None when there is no such bridge or it has no IPv4 address."""
    link = links.find_link(netlink, name)
    for index, address, prefix in addresses.addresses(netlink) if link else ():
        if link and index == link.index:
            return Subnet(f"{address}/{prefix}"), address
    return None


def random_mac() -> str:
    """A MAC for a bridge: 02:42 and four random bytes."""
    return f"02:42:{os.urandom(4).hex(':')}"


def ensure(netlink: Socket, bridge: Bridge, index: int, mac: str = "") -> bool:
    """Create the bridge with its addresses, still down, unless it is there. Returns: whether it was created.

    Arguments: index (int), its interface index, 0 for the kernel's next one; mac (str), "" for a new one.
    Errors: EngineError when a device of this name is no bridge.
    """
    link = links.find_link(netlink, bridge.name)
    if link is not None and link.kind != "bridge":
        raise EngineError(f"existing interface {bridge.name} is not a bridge")
    is_new = link is None
    if is_new:
        netlink.do(links.new_bridge(index, name=bridge.name, mac=mac or random_mac(), txqlen=0))
        link = links.find_link(netlink, bridge.name)
        set_sysctl(f"ipv6/conf/{bridge.name}/accept_ra", "0")
    assert link is not None
    _ensure_addresses(netlink, bridge, link)
    if bridge.hairpin:
        set_sysctl(f"ipv4/conf/{bridge.name}/route_localnet", "1")
    return is_new


def _ensure_addresses(netlink: Socket, bridge: Bridge, link: links.Link) -> None:
    """Add the addresses that are missing; another IPv4 address is deleted first, as in Docker."""
    present = [(address, prefix) for index, address, prefix in addresses.addresses(netlink) if index == link.index]
    if present and not bridge.inhibit_ipv4 and bridge.addresses()[0][:2] not in present:
        netlink.do(addresses.del_address(link, *present[0]))
    if bridge.pool6:
        set_sysctl(f"ipv6/conf/{bridge.name}/disable_ipv6", "0")
        present += [
            (address, prefix) for index, address, prefix in addresses.addresses6(netlink) if index == link.index
        ]
    for address, prefix, broadcast in bridge.addresses():
        if (address, prefix) not in present:
            netlink.do(addresses.new_address(link, address, prefix, broadcast))


def set_sysctl(name: str, value: str) -> None:
    """Set a sysctl below /proc/sys/net, unless it has the value already or is not there (a kernel without IPv6)."""
    path = f"/proc/sys/net/{name}"
    if store.exists(path) and procfs.read(path).strip() != value:
        procfs.write(path, value)


def ensure_up(netlink: Socket, bridge: Bridge) -> links.Link:
    """Set the bridge up, unless it is. Returns: its link."""
    link = links.find_link(netlink, bridge.name)
    assert link is not None
    if not link.up:
        with step(f"start {bridge.name}"):
            netlink.do(links.set_link(link, up=True))
    return link


def remove(netlink: Socket, name: str) -> None:
    """Delete a bridge. May be called twice."""
    link = links.find_link(netlink, name)
    if link is not None and link.kind == "bridge":
        netlink.do(links.del_link(link))


def is_forwarding() -> bool:
    """Whether the kernel forwards packets between interfaces (net.ipv4.ip_forward)."""
    return procfs.read(FORWARDING).strip() != "0"


def set_forwarding(value: str) -> None:
    """Set net.ipv4.ip_forward to "0" or "1"."""
    procfs.write(FORWARDING, value)
