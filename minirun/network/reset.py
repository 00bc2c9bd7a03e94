"""`system reset-network`: remove our veths, bridges, rules and chains from the kernel, and restore the sysctls.

Nothing that is not ours is touched.
"""

from __future__ import annotations

import os

from minirun import rmtree, store
from minirun.kernel.netlink.socket import Socket
from minirun.light import TYPE_CHECKING
from minirun.network.bridge import device, saved_sysctls, veth
from minirun.network.ipam import address_pool
from minirun.network.iptables import apply, chains, endpoint_rules

if TYPE_CHECKING:
    from minirun.network.network import Network

#: A chain that a Docker on the same host has; while it is there, what both need is left alone.
_DOCKER_CHAIN = ("filter", "DOCKER")
_DOCKER_IS_HERE = "Docker is on this host too"


def reset(run: str, networks: list[Network], counter: int, *, iptables: bool) -> list[str]:
    """Remove veths, bridges, rules and chains from the kernel, and our volatile files. The caller holds the lock.

    Arguments: networks, those with a bridge; counter (int), the open file of the lock, which stays; iptables, whether
    firewall rules are ours to make. Returns: what had to be left, and why. Errors: MinirunError.
    """
    left = _remove_rules(run, networks) if iptables else []
    with Socket() as netlink:
        for network in networks:
            _delete_veths(netlink, network)
            if network.record.get("Foreign"):
                left.append(f"bridge {network.bridge.name}: it was there before us")
            else:
                device.remove(netlink, network.bridge.name)
    if not any(_DOCKER_IS_HERE in line for line in left):
        saved_sysctls.restore(run)
    for key in store.names(f"{run}/networks"):
        path = f"{run}/networks/{key}"
        if os.path.isdir(path):
            rmtree.remove_tree(path)
        elif key != "ifindex":
            store.discard(path)
    os.ftruncate(counter, 0)
    return left


def _remove_rules(run: str, networks: list[Network]) -> list[str]:
    plan = apply.read()
    for _, rule in endpoint_rules.every(run):
        plan.ensure_gone(rule)
    for network in networks:
        chains.remove_bridge(plan, network.bridge)
    left = chains.remove_chains(plan)
    if "ipv4/ip_forward" in saved_sysctls.read(run):
        if _DOCKER_CHAIN in plan.policies:
            left.append(f"ip_forward and FORWARD's policy: {_DOCKER_IS_HERE}")
        else:
            plan.set_policy("filter", "FORWARD", "ACCEPT")  # it was set together with ip_forward
    apply.apply(plan.changes)
    return left


def _delete_veths(netlink: Socket, network: Network) -> None:
    names = {name for _, _, name in address_pool.reservations(network.directory)}
    for name in sorted(names.union(store.names(f"{network.directory}/cables")) - {""}):
        veth.delete(netlink, name)
