"""A bridge is a switch made of software; docker0 is one, with an address of its own that the containers use as their
way out. minirun0 is made like docker0, detail for detail:

* its MAC is 02:42 and four random bytes, set when it is made; a bridge without one takes the lowest MAC of its ports
  and would change it as containers come and go;
* its transmit queue has length 0: packets only pass through;
* it ignores IPv6 router advertisements, and gets its address while it is still down.
"""

from __future__ import annotations

import os

from minirun.kernel import procfs, rtnetlink
from minirun.network import dns, ipam

NAME = "minirun0"
FORWARDING = "/proc/sys/net/ipv4/ip_forward"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.kernel.netlink import Socket


class Bridge:
    """A bridge: `.name`, `.subnet` (ipam.Subnet), `.gateway` (str, its own address), `.mtu` (int, of its cables)."""

    __slots__ = ("gateway", "mtu", "name", "subnet")

    def __init__(self, name: str, subnet: ipam.Subnet, gateway: str, mtu: int = 1500) -> None:
        self.name, self.subnet, self.gateway, self.mtu = name, subnet, gateway, mtu


def of_record(record: dict) -> Bridge:
    """The bridge of a network's record."""
    return Bridge(record["Bridge"], ipam.Subnet(record["Subnet"]), record["Gateway"], record["MTU"])


def present_subnet(netlink: Socket, name: str) -> tuple[ipam.Subnet, str] | None:
    """(subnet, gateway) that a bridge has already; None when there is no such bridge or it has no address."""
    link = rtnetlink.find_link(netlink, name)
    for index, address, prefix in rtnetlink.addresses(netlink) if link else ():
        if link and index == link.index:
            return ipam.Subnet(f"{address}/{prefix}"), address
    return None


def subnets_in_use(netlink: Socket) -> list[ipam.Subnet]:
    """What a new network must not overlap: subnets that the host reaches without a gateway, and its nameservers.

    That is Docker's rule (libnetwork's FindAvailableNetwork); a mere route through a gateway does not count. The
    address of docker0 counts even while docker0 is down and has no route.
    """
    taken = [ipam.Subnet(f"{address}/{prefix}") for address, prefix in rtnetlink.connected_subnets(netlink)]
    taken += [ipam.Subnet(server) for server in dns.nameservers(dns.read("/etc/resolv.conf")) if ":" not in server]
    docker = present_subnet(netlink, "docker0")
    return [*taken, docker[0]] if docker else taken


def random_mac() -> str:
    """02:42 and four random bytes."""
    return f"02:42:{os.urandom(4).hex(':')}"


def ensure(netlink: Socket, bridge: Bridge, index: int) -> bool:
    """Make the bridge, still down, with its address, unless it is there. True when it was made.

    Arguments: index (int), the number it shall have, 0 for the next one.
    """
    link = rtnetlink.find_link(netlink, bridge.name)
    made = link is None
    if made:
        netlink.do(rtnetlink.new_bridge(index, name=bridge.name, mac=random_mac(), txqlen=0))
        link = rtnetlink.find_link(netlink, bridge.name)
        accept_ra = f"/proc/sys/net/ipv6/conf/{bridge.name}/accept_ra"
        if os.path.exists(accept_ra):  # absent on a kernel without IPv6
            procfs.write(accept_ra, "0")
    assert link is not None
    if (link.index, bridge.gateway, bridge.subnet.prefix) not in rtnetlink.addresses(netlink):
        netlink.do(rtnetlink.new_address(link, bridge.gateway, bridge.subnet.prefix, bridge.subnet.broadcast))
    return made


def ensure_up(netlink: Socket, bridge: Bridge) -> int:
    """Start the bridge, unless it runs. Returns: its index."""
    link = rtnetlink.find_link(netlink, bridge.name)
    assert link is not None
    if not link.up:
        netlink.do(rtnetlink.set_link(link, up=True))
    return link.index


def remove(netlink: Socket, name: str) -> None:
    """Delete a bridge; fine when it is gone already."""
    link = rtnetlink.find_link(netlink, name)
    if link is not None:
        netlink.do(rtnetlink.del_link(link))


def forwards() -> bool:
    """True when the kernel passes packets on from link to link."""
    return procfs.read(FORWARDING).strip() != "0"


def set_forwarding(value: str) -> None:
    """ "1": the kernel passes packets on, "0": it keeps what is not for it."""
    procfs.write(FORWARDING, value)
