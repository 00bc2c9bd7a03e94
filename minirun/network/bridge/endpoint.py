"""Endpoints: a container's place on one network, with a veth pair (the container's cable), addresses and a MAC.

An endpoint is a plain dict, so that it can be saved beside the container and taken apart by another process. Its life,
beside the calls that libnetwork has for it:

    create       CreateEndpoint   reserve addresses, and a name and interface indexes for the veth pair
    join         Join             create the veth pair, from the bridge into the sandbox (the container's netns)
    disconnect   Leave, Delete    release the addresses; the kernel deletes the veth pair together with the netns

`connect` is `create` and `join` in one.
"""

from __future__ import annotations

import errno
import time

from minirun import store, stringid
from minirun.errors import EngineError, KernelError, NoSuchNetwork
from minirun.kernel.netlink.links import Netns
from minirun.kernel.netlink.socket import Socket
from minirun.light import os
from minirun.network.bridge import veth
from minirun.network.ipam import address_pool
from minirun.network.ipam.subnet import address_of
from minirun.network.iptables import conntrack
from minirun.network.network import Network, directory_of
from minirun.trace import step

#: Seconds that the kernel has to delete the veth pair of an ended container. After that something else holds the netns
#: open, and we delete the pair ourselves.
VETH_GRACE = 5


def connect(network: Network, container: str, netns: str | int, config: dict | None = None) -> dict:
    """Connect a container to a network: create an endpoint and join the sandbox.

    Arguments: container (str), its ID; netns, a pid (int) or the path of a network namespace (str); config, see
    `create`. Returns: the endpoint. Errors: MinirunError; nothing is left then.
    """
    endpoint = create(network, container, config)
    try:
        join(network, endpoint, netns)
    except BaseException:
        disconnect(network.run, endpoint)
        raise
    return endpoint


# ---- create -----------------------------------------------------------------------------------------------------


