"""Networks and the containers on them: the only door into this floor.

An *endpoint* is one container's place on one network: a cable, an address, a MAC. It is a plain dict, so that it can
be written down beside the container and undone by another process. Its life:

    reserve      the lowest free address, name and numbers for the cable; nothing in the kernel yet
    plug         the cable, from the bridge into the container's network namespace        (connect = reserve + plug)
    disconnect   the address is free again; the kernel pulls the cable out when it takes the namespace down

Files below <run>/networks:
    ifindex              the queue (flock), and the next device number as its content
    bridge/network.json  id, subnet, and a stamp: the host and the bridge on which all is known to be in place
    bridge/172.17.0.2    who has this address, and the name of his cable
    bridge/cables/       cables of the past that the kernel has yet to pull out
"""

from __future__ import annotations

import _socket
import errno
import os
import time

from minirun import store
from minirun.errors import EngineError, KernelError, MinirunError
from minirun.kernel import procfs
from minirun.kernel.netlink import Socket
from minirun.kernel.rtnetlink import Netns
from minirun.network import bridge as bridges
from minirun.network import ipam, veth
from minirun.trace import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable

DEFAULT = "bridge"
#: Seconds after which we pull an old cable out ourselves: somebody holds the ended container's namespace open.
PATIENCE = 5


class Network:
    """A network: `.name`, `.id` (64 hex digits), `.created` (RFC 3339), `.bridge`, `.directory` (its files), `.run`."""

    __slots__ = ("bridge", "created", "directory", "id", "name", "run")

    def __init__(self, run: str, record: dict) -> None:
        self.name, self.id, self.created = record["Name"], record["Id"], record["Created"]
        self.run, self.directory = run, f"{run}/networks/{self.name}"
        self.bridge = bridges.of_record(record)


def ensure_default(run: str) -> Network:
    """The network `bridge`, with minirun0 and its firewall rules in place.

    Arguments: run (str), the exec root. Almost always all is there, and a look at one file and three facts of the
    kernel is what this costs. Errors: MinirunError, for example for a missing iptables; nothing is left then.
    """
    network = _remembered(run, DEFAULT)
    if network is None:
        from minirun.network import foundation  # only the first start after a boot comes here

        directory = f"{run}/networks/{DEFAULT}"
        store.make_directory(f"{directory}/cables")
        with _queue(run) as queue:
            network = _remembered(run, DEFAULT)  # another may have built it while we stood in the queue
            if network is None:
                network = Network(run, foundation.lay(directory, DEFAULT, queue.fd))
    return network


def _queue(run: str) -> store.lock:
    return store.lock(f"{run}/networks/ifindex")


def _remembered(run: str, name: str) -> Network | None:
    """The network as recorded, if its stamp says that this very host has it; else None."""
    try:
        record = store.read(f"{run}/networks/{name}/network.json")
        host = f"{procfs.boot_id()} {os.stat('/proc/self/ns/net').st_ino}"
        # A bridge that was deleted and made again has another number. OSError: there is none.
        known = record["Host"] == host and record["BridgeIndex"] == _socket.if_nametoindex(record["Bridge"])
    except (OSError, MinirunError):  # none yet, or a damaged record: it will be built
        return None
    return Network(run, record) if known else None


# ---- endpoints -------------------------------------------------------------------------------------------------

def connect(network: Network, container: str, netns: str | int, *, mac: str = "") -> dict:
    """Plug a container into a network.

    Arguments: container (str), its ID; netns, a pid (int) or the path of a network namespace (str); mac (str), else
    it is made from the address. Returns: the endpoint. Errors: MinirunError; nothing is left then.
    """
    endpoint = reserve(network, container, mac=mac)
    try:
        plug(network, endpoint, netns)
    except BaseException:
        disconnect(network.run, endpoint)
        raise
    return endpoint


def reserve(network: Network, container: str, *, mac: str = "") -> dict:
    """Take an address for a container, and name and numbers for its cable: all that can be known before it exists.

    Returns: the endpoint, with Docker's keys where Docker has one. Errors: EngineError when no address is free.
    """
    bridge, cable = network.bridge, veth.random_name()
    with step("reserve an address"), _queue(network.run) as queue:
        address = ipam.reserve(network.directory, bridge.subnet, bridge.gateway, container, cable)
        if address is None:
            raise EngineError("no available IPv4 addresses on this network's address pools: "
                              f"{network.name} ({network.id})")
        number = veth.take_numbers(queue.fd, 2)
    _pull_out_old_cables(network.directory)
    return {"Network": network.name, "NetworkID": network.id, "EndpointID": os.urandom(32).hex(),
            "ContainerID": container, "Gateway": bridge.gateway, "IPAddress": address,
            "IPPrefixLen": bridge.subnet.prefix, "MacAddress": mac or veth.mac_of(address), "Interface": "eth0",
            "InterfaceIndex": number, "Bridge": bridge.name, "HostInterface": cable}


