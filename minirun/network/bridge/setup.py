"""Setting up networks in the kernel: forwarding, the bridges, the firewall rules (libnetwork's bridge/setup_*.go).

dockerd does this when it starts, for all networks that it knows; minirun, which has no such moment, at the first start
of a container after a boot, and again when a bridge was deleted or the rules were changed by another program. The order
is dockerd's: forwarding on, the bridges created, their addresses while they are down, the rules, the bridges up.
Networks come in the order of their IDs, the default one last, so that its rules are on top.

A network that is set up has its record saved in <run>/networks/KEY/network.json. It is written before anything is made
in the kernel, so that after a crash half-way the next command finds what there may be.
"""

from __future__ import annotations

import os

from minirun import rmtree, store
from minirun.errors import MinirunError
from minirun.kernel import process
from minirun.kernel.netlink import links
from minirun.kernel.netlink.socket import Socket
from minirun.light import TYPE_CHECKING
from minirun.network.bridge import device, saved_sysctls, veth
from minirun.network.ipam import address_pool
from minirun.network.iptables import apply, chains, endpoint_rules, generation
from minirun.network.network import Network
from minirun.trace import step

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

    Arguments: networks, all there are, in the order in which their rules are made; counter (int), open file with the
    next interface index, whose lock the caller holds; needed, those that must not fail; flush (bool), empty our chains
    first, as dockerd does when it starts. Returns: what went wrong with others.
    Errors: MinirunError; all changes are rolled back then.
    """
    undo: Undo = []
    run = networks[0].run
    drop_pending = f"{run}/networks/forward-drop"
    with Socket() as netlink:
        try:
            if settings.iptables:
                with step("see that the firewall can be used"):
                    apply.ensure_usable()
                    _load_bridge_filter()
            if settings.ip_forward:
                with step("let the kernel pass packets from link to link"):
                    _ensure_forwarding(run, drop_pending, undo)
            created, failures = _make_bridges(netlink, networks, needed, counter, undo)
            mark = generation.Mark()
            if settings.iptables:
                with step("set the firewall rules"):
                    _ensure_rules(created, undo, drop=os.path.exists(drop_pending), flush=flush)
            for network in created:
                network.save_set_up(device.ensure_up(netlink, network.bridge), settings.given)
        except BaseException:
            _roll_back(undo)
            raise
    generation.renew(run, mark)
    store.discard(drop_pending)
    return failures


def _make_bridges(
    netlink: Socket, networks: Sequence[Network], needed: Sequence[Network], counter: int, undo: Undo
) -> tuple[list[Network], list[MinirunError]]:
    """Create the bridges. Returns: the networks whose bridge is there; what went wrong with others.

    Errors: MinirunError when one of those in `needed` fails.
    """
    created, failures = [], []
    for network in networks:
        own_undo: Undo = []
        try:
            with step(f"make the bridge {network.bridge.name}"):
                _make_bridge(netlink, network, counter, own_undo)
                _restore_ports(netlink, network)
            created.append(network)
            undo += own_undo
        except MinirunError as error:
            if network in needed:
                undo += own_undo
                raise
            _roll_back(own_undo)
            failures.append(error)
    return created, failures


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
    first = os.fstat(counter).st_size == 0  # the counter is empty after a boot: the kernel's next index is right
    index = 0 if first or veth.exists(bridge.name) else veth.allocate_indexes(counter, 1)
    if device.ensure(netlink, bridge, index, before.get("MAC", "")):
        undo.append(lambda: device.remove(netlink, bridge.name))
        if first:
            veth.save_next_index(counter, veth.index_of(bridge.name) + 1)


def _restore_ports(netlink: Socket, network: Network) -> None:
    """Make the veths of its containers ports of the bridge: one that was deleted and created again has lost them."""
    bridge = links.named(network.bridge.name)
    for _address, _owner, name in address_pool.reservations(network.directory):
        link = links.find_link(netlink, name) if name else None
        if link is not None and link.kind == "veth" and link.master != bridge.index:
            netlink.do(links.set_link(link, master=bridge))
            if network.bridge.hairpin:
                netlink.do(links.set_hairpin(link))


def _filter_bridged_packets(run: str) -> None:
    """Have iptables see the packets between the ports of a bridge; without br_netfilter they never reach it."""
    if not os.path.exists(f"/proc/sys/net/{_NF_CALL}"):
        raise MinirunError(
            "cannot restrict inter-container communication: please ensure that br_netfilter kernel module is loaded",
            hint="modprobe br_netfilter",
        )
    saved_sysctls.set_sysctl(run, _NF_CALL, "1")


def _load_bridge_filter() -> None:
    """Load br_netfilter, which hands the packets between the ports of a bridge to iptables, as dockerd does.

    Like dockerd we go on without it: then containers on one bridge reach each other whatever the rules say.
    """
    if not os.path.exists(_BRIDGE_FILTER) and process.exists("modprobe"):
        process.run(["modprobe", "-va", "bridge", "br_netfilter"], check=False)


def _ensure_forwarding(run: str, drop_pending: str, undo: Undo) -> None:
    """Turn forwarding on. FORWARD's policy has to become DROP together with that, as in Docker.

    So a file at `drop_pending` is written first: after a crash between the two, the next command sets the policy, and
    the host does not stay a router for everybody.
    """
    if device.is_forwarding():
        return
    store.write_text(drop_pending, "")
    saved_sysctls.remember(run, "ipv4/ip_forward", "0")
    device.set_forwarding("1")
    undo.append(lambda: store.discard(drop_pending))
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
            continue  # the first error is the one to report; undo the rest


def tear_down(network: Network, settings: Settings) -> None:
    """Delete a network's bridge and rules, as `docker network rm` does. May be called twice.

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
    rmtree.remove_tree(network.directory)
