"""An *endpoint* is one container's place on one network: a cable, addresses, a MAC.

It is a plain dict, so that it can be written down beside the container and undone by another process. Its life:

    reserve      the lowest free address, name and numbers for the cable; nothing in the kernel yet
    plug         the cable, from the bridge into the container's network namespace        (connect = reserve + plug)
    disconnect   the address is free again; the kernel pulls the cable out when it takes the namespace down
"""

from __future__ import annotations

import errno
import os
import time

from minirun import store
from minirun.errors import EngineError, KernelError, NoSuchNetwork
from minirun.kernel.netlink.links import Netns
from minirun.kernel.netlink.socket import Socket
from minirun.network.bridge import veth
from minirun.network.ipam import address_pool
from minirun.network.ipam.subnet import address_of
from minirun.network.iptables import conntrack
from minirun.network.network import Network, directory_of
from minirun.trace import step

#: Seconds after which we pull an old cable out ourselves: somebody holds the ended container's namespace open.
VETH_GRACE = 5


def connect(network: Network, container: str, netns: str | int, wish: dict | None = None) -> dict:
    """Plug a container into a network.

    Arguments: container (str), its ID; netns, a pid (int) or the path of a network namespace (str); wish, see
    `reserve`. Returns: the endpoint. Errors: MinirunError; nothing is left then.
    """
    endpoint = create(network, container, wish)
    try:
        join(network, endpoint, netns)
    except BaseException:
        disconnect(network.run, endpoint)
        raise
    return endpoint


# ---- reserve ----------------------------------------------------------------------------------------------------


def create(network: Network, container: str, wish: dict | None = None, *, interface: str = "eth0") -> dict:
    """Take addresses for a container, and name and numbers for its cable: all that can be known before it exists.

    Arguments: wish, what the user asked for: "IPv4Address", "IPv6Address", "MacAddress"; interface (str), what the link
    is to be called in there. Returns: the endpoint, with Docker's keys where Docker has one; of a network without a
    bridge little more than its ID. Errors: EngineError when no address is free, or not the one that was asked for.
    """
    wish = {key: value for key, value in (wish or {}).items() if value}
    endpoint: dict = {
        "Network": network.name,
        "NetworkID": network.id,
        "EndpointID": os.urandom(32).hex(),
        "ContainerID": container,
        "Gateway": "",
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "MacAddress": "",
    }
    if not network.has_bridge:
        return endpoint
    check_requested_addresses(network, wish)
    bridge, cable = network.bridge, veth.random_name()
    with step("reserve an address"), store.lock(f"{network.run}/networks/ifindex") as queue:
        try:
            _reserve_addresses(network, endpoint, wish, cable)
        except FileNotFoundError:  # the network was removed at this moment
            raise NoSuchNetwork(network.name) from None
        number = veth.take_numbers(queue.fd, 2)
    _pull_out_old_cables(network.directory)
    endpoint.update(
        Gateway=bridge.gateway,
        IPPrefixLen=bridge.subnet.prefix,
        Interface=interface.replace("eth", bridge.prefix, 1),
        InterfaceIndex=number,
        Bridge=bridge.name,
        HostInterface=cable,
    )
    if bridge.pool6:
        endpoint.update(IPv6Gateway=bridge.gateway6, GlobalIPv6PrefixLen=bridge.pool6.subnet.prefix)
    return endpoint


def check_requested_addresses(network: Network, wish: dict) -> None:
    """Only where the user chose the subnet he may choose an address. Errors: EngineError."""
    configured = network.record["Configured"]
    if wish.get("IPv4Address") and 4 not in configured or wish.get("IPv6Address") and 6 not in configured:
        raise EngineError(
            "user specified IP address is supported only when connecting to networks with user configured subnets"
        )


def _reserve_addresses(network: Network, endpoint: dict, wish: dict, cable: str) -> None:
    bridge, owner, directory = network.bridge, endpoint["ContainerID"], network.directory
    if "IPv4Address" in wish:
        address = address_pool.take(directory, bridge.pool, wish["IPv4Address"], owner, cable)
    else:
        address = address_pool.reserve(directory, bridge.pool, owner, cable) or _none_left(network, 4)
    endpoint.update(IPAddress=address, MacAddress=wish.get("MacAddress") or veth.mac_of(address))
    if not bridge.pool6:
        return
    try:
        if network.is_default:
            six = _from_mac(bridge.pool6, endpoint["MacAddress"])
            address_pool.take(directory, bridge.pool6, six, owner, cable)
        elif "IPv6Address" in wish:
            six = address_pool.take(directory, bridge.pool6, wish["IPv6Address"], owner, cable)
        else:
            six = address_pool.reserve(directory, bridge.pool6, owner, cable) or _none_left(network, 6)
    except BaseException:
        address_pool.release(directory, address, owner)
        raise
    endpoint["GlobalIPv6Address"] = six


