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
from minirun.kernel import process
from minirun.kernel.netlink import links
from minirun.kernel.netlink.socket import Socket
from minirun.network.bridge import device, saved_sysctls, veth
from minirun.network.ipam import address_pool
from minirun.network.iptables import apply, chains, endpoint_rules, generation
from minirun.network.network import Network
from minirun.trace import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minirun.network.daemon_config import Settings

    Undo = list[Callable[[], object]]

_IPV6_FORWARDING = ("default", "all")
_BRIDGE_FILTER = "/proc/sys/net/bridge"
_NF_CALL = "bridge/bridge-nf-call-iptables"


def set_up(
    networks: Sequence[Network],
    settings: Settings,
    counter: int,
    *,
    needed: Sequence[Network] = (),
    flush: bool = False,
) -> list[MinirunError]:
    """Have bridges and rules of these networks in the kernel; what is there already stays.

    Arguments: networks, all there are, in the order in which their rules are to be made; counter (int), open file with
    the next device number, whose lock the caller holds; needed, those that must not fail; flush (bool), empty our
    chains first, as dockerd does when it starts. Returns: what went wrong with others.
    Errors: MinirunError; what was made is gone then.
    """
    undo: Undo = []
    run = networks[0].run
    owes_drop = f"{run}/networks/forward-drop"
    with Socket() as netlink:
        try:
            if settings.iptables:
                with step("see that the firewall can be used"):
                    apply.ensure_usable()
                    _load_bridge_filter()
            if settings.ip_forward:
                with step("let the kernel pass packets from link to link"):
                    _ensure_forwarding(run, owes_drop, undo)
            laid, failures = _make_bridges(netlink, networks, needed, counter, undo)
            mark = generation.Mark()
            if settings.iptables:
                with step("set the firewall rules"):
                    _ensure_rules(laid, undo, drop=os.path.exists(owes_drop), flush=flush)
            for network in laid:
                network.save_set_up(device.ensure_up(netlink, network.bridge), settings.given)
        except BaseException:
            _roll_back(undo)
            raise
    generation.renew(run, mark)
    store.discard(owes_drop)
    return failures


def _make_bridges(
    netlink: Socket, networks: Sequence[Network], needed: Sequence[Network], counter: int, undo: Undo
) -> tuple[list[Network], list[MinirunError]]:
    laid, failures = [], []
    for network in networks:
        mine: Undo = []
        try:
            with step(f"make the bridge {network.bridge.name}"):
                _make_bridge(netlink, network, counter, mine)
                _restore_ports(netlink, network)
            laid.append(network)
            undo += mine
        except MinirunError as error:
            if network in needed:
                undo += mine
                raise
            _roll_back(mine)
            failures.append(error)
    return laid, failures


def _make_bridge(netlink: Socket, network: Network, counter: int, undo: Undo) -> None:
    bridge, run = network.bridge, network.run
    if bridge.pool6:
        for where in _IPV6_FORWARDING:
            saved_sysctls.set_sysctl(run, f"ipv6/conf/{where}/forwarding", "1")
    if not bridge.icc:
        _filter_bridged_packets(run)
    store.make_directory(f"{network.directory}/cables")
    before = network.saved()
    network.record["Foreign"] = before.get("Foreign", veth.exists(bridge.name) and not network.is_default)
    network.save()
    first = os.fstat(counter).st_size == 0  # nobody has counted yet: the kernel's next number is the right one
    index = 0 if first or veth.exists(bridge.name) else veth.take_numbers(counter, 1)
    if device.ensure(netlink, bridge, index, before.get("MAC", "")):
        undo.append(lambda: device.remove(netlink, bridge.name))
        if first:
            veth.remember_number(counter, veth.number_of(bridge.name) + 1)


def _restore_ports(netlink: Socket, network: Network) -> None:
    """Have the cables of its containers in the bridge: one that was deleted by hand and made again has lost them."""
    bridge = links.named(network.bridge.name)
    for _address, _owner, cable in address_pool.reservations(network.directory):
        link = links.find_link(netlink, cable) if cable else None
        if link is not None and link.kind == "veth" and link.master != bridge.index:
            netlink.do(links.set_link(link, master=bridge))
            if network.bridge.hairpin:
                netlink.do(links.set_hairpin(link))


def _filter_bridged_packets(run: str) -> None:
    """Packets from port to port of a bridge never reach iptables by themselves; br_netfilter hands them over."""
    if not os.path.exists(f"/proc/sys/net/{_NF_CALL}"):
        raise MinirunError(
            "cannot restrict inter-container communication: please ensure that br_netfilter kernel module is loaded",
            hint="modprobe br_netfilter",
        )
    saved_sysctls.set_sysctl(run, _NF_CALL, "1")


def _load_bridge_filter() -> None:
    """Load br_netfilter, which shows iptables what goes from port to port of a bridge, as dockerd does.

    Like dockerd we go on without it: then containers on one bridge reach each other whatever the rules say.
    """
    if not os.path.exists(_BRIDGE_FILTER) and process.exists("modprobe"):
        process.run(["modprobe", "-va", "bridge", "br_netfilter"], check=False)


def _ensure_forwarding(run: str, owes_drop: str, undo: Undo) -> None:
    """LayerLock forwarding on. Whoever does that must set FORWARD's policy to DROP, as Docker does.

    The debt is written down first (a file at `owes_drop`): whoever is killed between the two leaves it to the next
    one, and not an open host.
    """
    if device.forwards():
        return
    store.write_text(owes_drop, "")
    saved_sysctls.remember(run, "ipv4/ip_forward", "0")
    device.set_forwarding("1")
    undo.append(lambda: store.discard(owes_drop))
    undo.append(lambda: device.set_forwarding("0"))


def _ensure_rules(networks: Sequence[Network], undo: Undo, *, drop: bool, flush: bool) -> None:
    plan = apply.read()
    if flush:
        chains.flush_chains(plan)
    chains.ensure_chains(plan)
    if drop:
        plan.set_policy("filter", "FORWARD", "DROP")
    for network in networks:
        if "Before" in network.record:
            chains.remove_bridge(plan, device.of_record(network.record["Before"]))
        if flush and network.is_default:
            chains.remove_bridge(plan, network.bridge)
        chains.ensure_bridge(plan, network.bridge)
    for change in endpoint_rules.every(networks[0].run):
        plan.ensure(*change)
    apply.apply(plan.changes)
    undo.append(lambda: apply.undo(plan.changes))


def _roll_back(undo: Undo) -> None:
    while undo:
        try:
            undo.pop()()
        except MinirunError:
            continue  # the error that brought us here is the one to tell; undo the rest


def tear_down(network: Network, settings: Settings) -> None:
    """Take a network's bridge and rules away, as `docker network rm` does; fine when they are gone already.

    The caller holds the lock. A bridge that was there before the network stays.
    """
    if settings.iptables:
        mark = generation.Mark() if generation.is_unchanged(network.run) else None
        with step("take the firewall rules away"):
            plan = apply.read()
            chains.remove_bridge(plan, network.bridge)
            apply.apply(plan.changes)
        if mark:
            generation.renew(network.run, mark)
    if not network.saved().get("Foreign"):
        with step(f"delete the bridge {network.bridge.name}"), Socket() as netlink:
            device.remove(netlink, network.bridge.name)
    store.remove_tree(network.directory)
