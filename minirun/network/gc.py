"""Garbage collection: the rules, addresses and veth pairs of endpoints that a crash has left behind."""

from __future__ import annotations

from minirun import store
from minirun.kernel.netlink.socket import Socket
from minirun.light import TYPE_CHECKING
from minirun.network.bridge import veth
from minirun.network.ipam import address_pool

if TYPE_CHECKING:
    from collections.abc import Container, Iterable


class Leftover:
    """Something of an endpoint whose container is gone: `.path` (its file), `.owner` (container ID, "" when unknown),
    `.address` ("" for other things), `.veth` (the name on the host); `.kind`, "rules", "address" or "cable" (the veth
    pair); `str()` is a line for a person."""

    __slots__ = ("address", "owner", "path", "veth")

    def __init__(self, path: str, owner: str, address: str = "", veth: str = "") -> None:
        self.path, self.owner, self.address, self.veth = path, owner, address, veth

    @property
    def kind(self) -> str:
        """What it is: "rules", "address" or "cable" (a veth)."""
        return "address" if self.address else "cable" if self.veth else "rules"

    def __str__(self) -> str:
        whose = f"container {self.owner[:12]}, which is gone" if self.owner else "nobody"
        return {
            "address": f"address {self.address} is held for {whose}",
            "cable": f"link {self.veth} remains of {whose}",
            "rules": f"firewall rules of an endpoint remain of {whose}",
        }[self.kind]


def leftovers(run: str, live_ids: Container[str]) -> list[Leftover]:
    """Rules, addresses and veth pairs of ours that belong to no living container.

    Arguments: live_ids, the IDs of containers that run or are being started. It is asked (`in`) after a reservation
    was read, so an object that looks it up at that moment also sees a container that was started in between.
    """
    found = []
    for name in store.names(f"{run}/networks"):
        directory = f"{run}/networks/{name}"
        if name == "ports" or not _is_directory(directory):  # for published ports there is `portmapper.leftovers`
            continue
        # Rules first: an address must not be free again while a published port still leads to it.
        found += _rules(directory, live_ids)
        with store.lock(f"{run}/networks/ifindex"):  # so that no reservation is half written
            held = address_pool.reservations(directory) if _is_directory(directory) else []
        found += [
            Leftover(f"{directory}/{address}", owner, address, name)
            for address, owner, name in held
            if owner not in live_ids
        ]
        for name in store.names(f"{directory}/cables"):
            if veth.exists(name):
                owner = address_pool.owner_of(f"{directory}/cables", name)[0]
                found.append(Leftover(f"{directory}/cables/{name}", owner, "", name))
    return found


def _is_directory(path: str) -> bool:
    return store.exists(f"{path}/.")


def _rules(directory: str, live_ids: Container[str]) -> list[Leftover]:
    if not store.names(f"{directory}/rules"):
        return []
    from minirun.network.iptables import endpoint_rules

    owners = [(path, endpoint_rules.read(path)[0]) for path in endpoint_rules.paths_in(directory)]
    return [Leftover(path, owner) for path, owner in owners if owner not in live_ids]


def clear(run: str, found: Iterable[Leftover]) -> None:
    """Remove leftovers: rules; veth pairs, then their addresses. May be called twice."""
    with Socket() as netlink:
        for leftover in found:
            if leftover.kind == "rules":
                from minirun.network.iptables import apply, endpoint_rules

                with apply.writing(run):
                    endpoint_rules.remove_from(leftover.path)
                continue
            with store.lock(f"{run}/networks/ifindex"):
                directory, _, name = leftover.path.rpartition("/")
                if address_pool.owner_of(directory, name)[0] != leftover.owner:
                    continue  # the address was released, and belongs to another container by now
                if leftover.veth:
                    veth.delete(netlink, leftover.veth)
                store.discard(leftover.path)


class _AllExcept:
    """The set of all container IDs but one."""

    def __init__(self, container: str) -> None:
        self.container = container

    def __contains__(self, other: object) -> bool:
        return other != self.container


def release_all(run: str, container: str) -> None:
    """Release all that a container has on any network, when its endpoints were not saved. May be called twice."""
    found = leftovers(run, _AllExcept(container))
    if found:
        clear(run, [leftover for leftover in found if leftover.owner == container])
