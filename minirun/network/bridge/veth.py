"""The veth pair (a cable): two network devices, and what is sent into one comes out of the other (veth(4)).

One end is a port of the bridge and stays on the host; the other is eth0 in the container. Docker creates both on the
host, moves one to the container's namespace and renames it there. The result is the same when that end is created in
the namespace from the start, under its final name, and it saves 25 ms: a move waits twice until no processor can still
see the device on the host (RCU). What would give the difference away are the interface indexes: each namespace counts
them for itself, and Docker's two ends have N (container) and N+1 (host) of the host's count. So we ask for those.
"""

from __future__ import annotations

from minirun import store
from minirun.errors import KernelError
from minirun.kernel import procfs
from minirun.kernel.namespaces import inside
from minirun.kernel.netlink import addresses, links
from minirun.kernel.netlink.links import Link, Netns, Socket
from minirun.kernel.syscalls import CLONE_NEWNET
from minirun.light import TYPE_CHECKING, os, socket
from minirun.trace import step

if TYPE_CHECKING:
    from minirun.kernel.netlink.socket import Message
    from minirun.network.bridge.device import Bridge

DISABLE_IPV6 = "/proc/sys/net/ipv6/conf/all/disable_ipv6"
LOOPBACK = Link(1, "lo")  # the first device of every network namespace


def random_name() -> str:
    """A name for the end on the host, as Docker makes it: veth and seven random hexadecimal digits."""
    return f"veth{os.urandom(4).hex()[:7]}"


def mac_of(address: str) -> str:
    """The MAC for an IPv4 address: 02:42 and its four bytes, so unique on the bridge because the address is."""
    return f"02:42:{addresses.packed_address(address).hex(':')}"


def allocate_indexes(counter: int, count: int) -> int:
    """Allocate `count` (int) consecutive free interface indexes. Returns: the first.

    Arguments: counter (int), open file with the index to look from; the caller holds its lock.
    """
    text = os.pread(counter, 16, 0).strip()
    index = max(2, int(text)) if text.isdigit() else 2  # 1 is lo
    while in_use(index, count):
        index += 1
    save_next_index(counter, index + count)
    return index


def save_next_index(counter: int, index: int) -> None:
    """Write the index to look from next; of fixed length, so that one write replaces all of the old one."""
    os.pwrite(counter, f"{index:>10}\n".encode(), 0)


def exists(name: str) -> bool:
    """Whether the host has a network device of this name."""
    return index_of(name) > 0


