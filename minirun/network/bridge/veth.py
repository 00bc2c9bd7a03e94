"""A veth is a cable: two network devices, and what goes into one comes out of the other (veth(4)).

One end is a port of the bridge and stays on the host; the other is eth0 in the container. Docker makes both on the
host, moves one over and renames it there. The result is the same when that end is made in the container's namespace
from the start, under its final name, and it saves 25 ms: a move waits twice until no processor can still see the
device on the host (RCU). What would give the difference away are the devices' numbers: the kernel counts them for
each namespace, Docker's two ends have N (container) and N+1 (host) in the host's count. So we name the numbers.
"""

from __future__ import annotations

import _socket
import os

from minirun.errors import KernelError
from minirun.kernel import procfs
from minirun.kernel.namespaces import inside
from minirun.kernel.netlink import links
from minirun.kernel.netlink.links import Link, Netns, Socket
from minirun.kernel.syscalls import CLONE_NEWNET
from minirun.trace import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.kernel.netlink.socket import Message
    from minirun.network.bridge.device import Bridge

IPV6_SWITCH = "/proc/sys/net/ipv6/conf/all/disable_ipv6"
LOOPBACK = Link(1, "lo")  # the first device of every network namespace


def random_name() -> str:
    """veth and seven random hexadecimal digits."""
    return f"veth{os.urandom(4).hex()[:7]}"


def mac_of(address: str) -> str:
    """02:42 and the four bytes of the IPv4 address: unique on the bridge because the address is."""
    return f"02:42:{links.packed_address(address).hex(':')}"


def take_numbers(counter: int, count: int) -> int:
    """The first of `count` (int) free device numbers in a row, which are the caller's from now.

    Arguments: counter (int), open file that remembers where to look from; the caller holds its lock.
    """
    text = os.pread(counter, 16, 0).strip()
    number = max(2, int(text)) if text.isdigit() else 2  # 1 is lo
    while in_use(number, count):
        number += 1
    remember_number(counter, number + count)
    return number


def remember_number(counter: int, number: int) -> None:
    """Write where to look from; of fixed length, so that it is written over in one go."""
    os.pwrite(counter, f"{number:>10}\n".encode(), 0)


def exists(name: str) -> bool:
    """True when the host has a link of this name."""
    return number_of(name) > 0


def number_of(name: str) -> int:
    """The number of the host's link of this name; 0 when there is none."""
    try:
        return _socket.if_nametoindex(name)
    except OSError:
        return 0


def has_spoken(name: str) -> bool:
    """Whether the container has spoken with anybody by this cable: who has not even asked or answered ARP has no
    connection. True when that cannot be told, since the cable is gone.

    What has come out of it is counted by the other end, which may have gone already; then the kernel says 0, and
    `iflink`, the number of the other end, is 0 as well. What has gone into it is counted on our side.
    """

    def read(file: str) -> str:
        return procfs.read(f"/sys/class/net/{name}/{file}").strip()

    try:
        if read("statistics/rx_packets") != "0":
            return True
        # In this order: an end that is gone does not come back.
        return read("iflink") == "0" and read("statistics/tx_packets") != "0"
    except KernelError:
        return True


def in_use(number: int, count: int) -> bool:
    """True when a device of the host has one of the `count` (int) numbers from `number` on."""
    for candidate in range(number, number + count):
        try:
            _socket.if_indextoname(candidate)
        except OSError:
            continue
        return True
    return False