def create(network: Network, container: str, config: dict | None = None, *, interface: str = "eth0") -> dict:
    """Create an endpoint: all that can be decided before the container's network namespace exists.

    Arguments: config, what the user asked for: "IPv4Address", "IPv6Address", "MacAddress"; interface (str), the name
    of the container's network interface. Returns: the endpoint, with the keys of Docker's EndpointSettings where there
    is one; on a network without a bridge little more than its ID.
    Errors: EngineError when no address is free, or not the one that was asked for; NoSuchNetwork.
    """
    config = {key: value for key, value in (config or {}).items() if value}
    endpoint: dict = {
        "Network": network.name,
        "NetworkID": network.id,
        "EndpointID": stringid.generate(),
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
    check_requested_addresses(network, config)
    bridge, host_interface = network.bridge, veth.random_name()
    with step("reserve an address"), store.lock(f"{network.run}/networks/ifindex") as lock:
        try:
            _reserve_addresses(network, endpoint, config, host_interface)
        except FileNotFoundError:  # the network was removed in the meantime
            raise NoSuchNetwork(network.name) from None
        index = veth.allocate_indexes(lock.fd, 2)
    _delete_stale_veths(network.directory)
    endpoint.update(
        Gateway=bridge.gateway,
        IPPrefixLen=bridge.subnet.prefix,
        Interface=interface.replace("eth", bridge.prefix, 1),
        InterfaceIndex=index,
        Bridge=bridge.name,
        HostInterface=host_interface,
    )
    if bridge.pool6:
        endpoint.update(IPv6Gateway=bridge.gateway6, GlobalIPv6PrefixLen=bridge.pool6.subnet.prefix)
    return endpoint


def check_requested_addresses(network: Network, config: dict) -> None:
    """An address may be asked for only on a subnet that the user configured. Errors: EngineError."""
    configured = network.record["Configured"]
    if config.get("IPv4Address") and 4 not in configured or config.get("IPv6Address") and 6 not in configured:
        raise EngineError(
            "user specified IP address is supported only when connecting to networks with user configured subnets"
        )


def _reserve_addresses(network: Network, endpoint: dict, config: dict, host_interface: str) -> None:
    bridge, directory = network.bridge, network.directory
    owner = endpoint["ContainerID"], host_interface
    if "IPv4Address" in config:
        address = address_pool.reserve_address(directory, bridge.pool, config["IPv4Address"], *owner)
    else:
        address = address_pool.reserve_next(directory, bridge.pool, *owner) or _pool_exhausted(network, 4)
    endpoint.update(IPAddress=address, MacAddress=config.get("MacAddress") or veth.mac_of(address))
    if not bridge.pool6:
        return
    try:
        if network.is_default:
            address6 = _address_from_mac(bridge.pool6, endpoint["MacAddress"])
            address_pool.reserve_address(directory, bridge.pool6, address6, *owner)
        elif "IPv6Address" in config:
            address6 = address_pool.reserve_address(directory, bridge.pool6, config["IPv6Address"], *owner)
        else:
            address6 = address_pool.reserve_next(directory, bridge.pool6, *owner) or _pool_exhausted(network, 6)
    except BaseException:
        address_pool.release(directory, address, endpoint["ContainerID"])
        raise
    endpoint["GlobalIPv6Address"] = address6


def _pool_exhausted(network: Network, version: int) -> str:
    raise EngineError(
        f"no available IPv{version} addresses on this network's address pools: {network.name} ({network.id})"
    )


def _address_from_mac(pool: address_pool.Pool, mac: str) -> str:
    """The IPv6 address on the default bridge: its last 48 bits are the MAC."""
    if pool.subnet.prefix > 80:
        raise EngineError(
            f"Cannot self generate an IPv6 address on network {pool.subnet}: At least 48 host bits are needed."
        )
    return address_of(pool.subnet.first + int(mac.replace(":", ""), 16), pool.subnet.family)


# ---- join -------------------------------------------------------------------------------------------------------


def join(network: Network, endpoint: dict, netns: str | int, *, default_route: bool = True) -> None:
    """Join the sandbox: create the endpoint's veth pair between the bridge and the container's network namespace.

    One container at a time: the kernel has one lock for all changes to network devices (RTNL), and a process that
    writes to `disable_ipv6` meanwhile does not sleep until it is free but restarts the system call again and again, at
    the price of a whole processor (addrconf_sysctl_disable, restart_syscall).

    Arguments: netns, as for `connect`; default_route (bool), whether the container's default route leads through this
    network. Errors: KernelError; there is no veth pair then, but the addresses are still reserved.
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
                taken = error.errno in (errno.EBUSY, errno.EEXIST) and veth.in_use(endpoint["InterfaceIndex"], 2)
                if not taken:
                    raise
            # The kernel gave one of our two indexes to another program's device: try with the next ones.
            with store.lock(f"{network.run}/networks/ifindex") as lock:
                endpoint["InterfaceIndex"] = veth.allocate_indexes(lock.fd, 2)


def set_default_route(netns: str | int, endpoint: dict | None) -> None:
    """Replace a running container's default routes by those to this endpoint's gateways; with None by none."""
    with Netns(_path_of(netns)) as opened:
        veth.set_default_routes(opened, endpoint)


def disable_ipv6_on_loopback(netns: str | int) -> None:
    """Remove ::1 from the loopback of a running container that has left its last network with IPv6."""
    with Netns(_path_of(netns)) as opened:
        veth.disable_ipv6_on_loopback(opened)


def set_up_loopback(netns: str | int) -> None:
    """What --network none gives: a loopback that is up, IPv6 disabled, and no other interface."""
    with Netns(_path_of(netns)) as opened:
        veth.open_prepared(opened).close()


def _path_of(netns: str | int) -> str:
    return f"/proc/{netns}/ns/net" if isinstance(netns, int) else netns


# ---- disconnect -------------------------------------------------------------------------------------------------


def disconnect(run: str, endpoint: dict, *, unplug: bool = False) -> None:
    """Disconnect a container from a network: leave the sandbox and delete the endpoint. May be called twice.

    Arguments: run (str), the exec root; unplug (bool), whether to delete the veth pair now, which takes some 20 ms. For
    a container that has ended that is not needed: the kernel deletes the network namespace, and the pair with it, when
    its last process is gone. Until then the pair's name is kept in `cables/`, in case something holds the namespace
    open.
    """
    if not endpoint.get("HostInterface"):
        return
    directory = directory_of(run, endpoint["Network"], endpoint["NetworkID"])
    host_interface, owner = endpoint["HostInterface"], endpoint["ContainerID"]
    has_rules = store.exists(f"{directory}/rules/{endpoint['EndpointID']}")
    if has_rules:
        from minirun.network.iptables import apply, endpoint_rules

        with step("take its firewall rules away"), apply.writing(run) as lock:
            endpoint_rules.remove(directory, endpoint, known=lock.known)
    if endpoint["IPAddress"] and (has_rules or veth.has_traffic(host_interface)):
        conntrack.delete_entries(endpoint["IPAddress"])  # before another container gets the address
    try:
        with step("give the address back"), store.lock(f"{run}/networks/ifindex"):
            address_pool.release(directory, endpoint.get("GlobalIPv6Address", ""), owner)
            address_pool.release(directory, endpoint["IPAddress"], owner, f"{directory}/cables/{host_interface}")
    except FileNotFoundError:  # the whole directory is gone, and the reservation with it
        pass
    if unplug:
        with step("pull the cable out"), Socket() as netlink:
            veth.delete(netlink, host_interface)
        store.discard(f"{directory}/cables/{host_interface}")


def _delete_stale_veths(directory: str) -> None:
    """Forget the veth pairs of ended endpoints that are gone, and delete those that should be gone by now."""
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
            continue  # another command was faster; or the name stays there, and `gc.leftovers` reports it