def index_of(name: str) -> int:
    """The interface index of the host's device of this name; 0 when there is none."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def has_traffic(name: str) -> bool:
    """Whether the container has sent or received anything through this veth pair.

    Without a packet, not even ARP, it has no connection that conntrack could know. True also when that cannot be told,
    since the pair is gone.

    Arguments: name (str), the end on the host. What the container sent is counted by the other end, which may be gone
    already; then the kernel says 0, and `iflink`, the index of the other end, is 0 as well. What the container received
    is counted at our end.
    """

    def read(file: str) -> str:
        return procfs.read(f"/sys/class/net/{name}/{file}").strip()

    try:
        if read("statistics/rx_packets") != "0":
            return True
        # In this order: once the other end is gone it does not come back, so the counter that is read after is final.
        return read("iflink") == "0" and read("statistics/tx_packets") != "0"
    except KernelError:
        return True


def in_use(index: int, count: int) -> bool:
    """Whether a device of the host has one of the `count` (int) interface indexes from `index` on."""
    for candidate in range(index, index + count):
        try:
            socket.if_indextoname(candidate)
        except OSError:
            continue
        return True
    return False


def connect(bridge: Bridge, endpoint: dict, netns: Netns, *, default_route: bool = True) -> None:
    """Create the veth pair of an endpoint, with addresses and routes at the container's end.

    Arguments: endpoint (dict), see `bridge.endpoint.create`; netns, the container's network namespace; default_route
    (bool), whether its default route leads to the bridge. Errors: KernelError; no veth pair is left then.
    """
    host_interface, eth = endpoint["HostInterface"], Link(endpoint["InterfaceIndex"], endpoint["Interface"])
    near = {"name": host_interface, "txqlen": 0, "mtu": bridge.mtu, "master": links.named(bridge.name)}
    far = {"netns": netns, "name": eth.name, "mac": endpoint["MacAddress"], "txqlen": 0, "mtu": bridge.mtu}
    with open_prepared(netns) as container, Socket() as host:
        with step("lay a cable from the bridge to the container"):
            host.do(links.new_veth(near, far, index=eth.index, up=True))
        try:
            if bridge.hairpin:
                host.do(links.set_hairpin(Link(eth.index + 1, host_interface)))
            if endpoint.get("GlobalIPv6Address"):
                _enable_ipv6(netns, eth)
            with step("give the container its address and the way out"):
                container.do(
                    *_addresses(bridge, endpoint, eth),
                    links.set_link(eth, up=True),
                    *(_default_routes(endpoint, eth) if default_route else []),
                )
        except BaseException:
            delete(host, host_interface)
            raise


def _addresses(bridge: Bridge, endpoint: dict, eth: Link) -> list[Message]:
    subnet, address6 = bridge.subnet, endpoint.get("GlobalIPv6Address")
    messages = [addresses.new_address(eth, endpoint["IPAddress"], subnet.prefix, subnet.broadcast)]
    if address6:  # without duplicate address detection (RFC 4862): IPAM has already seen to it that it is unique
        messages.append(addresses.new_address(eth, address6, endpoint["GlobalIPv6PrefixLen"], "", nodad=True))
    return messages


def _default_routes(endpoint: dict, eth: Link) -> list[Message]:
    return [addresses.new_default_route(eth, endpoint[key]) for key in ("Gateway", "IPv6Gateway") if endpoint.get(key)]


def set_default_routes(netns: Netns, endpoint: dict | None) -> None:
    """Replace the default routes in a network namespace by those of an endpoint, or by none."""
    with step("move the default route"), links.open_in(netns) as container:
        names = {link.index: link for link in links.links(container)}
        wanted = _default_routes(endpoint, Link(endpoint["InterfaceIndex"], endpoint["Interface"])) if endpoint else []
        old = [
            addresses.del_default_route(names[index], gateway)
            for index, gateway in addresses.default_routes(container)
            if index in names
        ]
        if old or wanted:
            container.do(*old, *wanted)


def open_prepared(netns: Netns) -> Socket:
    """A netlink socket in the container's network namespace; there the loopback is up now, and IPv6 disabled, as in
    Docker.

    IPv6 first, while there is no device that could configure an address by itself (SLAAC).
    """
    with step("switch IPv6 off and the loopback on"):
        container = links.open_in(netns, first=_disable_ipv6)
        container.do(links.set_link(LOOPBACK, up=True))
    return container


def _disable_ipv6() -> None:
    """Disable IPv6 in the current network namespace: /proc/sys/net shows that of the process that opens it.

    A namespace that has been prepared before is left alone: IPv6 may be enabled on one of its links by now.
    """
    if store.exists(DISABLE_IPV6) and procfs.read(DISABLE_IPV6).strip() != "1":  # absent on a kernel without IPv6
        procfs.write(DISABLE_IPV6, "1")


def _enable_ipv6(netns: Netns, eth: Link) -> None:
    """Enable IPv6 on one link, and on the loopback, which then gets ::1."""
    with step("switch IPv6 on"), inside(netns, CLONE_NEWNET):
        for name in (LOOPBACK.name, eth.name):
            procfs.write(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "0")


def disable_ipv6_on_loopback(netns: Netns) -> None:
    """The loopback loses ::1 with the last link that has an IPv6 address, as in Docker."""
    with step("switch IPv6 off on the loopback"), inside(netns, CLONE_NEWNET):
        procfs.write(f"/proc/sys/net/ipv6/conf/{LOOPBACK.name}/disable_ipv6", "1")


def delete(netlink: Socket, name: str) -> bool:
    """Delete a veth pair by the name of its end on the host. Returns: False when it is gone already, or is no veth."""
    link = links.find_link(netlink, name)
    if link is None or link.kind != "veth":
        return False
    try:
        netlink.do(links.del_link(link))
    except KernelError as error:
        if links.find_link(netlink, name) is not None:
            raise error
    return True
