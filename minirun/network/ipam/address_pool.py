"""IPAM: who has which address. Docker's rule is the lowest free one, and an address is free again at once.

The store is a directory that `ls` can read: one file for each address in use, named as the address, with the owner's
container ID as its content. The file's existence is the reservation.
"""

from __future__ import annotations

import os

from minirun import store
from minirun.errors import EngineError
from minirun.network.ipam.subnet import Subnet, address_of, number_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Pool:
    """The addresses of a network: `.subnet`; `.gateway` (str), the bridge's own; `.low` and `.high`, the numbers
    between which containers get theirs; `.taken`, addresses (str) that no container gets.

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
        """All that a container could have, lowest first."""
        for number in range(self.low, self.high + 1):
            address = address_of(number, self.subnet.family)
            if address not in self.taken:
                yield address


# The caller of these holds the lock on the networks; `directory` (str) is where a network keeps its address files.


def reserve(directory: str, pool: Pool, owner: str, note: str) -> str | None:
    """The lowest free address, now the owner's; None when all are taken.

    Arguments: owner (str), container ID; note (str), kept beside it, the name of its cable.
    """
    used = set(os.listdir(directory))
    for address in pool.candidates():
        if address not in used and store.reserve(f"{directory}/{address}", f"{owner} {note}\n"):
            return address
    return None


def take(directory: str, pool: Pool, address: str, owner: str, note: str) -> str:
    """This very address, now the owner's. Returns: the address as it is usually written.

    Errors: EngineError with Docker's text for one that is not in the subnet, or not free.
    """
    if address not in pool.subnet:
        raise EngineError(f"Invalid address {address}: It does not belong to any of this network's subnets")
    usual = address_of(number_of(address), pool.subnet.family)
    if usual in pool.taken or not store.reserve(f"{directory}/{usual}", f"{owner} {note}\n"):
        raise EngineError("Address already in use")
    return usual


def release(directory: str, address: str, owner: str, keep: str = "") -> bool:
    """Give an address back; False when it is not, or no longer, the owner's.

    Arguments: keep (str), path that the file moves to, so that what its note names is not forgotten; "" for nowhere.
    """
    if not address or owner_of(directory, address)[0] != owner:
        return False
    if keep:
        os.rename(f"{directory}/{address}", keep)
    else:
        store.discard(f"{directory}/{address}")
    return True


def owner_of(directory: str, address: str) -> tuple[str, str]:
    """(owner, note) of an address; ("", "") when nobody has it, or when its taker died before he could sign."""
    try:
        with open(f"{directory}/{address}", encoding="utf-8") as file:
            owner, _, note = file.read().strip().partition(" ")
            return owner, note
    except FileNotFoundError:
        return "", ""


def reservations(directory: str) -> list[tuple[str, str, str]]:
    """All of them, IPv4 first, lowest address first: (address, owner, note)."""
    held = [name for name in os.listdir(directory) if ":" in name or name.replace(".", "").isdigit()]
    held.sort(key=lambda address: (":" in address, number_of(address)))
    return [(address, *owner_of(directory, address)) for address in held]
