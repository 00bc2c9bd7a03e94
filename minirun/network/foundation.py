"""What lies under all networks: forwarding, the bridges, the firewall rules.

dockerd lays it when it starts, for all networks it knows; minirun, which has no such moment, at the first start of a
container after a boot, and again when somebody deleted a bridge or changed the rules. The order is dockerd's:
forwarding on, the bridges made, their addresses while they are down, the rules, the bridges up. Networks come in the
order of their IDs, the default one last, so that its rules are on top.

What is laid is written down in <run>/networks/KEY/network.json: the network's record with a stamp. It is written before
anything is made, so that whoever is killed half-way leaves a trace that can be followed.
"""

from __future__ import annotations

import os

from minirun import store
from minirun.errors import MinirunError
from minirun.kernel import procfs
from minirun.kernel.netlink import Socket
from minirun.network import bridge as bridges
from minirun.network import firewall, rulebook, rules, stamps, veth
from minirun.trace import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minirun.network.networks import Network
    from minirun.network.settings import Settings

    Undo = list[Callable[[], object]]

_IPV6_FORWARDING = ("default", "all")
_NF_CALL = "/proc/sys/net/bridge/bridge-nf-call-iptables"


def lay(run: str, networks: Sequence[Network], settings: Settings, counter: int, *, afresh: bool = False) -> None:
    """Have bridges and rules of these networks in the kernel; what is there already stays.

    Arguments: networks, in the order in which their rules are to be made; counter (int), open file with the next device
    number, whose lock the caller holds; afresh (bool), empty our chains first, as dockerd does when it starts.
    Errors: MinirunError; what was made is gone then.
    """
    undo: Undo = []
    owes_drop = f"{run}/networks/forward-drop"
    with Socket() as netlink:
        try:
            if settings.iptables:
                with step("see that the firewall can be used"):
                    firewall.ensure_usable()
            if settings.ip_forward:
                with step("let the kernel pass packets from link to link"):
                    _ensure_forwarding(owes_drop, undo)
            for network in networks:
                with step(f"make the bridge {network.bridge.name}"):
                    _make_bridge(netlink, network, counter, undo)
            if settings.iptables:
                with step("set the firewall rules"):
                    _ensure_rules(run, networks, undo, drop=os.path.exists(owes_drop), afresh=afresh)
            for network in networks:
                with step(f"start {network.bridge.name}"):
                    link = bridges.ensure_up(netlink, network.bridge)
                    network.stamp(link.index, link.mac, settings.given)
        except BaseException:
            _roll_back(undo)
            raise
    stamps.renew(run)
    store.discard(owes_drop)


def _make_bridge(netlink: Socket, network: Network, counter: int, undo: Undo) -> None:
    bridge = network.bridge
    if bridge.pool6:
        for where in _IPV6_FORWARDING:
            bridges.set_sysctl(f"ipv6/conf/{where}/forwarding", "1")
    if not bridge.icc:
        _have_bridged_packets_filtered()
    store.make_directory(f"{network.directory}/cables")
    network.note()
    first = os.fstat(counter).st_size == 0  # nobody has counted yet: the kernel's next number is the right one
    if bridges.ensure(netlink, bridge, 0 if first else veth.take_numbers(counter, 1), network.record.get("MAC", "")):
        undo.append(lambda: bridges.remove(netlink, bridge.name))
        if first:
            veth.remember_number(counter, veth.number_of(bridge.name) + 1)
    else:
        network.record.setdefault("Foreign", not network.is_default)


def _have_bridged_packets_filtered() -> None:
    """Packets from port to port of a bridge never reach iptables by themselves; br_netfilter hands them over."""
    if not os.path.exists(_NF_CALL):
        raise MinirunError("cannot restrict inter-container communication: please ensure that br_netfilter kernel "
                           "module is loaded", hint="modprobe br_netfilter")
    if procfs.read(_NF_CALL).strip() == "0":
        procfs.write(_NF_CALL, "1")


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


def _ensure_rules(run: str, networks: Sequence[Network], undo: Undo, *, drop: bool, afresh: bool) -> None:
    plan = firewall.read()
    if afresh:
        rules.begin_anew(plan)
    rules.ensure_chains(plan)
    if drop:
        plan.set_policy("filter", "FORWARD", "DROP")
    for network in networks:
        if afresh and network.is_default:
            rules.remove_bridge(plan, network.bridge)
        rules.ensure_bridge(plan, network.bridge)
    for change in rulebook.every(run):
        plan.ensure(*change)
    firewall.apply(plan.changes)
    undo.append(lambda: firewall.undo(plan.changes))


def _roll_back(undo: Undo) -> None:
    while undo:
        try:
            undo.pop()()
        except MinirunError:
            continue  # the error that brought us here is the one to tell; undo the rest


def take_down(run: str, network: Network, settings: Settings) -> None:
    """Take a network's bridge and rules away, as `docker network rm` does; fine when they are gone already.

    The caller holds the lock. A bridge that was there before the network stays.
    """
    if settings.iptables:
        with step("take the firewall rules away"):
            plan = firewall.read()
            rules.remove_bridge(plan, network.bridge)
            firewall.apply(plan.changes)
    if not network.record.get("Foreign"):
        with step(f"delete the bridge {network.bridge.name}"), Socket() as netlink:
            bridges.remove(netlink, network.bridge.name)
    store.remove_tree(network.directory)
