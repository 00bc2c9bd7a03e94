"""What a crash leaves of endpoints: rules, addresses and cables that belong to no living container."""

from __future__ import annotations

import os

from minirun import store
from minirun.kernel.netlink.socket import Socket
from minirun.network.bridge import veth
from minirun.network.ipam import address_pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable


class Leftover:
    """Something of ours that belongs to no living container: `.path` (its file), `.owner` (container ID, "" when
    unknown), `.address` ("" for other things), `.cable`; `.kind`, "rules", "address" or "cable"; `str()` says it to a
    person."""

    __slots__ = ("address", "cable", "owner", "path")

    def __init__(self, path: str, owner: str, address: str = "", cable: str = "") -> None:
        self.path, self.owner, self.address, self.cable = path, owner, address, cable

    @property
    def kind(self) -> str:
        return "address" if self.address else "cable" if self.cable else "rules"

    def __str__(self) -> str:
        whose = f"container {self.owner[:12]}, which is gone" if self.owner else "nobody"
        return {
            "address": f"address {self.address} is held for {whose}",
            "cable": f"link {self.cable} remains of {whose}",
            "rules": f"firewall rules of an endpoint remain of {whose}",
        }[self.kind]


def leftovers(run: str, live_ids: Container[str]) -> list[Leftover]:
    """Rules, addresses and cables of ours that belong to no living container.

    Arguments: live_ids, the IDs of containers that run or are being started. It is asked (`in`) after a reservation
    was read, so an object that looks at that moment sees also a container that was begun meanwhile.
    """
    found = []
    for name in store.names(f"{run}/networks"):
        directory = f"{run}/networks/{name}"
        if name == "ports" or not os.path.isdir(directory):  # those have a look of their own (`ports.leftovers`)
            continue
        found += _rules(directory, live_ids)  # first: an address that is free again must not be a published one
        with store.lock(f"{run}/networks/ifindex"):  # nobody is half-way through signing a reservation
            held = address_pool.reservations(directory) if os.path.isdir(directory) else []
        found += [
            Leftover(f"{directory}/{address}", owner, address, cable)
            for address, owner, cable in held
            if owner not in live_ids
        ]
        for cable in store.names(f"{directory}/cables"):
            if veth.exists(cable):
                owner = address_pool.owner_of(f"{directory}/cables", cable)[0]
                found.append(Leftover(f"{directory}/cables/{cable}", owner, "", cable))
    return found


def _rules(directory: str, live_ids: Container[str]) -> list[Leftover]:
    if not store.names(f"{directory}/rules"):
        return []
    from minirun.network.iptables import endpoint_rules

    owners = [(path, endpoint_rules.read(path)[0]) for path in endpoint_rules.paths_in(directory)]
    return [Leftover(path, owner) for path, owner in owners if owner not in live_ids]


def clear(run: str, found: Iterable[Leftover]) -> None:
    """Clear leftovers away: rules; cables, then their addresses. Fine when they are gone already."""
    with Socket() as netlink:
        for leftover in found:
            if leftover.kind == "rules":
                from minirun.network.iptables import apply, endpoint_rules

                with apply.writing(run):
                    endpoint_rules.remove_from(leftover.path)
                continue
            with store.lock(f"{run}/networks/ifindex"):
                directory, name = os.path.split(leftover.path)
                if address_pool.owner_of(directory, name)[0] != leftover.owner:
                    continue  # the address was freed and belongs to somebody else by now
                if leftover.cable:
                    veth.delete(netlink, leftover.cable)
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
