"""Addresses and subnets as numbers: what contains what, and what overlaps (IPv4 and IPv6, CIDR notation).

`ipaddress` of the standard library does this too, but takes 8 ms to load.
"""

from __future__ import annotations

from minirun.light import socket


def family_of(address: str) -> int:
    """AF_INET, or AF_INET6 for an address (or subnet) with colons."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def number_of(address: str) -> int:
    """An address as a number. Errors: OSError for what is no address."""
    return int.from_bytes(socket.inet_pton(family_of(address), address), "big")


def address_of(number: int, family: int = socket.AF_INET) -> str:
    """The address of a number."""
    return socket.inet_ntop(family, number.to_bytes(4 if family == socket.AF_INET else 16, "big"))


class Subnet:
    """A subnet: `Subnet("172.17.0.0/16")`, `Subnet("2001:db8::/64")`; `.prefix` (int), the prefix length; `.first` and
    `.last` (int), its first and last address as numbers; `.family` (AF_INET, AF_INET6). Host bits in the text are
    ignored. Errors: OSError, ValueError for what is no subnet."""

    __slots__ = ("family", "first", "last", "prefix")

    def __init__(self, text: str) -> None:
        address, _, prefix = text.partition("/")
        self.family = family_of(address)
        bits = 32 if self.family == socket.AF_INET else 128
        self.prefix = int(prefix or bits)
        if not 0 <= self.prefix <= bits:
            raise ValueError(f"invalid CIDR address: {text}")
        size = 1 << (bits - self.prefix)
        self.first = number_of(address) & -size
        self.last = self.first + size - 1

    def __str__(self) -> str:
        return f"{address_of(self.first, self.family)}/{self.prefix}"

    def __contains__(self, address: str) -> bool:
        return family_of(address) == self.family and self.first <= number_of(address) <= self.last

    @property
    def broadcast(self) -> str:
        """The broadcast address; "" for IPv6, which has none."""
        return address_of(self.last, self.family) if self.family == socket.AF_INET else ""

    def overlaps(self, other: Subnet) -> bool:
        """Whether some address is in both."""
        return self.family == other.family and self.first <= other.last and other.first <= self.last