def connect(bridge: Bridge, endpoint: dict, netns: Netns, *, default_route: bool = True) -> None:
    """Connect a container with a bridge.

    Arguments: endpoint (dict), what `endpoints.reserve` made; netns, the container's namespace; default_route (bool),
    whether the bridge is its way out. Errors: KernelError; no cable is left then.
    """
    cable, eth = endpoint["HostInterface"], Link(endpoint["InterfaceIndex"], endpoint["Interface"])
    near = {"name": cable, "txqlen": 0, "mtu": bridge.mtu, "master": links.named(bridge.name)}
    far = {"netns": netns, "name": eth.name, "mac": endpoint["MacAddress"], "txqlen": 0, "mtu": bridge.mtu}
    with open_prepared(netns) as container, Socket() as host:
        with step("lay a cable from the bridge to the container"):
            host.do(links.new_veth(near, far, index=eth.index, up=True))
        try:
            if bridge.hairpin:
                host.do(links.set_hairpin(Link(eth.index + 1, cable)))
            if endpoint.get("GlobalIPv6Address"):
                _switch_on_ipv6(netns, eth)
            with step("give the container its address and the way out"):
                container.do(
                    *_addresses(bridge, endpoint, eth),
                    links.set_link(eth, up=True),
                    *(_default_routes(endpoint, eth) if default_route else []),
                )
        except BaseException:
            delete(host, cable)
            raise


def _addresses(bridge: Bridge, endpoint: dict, eth: Link) -> list[Message]:
    subnet, six = bridge.subnet, endpoint.get("GlobalIPv6Address")
    messages = [links.new_address(eth, endpoint["IPAddress"], subnet.prefix, subnet.broadcast)]
    if six:  # nobody else can have it, so nobody need be asked
        messages.append(links.new_address(eth, six, endpoint["GlobalIPv6PrefixLen"], "", nodad=True))
    return messages


def _default_routes(endpoint: dict, eth: Link) -> list[Message]:
    return [links.new_default_route(eth, endpoint[key]) for key in ("Gateway", "IPv6Gateway") if endpoint.get(key)]


def set_default_routes(netns: Netns, endpoint: dict | None) -> None:
    """Replace the default routes in a namespace by those of an endpoint, or by none."""
    with step("move the default route"), links.open_in(netns) as container:
        names = {link.index: link for link in links.links(container)}
        wanted = _default_routes(endpoint, Link(endpoint["InterfaceIndex"], endpoint["Interface"])) if endpoint else []
        going = [
            links.del_default_route(names[index], gateway)
            for index, gateway in links.default_routes(container)
            if index in names
        ]
        if going or wanted:
            container.do(*going, *wanted)


def open_prepared(netns: Netns) -> Socket:
    """A socket in the container's namespace, where the loopback is on from now on, and IPv6 off, as in Docker.

    IPv6 first, while there is no device that could get an address of its own accord.
    """
    with step("switch IPv6 off and the loopback on"):
        container = links.open_in(netns, first=_switch_off_ipv6)
        container.do(links.set_link(LOOPBACK, up=True))
    return container


def _switch_off_ipv6() -> None:
    """/proc/sys/net shows the namespace of the process that looks, so this works only from inside.

    A namespace that has been prepared before is left alone: on one of its links IPv6 may be on by now.
    """
    if os.path.exists(IPV6_SWITCH) and procfs.read(IPV6_SWITCH).strip() != "1":  # absent on a kernel without IPv6
        procfs.write(IPV6_SWITCH, "1")


def _switch_on_ipv6(netns: Netns, eth: Link) -> None:
    """On one link, and on the loopback, which then gets ::1."""
    with step("switch IPv6 on"), inside(netns, CLONE_NEWNET):
        for name in (LOOPBACK.name, eth.name):
            procfs.write(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "0")


def switch_off_ipv6_on_loopback(netns: Netns) -> None:
    """The loopback loses ::1 with the last link that has an IPv6 address, as in Docker."""
    with step("switch IPv6 off on the loopback"), inside(netns, CLONE_NEWNET):
        procfs.write(f"/proc/sys/net/ipv6/conf/{LOOPBACK.name}/disable_ipv6", "1")


def delete(netlink: Socket, name: str) -> bool:
    """Pull a cable out by the name of its end on the host; False when it is gone already, or is no veth."""
    link = links.find_link(netlink, name)
    if link is None or link.kind != "veth":
        return False
    try:
        netlink.do(links.del_link(link))
    except KernelError as error:
        if links.find_link(netlink, name) is not None:
            raise error
    return True