def plug(network: Network, endpoint: dict, netns: str | int) -> None:
    """Lay the cable of a reserved endpoint; the arguments are those of `connect`.

    Errors: KernelError; no cable is left then, but the address is still reserved.
    """
    with Netns(_path_of(netns)) as opened:
        while True:
            try:
                return veth.plug(network.bridge, endpoint, opened)
            except KernelError as error:
                lost = error.errno in (errno.EBUSY, errno.EEXIST) and veth.in_use(endpoint["InterfaceIndex"], 2)
                if not lost:
                    raise
            with _queue(network.run) as queue:  # another program was given one of our two numbers meanwhile
                endpoint["InterfaceIndex"] = veth.take_numbers(queue.fd, 2)


def loopback_only(netns: str | int) -> None:
    """What --network none gives: a loopback that is on, no IPv6, nothing else."""
    with Netns(_path_of(netns)) as opened:
        veth.open_prepared(opened).close()


def _path_of(netns: str | int) -> str:
    return f"/proc/{netns}/ns/net" if isinstance(netns, int) else netns


def disconnect(run: str, endpoint: dict, *, unplug: bool = False) -> None:
    """Take a container off a network; fine when it is off already.

    Arguments: unplug (bool), pull the cable out now (some 20 ms). A container that has ended needs no such thing: the
    kernel takes its namespace down, and the cable with it, when the last process has left. The cable's name is kept
    until it is gone, should somebody else hold the namespace open.
    """
    directory, cable = f"{run}/networks/{endpoint['Network']}", endpoint["HostInterface"]
    try:
        with step("give the address back"), _queue(run):
            ipam.release(directory, endpoint["IPAddress"], endpoint["ContainerID"], f"{directory}/cables/{cable}")
    except FileNotFoundError:  # the whole directory is gone, and the reservation with it
        pass
    if unplug:
        with step("pull the cable out"), Socket() as netlink:
            veth.unplug(netlink, cable)
        store.discard(f"{directory}/cables/{cable}")


def _pull_out_old_cables(directory: str) -> None:
    """Forget the old cables that are gone, and pull out those that should be by now."""
    for name in _names(f"{directory}/cables"):
        path = f"{directory}/cables/{name}"
        try:
            if veth.exists(name):
                if time.time() - os.stat(path).st_ctime < PATIENCE:
                    continue
                with Socket() as netlink:
                    veth.unplug(netlink, name)
            store.discard(path)
        except (FileNotFoundError, KernelError):
            continue  # another start was faster; or it stays written down, and `leftovers` shows it


# ---- what belongs to nobody ------------------------------------------------------------------------------------

class Leftover:
    """Something of ours that belongs to no living container: `.path` (its file), `.owner` (container ID, "" when
    unknown), `.address` ("" for a cable of the past), `.cable`; `str()` says it to a person."""

    __slots__ = ("address", "cable", "owner", "path")

    def __init__(self, path: str, owner: str, address: str, cable: str) -> None:
        self.path, self.owner, self.address, self.cable = path, owner, address, cable

    def __str__(self) -> str:
        whose = f"container {self.owner[:12]}, which is gone" if self.owner else "nobody"
        return f"address {self.address} is held for {whose}" if self.address else \
            f"link {self.cable} remains of {whose}"


def leftovers(run: str, live_ids: Container[str]) -> list[Leftover]:
    """Addresses and cables of ours that belong to no living container.

    Arguments: live_ids, the IDs of containers that run or are being started. It is asked (`in`) after a reservation
    was read, so an object that looks at that moment sees also a container that was begun meanwhile.
    """
    found = []
    for name in _names(f"{run}/networks"):
        directory = f"{run}/networks/{name}"
        with _queue(run):  # nobody is half-way through signing a reservation
            held = ipam.reservations(directory) if os.path.isdir(directory) else []
        found += [Leftover(f"{directory}/{address}", owner, address, cable) for address, owner, cable in held
                  if owner not in live_ids]
        for cable in _names(f"{directory}/cables"):
            if veth.exists(cable):
                owner = ipam.owner_of(f"{directory}/cables", cable)[0]
                found.append(Leftover(f"{directory}/cables/{cable}", owner, "", cable))
    return found


def clear(run: str, found: Iterable[Leftover]) -> None:
    """Clear leftovers away: pull the cables out, then free the addresses. Fine when they are gone already."""
    with Socket() as netlink:
        for leftover in found:
            with _queue(run):
                directory, name = os.path.split(leftover.path)
                if ipam.owner_of(directory, name)[0] != leftover.owner:
                    continue  # the address was freed and belongs to somebody else by now
                if leftover.cable:
                    veth.unplug(netlink, leftover.cable)
                store.discard(leftover.path)


class _Others:
    """All containers but one."""

    def __init__(self, container: str) -> None:
        self.container = container

    def __contains__(self, other: object) -> bool:
        return other != self.container


def release_all(run: str, container: str) -> None:
    """Give back whatever a container has, for one of which it is not known; fine when it has nothing."""
    found = leftovers(run, _Others(container))
    if found:
        clear(run, [leftover for leftover in found if leftover.owner == container])


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
