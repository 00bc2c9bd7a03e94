"""What the first start after a boot lays under all networks: forwarding, minirun0, the firewall rules.

The order is dockerd's: forwarding on, the bridge made, its address while it is down, the rules, the bridge up. From
then on the record of the network carries a stamp, and no start comes here again until the host or the bridge changed.
"""

from __future__ import annotations

import os
import time

from minirun import store
from minirun.errors import MinirunError
from minirun.kernel import procfs
from minirun.kernel.netlink import Socket
from minirun.network import bridge as bridges
from minirun.network import firewall, ipam, veth
from minirun.trace import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.network.firewall import Undo


def host() -> str:
    """What tells this boot and this network namespace from any other: the stamp."""
    return f"{procfs.boot_id()} {os.stat('/proc/self/ns/net').st_ino}"


def lay(directory: str, name: str, counter: int) -> dict:
    """Make the default network in the kernel, or complete what is there, and write its record.

    Arguments: directory (str), the network's files; name (str), the network's name; counter (int), open file with the
    next device number, whose lock the caller holds. Returns: the record. Errors: MinirunError; nothing is left then.
    """
    undo: Undo = []
    owes_drop = f"{os.path.dirname(directory)}/forward-drop"
    with Socket() as netlink:
        record, first_time = _plan(f"{directory}/network.json", name, netlink)
        bridge = bridges.of_record(record)
        try:
            with step("see that the firewall can be used"):
                firewall.ensure_usable()
            with step("let the kernel pass packets from link to link"):
                _ensure_forwarding(owes_drop, undo)
            with step(f"make the bridge {bridge.name}"):
                if bridges.ensure(netlink, bridge, 0 if first_time else veth.take_numbers(counter, 1)):
                    undo.append(lambda: bridges.remove(netlink, bridge.name))
            with step("set the firewall rules"):
                firewall.ensure(bridge, drop=os.path.exists(owes_drop), undo=undo)
            with step(f"start {bridge.name}"):
                record["BridgeIndex"] = bridges.ensure_up(netlink, bridge)
        except BaseException:
            _roll_back(undo)
            raise
    if first_time:
        veth.remember_number(counter, record["BridgeIndex"] + 1)
    store.write(f"{directory}/network.json", record)
    store.discard(owes_drop)
    return record


def _plan(path: str, name: str, netlink: Socket) -> tuple[dict, bool]:
    """Decide what the default network is to be.

    Its subnet is, in this order: what minirun0 has; what it had before somebody deleted it; Docker's first free pool.
    Returns: the record, and whether minirun is on this host (this boot, this namespace) for the first time.
    """
    try:
        record = store.read(path)
    except (FileNotFoundError, MinirunError):
        record = {}
    first_time = record.get("Host") != host()
    if first_time:
        record = {"Name": name, "Id": os.urandom(32).hex(), "Created": _now(), "Bridge": bridges.NAME, "MTU": 1500,
                  "Host": host()}
    taken = bridges.subnets_in_use(netlink)
    present = bridges.present_subnet(netlink, bridges.NAME)
    if present:
        record["Subnet"], record["Gateway"] = str(present[0]), present[1]
    elif "Subnet" not in record or any(ipam.Subnet(record["Subnet"]).overlaps(other) for other in taken):
        subnet = ipam.free_pool(taken)
        record["Subnet"], record["Gateway"] = str(subnet), ipam.address_of(subnet.first + 1)
    return record, first_time


def _now() -> str:
    """RFC 3339 in UTC, as Docker writes it: nanoseconds without trailing zeros."""
    now = time.time_ns()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now // 10**9))}.{now % 10**9:09d}".rstrip("0.") + "Z"


def _ensure_forwarding(owes_drop: str, undo: Undo) -> None:
    """Turn forwarding on. Whoever does that must set FORWARD's policy to DROP, as Docker does.

    The debt is written down first (a file at `owes_drop`): whoever is killed between the two leaves it to the next
    one, and not an open host.
    """
    if bridges.forwards():
        return
    store.write_text(owes_drop, "")
    bridges.set_forwarding("1")
    undo.append(lambda: store.discard(owes_drop))
    undo.append(lambda: bridges.set_forwarding("0"))


def _roll_back(undo: Undo) -> None:
    while undo:
        try:
            undo.pop()()
        except MinirunError:
            continue  # the error that brought us here is the one to tell; undo the rest
