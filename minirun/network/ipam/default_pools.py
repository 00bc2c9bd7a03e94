"""Default address pools: the subnet of a network for which the user names none (`default-address-pools`).

Such networks get, one after the other, 172.17.0.0/16 ... 172.31.0.0/16, then 192.168.0.0/20, 192.168.16.0/20 ...; the
search goes on after the subnet that was allocated last and wraps around at the end, so one that was just released is
not used again at once. A subnet that the host reaches by a route without a gateway is skipped, and one that has the
host's name server in it. Source: libnetwork's ipam/allocator.go, network.go, netutils.
"""

from __future__ import annotations

from minirun import store
from minirun.errors import EngineError
from minirun.kernel.netlink import addresses, links
from minirun.kernel.netlink.socket import Socket
from minirun.light import TYPE_CHECKING, socket
from minirun.network.dns import resolv_conf
from minirun.network.ipam.subnet import Subnet, address_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from minirun.network.daemon_config import Settings

#: Docker's default address pools (`default-address-pools`): base and size (prefix length of each network).
DEFAULT_POOLS = tuple([(f"172.{second}.0.0/16", 16) for second in range(17, 32)] + [("192.168.0.0/16", 20)])
_BITS = {socket.AF_INET: 32, socket.AF_INET6: 128}


def split(pools: Sequence[tuple[str, int]]) -> list[Subnet]:
    """The subnets of address pools, each (base, size). Errors: EngineError for a size that does not fit its base."""
    subnets = []
    for base_text, size in pools:
        base = Subnet(base_text)
        if not base.prefix <= size <= _BITS[base.family]:
            raise EngineError(f"invalid pools size: {size}")
        step = 1 << (_BITS[base.family] - size)
        for number in range(base.first, base.last + 1, step):
            subnets.append(Subnet(f"{address_of(number, base.family)}/{size}"))
    return subnets


def first_free(pools: Sequence[Subnet], start: int, taken: Iterable[Subnet], *, ipv6: bool = False) -> int:
    """The index of the first pool from `start` (int) on, wrapping around, that overlaps with no subnet in `taken`.

    Errors: EngineError with Docker's text when there is none.
    """
    occupied = list(taken)
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    for offset in range(len(pools)):
        index = (start + offset) % len(pools)
        pool = pools[index]
        if pool.family == family and not any(pool.overlaps(other) for other in occupied):
            return index
    raise EngineError(
        f"could not find an available, non-overlapping IPv{6 if ipv6 else 4} address pool among the "
        "defaults to assign to the network"
    )


def subnets_of(records: Iterable[dict]) -> list[Subnet]:
    """The subnets of the networks with these records."""
    return [Subnet(pool["Subnet"]) for record in records for pool in record.get("Pools", ())]


def allocate(run: str, settings: Settings, others: Sequence[dict], *, ipv6: bool = False) -> Subnet:
    """Allocate the next free subnet. The caller holds the lock on the networks.

    The index to go on from is kept in <run>/networks/pool. Arguments: others, the records of all networks there are.
    Errors: EngineError when all are in use.
    """
    path = f"{run}/networks/pool"
    text = resolv_conf.read(path).strip()
    subnets = split(settings.default_address_pools or DEFAULT_POOLS)
    with Socket() as netlink:
        taken = host_subnets(netlink) + subnets_of(others)
    index = first_free(subnets, int(text) if text.isdigit() else 0, taken, ipv6=ipv6)
    store.write_text(path, f"{index + 1}\n")
    return subnets[index]


def forget_position(run: str) -> None:
    """Forget which subnet was allocated last, as dockerd does when it ends."""
    store.discard(f"{run}/networks/pool")


def host_subnets(netlink: Socket) -> list[Subnet]:
    """What a pool must not overlap: subnets that the host reaches without a gateway, and its name servers.

    That is Docker's rule (libnetwork's FindAvailableNetwork); a route through a gateway does not count. The subnet of
    docker0 counts even while docker0 is down and has no route.
    """
    taken = [Subnet(f"{address}/{prefix}") for address, prefix in addresses.connected_subnets(netlink)]
    taken += [
        Subnet(server) for server in resolv_conf.nameservers(resolv_conf.read("/etc/resolv.conf")) if ":" not in server
    ]
    docker = links.find_link(netlink, "docker0")
    return taken + [
        Subnet(f"{address}/{prefix}")
        for index, address, prefix in addresses.addresses(netlink)
        if docker and index == docker.index
    ]
