"""Give the host back as it was: cables, bridges, rules, chains, sysctls. Nothing that is not ours is touched."""

from __future__ import annotations

import os

from minirun import store
from minirun.kernel.netlink.socket import Socket
from minirun.network import making
from minirun.network.bridge import device as bridges
from minirun.network.bridge import saved_sysctls, veth
from minirun.network.ipam import address_pool
from minirun.network.iptables import apply, chains, endpoint_rules
from minirun.trace import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.network.controller import Network
    from minirun.network.making import Place

#: A chain that a Docker on the same host has; while it is there, what both need is left alone.
_DOCKERS = ("filter", "DOCKER")


def reset(place: Place) -> list[str]:
    """Take away all that is ours in the kernel. Returns, errors: see `networks.reset`."""
    if not os.path.isdir(f"{place.run}/networks"):
        return []
    with step("take all networks away"), store.lock(f"{place.run}/networks/ifindex") as queue:
        networks = [network for network in making.laid(place) if network.has_bridge]
        left = _remove_rules(place, networks) if place.settings.iptables else []
        with Socket() as netlink:
            for network in networks:
                _pull_cables(netlink, network)
                if network.record.get("Foreign"):
                    left.append(f"bridge {network.bridge.name}: it was there before us")
                else:
                    bridges.remove(netlink, network.bridge.name)
        if not any(_DOCKER_IS_HERE in line for line in left):
            saved_sysctls.put_back(place.run)
        for key in store.names(f"{place.run}/networks"):
            path = f"{place.run}/networks/{key}"
            if os.path.isdir(path):
                store.remove_tree(path)
            elif key != "ifindex":
                store.discard(path)
        os.ftruncate(queue.fd, 0)  # it is the lock itself, and stays
    return left


_DOCKER_IS_HERE = "Docker is on this host too"


def _remove_rules(place: Place, networks: list[Network]) -> list[str]:
    plan = apply.read()
    for _, rule in endpoint_rules.every(place.run):
        plan.ensure_gone(rule)
    for network in networks:
        chains.remove_bridge(plan, network.bridge)
    left = chains.remove_chains(plan)
    if "ipv4/ip_forward" in saved_sysctls.read(place.run):
        if _DOCKERS in plan.policies:
            left.append(f"ip_forward and FORWARD's policy: {_DOCKER_IS_HERE}")
        else:
            plan.set_policy("filter", "FORWARD", "ACCEPT")  # it was set together with ip_forward
    apply.apply(plan.changes)
    return left


def _pull_cables(netlink: Socket, network: Network) -> None:
    cables = {cable for _, _, cable in address_pool.reservations(network.directory)}
    for cable in sorted(cables.union(store.names(f"{network.directory}/cables")) - {""}):
        veth.unplug(netlink, cable)