def _none_left(network: Network, version: int) -> str:
    raise EngineError(
        f"no available IPv{version} addresses on this network's address pools: {network.name} ({network.id})"
    )


def _from_mac(pool: address_pool.Pool, mac: str) -> str:
    """On the default bridge the MAC makes the last 48 bits of the IPv6 address."""
    if pool.subnet.prefix > 80:
        raise EngineError(
            f"Cannot self generate an IPv6 address on network {pool.subnet}: At least 48 host bits are needed."
        )
    return address_of(pool.subnet.first + int(mac.replace(":", ""), 16), pool.subnet.family)


# ---- plug -------------------------------------------------------------------------------------------------------


def join(network: Network, endpoint: dict, netns: str | int, *, default_route: bool = True) -> None:
    """Lay the cable of a reserved endpoint.

    One at a time: the kernel has one lock for all changes to networks (RTNL), and whoever writes to `disable_ipv6`
    meanwhile does not wait for it but tries again and again, with a whole processor (addrconf_sysctl_disable).

    Arguments: netns, as for `connect`; default_route (bool), whether this network is the container's way out.
    Errors: KernelError; no cable is left then, but the address is still reserved.
    """
    if network.driver == "null":
        set_up_loopback(netns)
    if not network.has_bridge:
        return
    with Netns(_path_of(netns)) as opened:
        while True:
            try:
                with store.lock(f"{network.run}/networks/rtnl"):
                    veth.connect(network.bridge, endpoint, opened, default_route=default_route)
                return
            except KernelError as error:
                lost = error.errno in (errno.EBUSY, errno.EEXIST) and veth.in_use(endpoint["InterfaceIndex"], 2)
                if not lost:
                    raise
            with store.lock(f"{network.run}/networks/ifindex") as queue:  # another program was given one of our two
                endpoint["InterfaceIndex"] = veth.take_numbers(queue.fd, 2)


def set_default_route(netns: str | int, endpoint: dict | None) -> None:
    """Have a running container's default routes lead to this endpoint's gateways; None for no way out at all."""
    with Netns(_path_of(netns)) as opened:
        veth.set_default_routes(opened, endpoint)


def disable_ipv6_on_loopback(netns: str | int) -> None:
    """What is left of IPv6 in a running container that has come off its last network with IPv6: nothing."""
    with Netns(_path_of(netns)) as opened:
        veth.switch_off_ipv6_on_loopback(opened)


def set_up_loopback(netns: str | int) -> None:
    """What --network none gives: a loopback that is on, no IPv6, nothing else."""
    with Netns(_path_of(netns)) as opened:
        veth.open_prepared(opened).close()


def _path_of(netns: str | int) -> str:
    return f"/proc/{netns}/ns/net" if isinstance(netns, int) else netns


# ---- disconnect -------------------------------------------------------------------------------------------------


def disconnect(run: str, endpoint: dict, *, unplug: bool = False) -> None:
    """Take a container off a network; fine when it is off already.

    Arguments: unplug (bool), pull the cable out now (some 20 ms). A container that has ended needs no such thing: the
    kernel takes its namespace down, and the cable with it, when the last process has left. The cable's name is kept
    until it is gone, should somebody else hold the namespace open.
    """
    if not endpoint.get("HostInterface"):
        return
    directory = directory_of(run, endpoint["Network"], endpoint["NetworkID"])
    cable, owner = endpoint["HostInterface"], endpoint["ContainerID"]
    ruled = os.path.exists(f"{directory}/rules/{endpoint['EndpointID']}")
    if ruled:
        from minirun.network.iptables import apply, endpoint_rules

        with step("take its firewall rules away"), apply.writing(run) as lock:
            endpoint_rules.remove(directory, endpoint, known=lock.known)
    if endpoint["IPAddress"] and (ruled or veth.has_spoken(cable)):
        conntrack.forget(endpoint["IPAddress"])  # before somebody else has the address
    try:
        with step("give the address back"), store.lock(f"{run}/networks/ifindex"):
            address_pool.release(directory, endpoint.get("GlobalIPv6Address", ""), owner)
            address_pool.release(directory, endpoint["IPAddress"], owner, f"{directory}/cables/{cable}")
    except FileNotFoundError:  # the whole directory is gone, and the reservation with it
        pass
    if unplug:
        with step("pull the cable out"), Socket() as netlink:
            veth.delete(netlink, cable)
        store.discard(f"{directory}/cables/{cable}")


def _pull_out_old_cables(directory: str) -> None:
    """Forget the old cables that are gone, and pull out those that should be by now."""
    for name in store.names(f"{directory}/cables"):
        path = f"{directory}/cables/{name}"
        try:
            if veth.exists(name):
                if time.time() - os.stat(path).st_ctime < VETH_GRACE:
                    continue
                with Socket() as netlink:
                    veth.delete(netlink, name)
            store.discard(path)
        except (FileNotFoundError, KernelError):
            continue  # another start was faster; or it stays written down, and `leftovers` shows it
