"""Address pools (IPAM): which container has which address. Docker gives out the lowest free one, and one that was
released is free at once.

The store is a directory that `ls` can read, as in CNI's host-local plugin: one file for each address in use, named as
the address, with the owner's container ID and the name of its veth as content. The file's existence is the reservation.
"""

from __future__ import annotations

from minirun import store
from minirun.errors import EngineError
from minirun.light import TYPE_CHECKING, os
from minirun.network.ipam.subnet import Subnet, address_of, number_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Pool:
    """The addresses of a network: `.subnet`; `.gateway` (str), the bridge's own; `.low` and `.high` (int), the first
    and last address, as numbers, that are allocated to containers; `.taken`, addresses (str) that no container gets.

    Arguments: range_ (str), --ip-range: only its host part counts, as in Docker, and "" is all of the subnet; aux
    (addresses), --aux-address.
    """

    __slots__ = ("gateway", "high", "low", "subnet", "taken")

    def __init__(self, subnet: Subnet, gateway: str = "", range_: str = "", aux: Iterable[str] = ()) -> None:
        self.subnet, self.gateway = subnet, gateway
        self.low, self.high = subnet.first, subnet.last
        if range_:
            part, mask = Subnet(range_), subnet.last - subnet.first
            self.low, self.high = subnet.first + (part.first & mask), subnet.first + (part.last & mask)
        self.taken = {address_of(subnet.first, subnet.family), subnet.broadcast, gateway, *aux}

    def candidates(self) -> Iterator[str]:
        """All addresses that a container could have, lowest first."""
        for number in range(self.low, self.high + 1):
            address = address_of(number, self.subnet.family)
            if address not in self.taken:
                yield address


# The caller of these holds the lock on the networks; `directory` (str) has the address files of one network.


def reserve_next(directory: str, pool: Pool, owner: str, note: str) -> str | None:
    """Reserve the lowest free address. Returns: the address, or None when all are taken.

    Arguments: owner (str), container ID; note (str), saved beside it: the name of its veth on the host.
    """
    used = set(os.listdir(directory))
    for address in pool.candidates():
        if address not in used and store.reserve(f"{directory}/{address}", f"{owner} {note}\n"):
            return address
    return None


def reserve_address(directory: str, pool: Pool, address: str, owner: str, note: str) -> str:
    """Reserve the address that was asked for. Returns: the address in its canonical form.

    Errors: EngineError with Docker's text for one that is not in the subnet, or not free.
    """
    if address not in pool.subnet:
        raise EngineError(f"Invalid address {address}: It does not belong to any of this network's subnets")
    canonical = address_of(number_of(address), pool.subnet.family)
    if canonical in pool.taken or not store.reserve(f"{directory}/{canonical}", f"{owner} {note}\n"):
        raise EngineError("Address already in use")
    return canonical


def release(directory: str, address: str, owner: str, keep: str = "") -> bool:
    """Release an address. Returns: False when it is not, or no longer, the owner's.

    Arguments: keep (str), path that the file is moved to, so that the veth named in it is not forgotten; "" to delete
    the file.
    """
    if not address or owner_of(directory, address)[0] != owner:
        return False
    if keep:
        os.rename(f"{directory}/{address}", keep)
    else:
        store.discard(f"{directory}/{address}")
    return True


def owner_of(directory: str, address: str) -> tuple[str, str]:
    """(owner, note) of an address; ("", "") when it is free, or when a command was killed between creating the file and
    writing into it."""
    try:
        with open(f"{directory}/{address}", encoding="utf-8") as file:
            owner, _, note = file.read().strip().partition(" ")
            return owner, note
    except FileNotFoundError:
        return "", ""


def reservations(directory: str) -> list[tuple[str, str, str]]:
    """All reserved addresses, IPv4 first, lowest address first: (address, owner, note)."""
    held = [name for name in os.listdir(directory) if ":" in name or name.replace(".", "").isdigit()]
    held.sort(key=lambda address: (":" in address, number_of(address)))
    return [(address, *owner_of(directory, address)) for address in held]
