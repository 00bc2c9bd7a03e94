"""IPAM: who has which address. Docker's rule is the lowest free one, and an address is free again at once.

The store is a directory that `ls` can read: one file for each address in use, named as the address, with the owner's
container ID as its content. The file's existence is the reservation.
"""

from __future__ import annotations

import _socket
import os

from minirun import store
from minirun.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def number_of(address: str) -> int:
    """An IPv4 address as a number. Errors: OSError for what is no address."""
    return int.from_bytes(_socket.inet_pton(_socket.AF_INET, address), "big")


def address_of(number: int) -> str:
    """The IPv4 address that a number stands for."""
    return _socket.inet_ntop(_socket.AF_INET, number.to_bytes(4, "big"))


class Subnet:
    """An IPv4 subnet: `Subnet("172.17.0.0/16")`; `.first` (network address) and `.last` (broadcast) are numbers."""

    __slots__ = ("first", "last", "prefix")

    def __init__(self, text: str) -> None:
        address, _, prefix = text.partition("/")
        self.prefix = int(prefix or 32)
        size = 1 << (32 - self.prefix)
        self.first = number_of(address) & -size
        self.last = self.first + size - 1

    def __str__(self) -> str:
        return f"{address_of(self.first)}/{self.prefix}"

    @property
    def broadcast(self) -> str:
        """The address that reaches all of them."""
        return address_of(self.last)

    def overlaps(self, other: Subnet) -> bool:
        """True when some address is in both."""
        return self.first <= other.last and other.first <= self.last


#: Docker's default pools, in Docker's order. Each network takes the first that is free.
POOLS = tuple([f"172.{second}.0.0/16" for second in range(17, 32)] +
              [f"192.168.{third}.0/20" for third in range(0, 256, 16)])


def free_pool(taken: Iterable[Subnet]) -> Subnet:
    """The first default pool that overlaps with none of the subnets `taken`.

    Errors: EngineError with Docker's text when there is none.
    """
    occupied = list(taken)
    for text in POOLS:
        pool = Subnet(text)
        if not any(pool.overlaps(other) for other in occupied):
            return pool
    raise EngineError("could not find an available, non-overlapping IPv4 address pool among the defaults to assign to "
                      "the network")


# The caller of these holds the lock on the networks; `directory` (str) is where a network keeps its address files.

def reserve(directory: str, subnet: Subnet, gateway: str, owner: str, note: str) -> str | None:
    """The lowest free address, now the owner's; None when all are taken.

    Arguments: gateway (str), the bridge's own address; owner (str), container ID; note (str), kept beside it, the name
    of its cable.
    """
    used = set(os.listdir(directory))
    used.add(gateway)
    for number in range(subnet.first + 1, subnet.last):  # the first and the last have other meanings
        address = address_of(number)
        if address not in used and store.reserve(f"{directory}/{address}", f"{owner} {note}\n"):
            return address
    return None


def release(directory: str, address: str, owner: str, keep: str) -> bool:
    """Give an address back; False when it is not, or no longer, the owner's.

    Arguments: keep (str), path that the file moves to, so that what its note names is not forgotten.
    """
    if owner_of(directory, address)[0] != owner:
        return False
    os.rename(f"{directory}/{address}", keep)
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
    """All of them, lowest address first: (address, owner, note)."""
    held = [name for name in os.listdir(directory) if name.replace(".", "").isdigit()]
    return [(address, *owner_of(directory, address)) for address in sorted(held, key=number_of)]
