"""Name resolution of the embedded DNS server: the names of containers on user-defined networks (ResolveName).

A container has on a network its name if it was given one, its aliases, its short ID and its host name; and each of them
followed by the network's name: `web`, `web.mynet`. The alias of a --link is known to the linking container only. A name
on one network hides the same name on another; networks are searched in the order of their names. When several
containers have one name, the response has all their addresses in random order (round robin).

Names and aliases are case-insensitive; the names of networks and links are not, as in Docker. Queries for other names
are forwarded (see `forwarder`).
"""

from __future__ import annotations

from minirun import stringid
from minirun.light import TYPE_CHECKING, os
from minirun.network.dns import message
from minirun.network.dns.message import AAAA, MX, PTR, A, Malformed, Query

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Protocol

    class ServiceRecords(Protocol):
        """The names on one network, as one of its containers sees them (libnetwork's svcInfo)."""

        name: str
        """The network's name."""
        links: dict[str, str]
        """The container's links: alias → name."""

        def addresses(self, name: str, family: int) -> list[bytes] | None:
            """The packed addresses of a name (4 bytes for the family A, 16 for AAAA); None for an unknown name."""

        def name_of(self, address: bytes) -> str:
            """The name of the container with an address; "" when there is none."""


#: Seconds for which a response may be cached (libnetwork's respTTL).
TTL = 600
#: The empty response: send nothing.
NO_RESPONSE = b""
_IPV4, _IPV6 = ".in-addr.arpa", ".ip6.arpa"


def answer(query: Query, networks: Sequence[ServiceRecords], limit: int) -> bytes | None:
    """The response to a query of a container on these networks, which are searched in this order.

    Arguments: limit (int, bytes), of the response. Returns: the message; NO_RESPONSE; None for an unknown name.
    """
    found: list[bytes] | None = None
    if query.type in (A, AAAA):
        found = addresses(query.text, networks, query.type)
    elif query.type == MX:  # no MX record: a host is its own mail exchanger then (RFC 5321, section 5.1)
        found = None if addresses(query.text, networks, A) is None else []
    elif query.type == PTR:
        if not query.text.lower().endswith((_IPV4, _IPV6)):
            return NO_RESPONSE
        try:
            found = _pointers(query.text, networks)
        except Malformed:  # the names may be longer than DNS allows; Docker sends nothing then, either
            return NO_RESPONSE
    return None if found is None else message.response(query, found, TTL, limit)


def empty(query: Query, limit: int) -> bytes:
    """The response for a name that exists without a record of the type in the query."""
    return message.response(query, [], TTL, limit)


def addresses(text: str, networks: Sequence[ServiceRecords], family: int) -> list[bytes] | None:
    """The packed addresses of a name, shuffled; [] for a known one without any of this family, None for an unknown."""
    for name, network in _interpretations(text):
        searched = [each for each in networks if network in ("", each.name)]
        for find in (_linked, _named):
            answers = [find(each, name, family) for each in searched]
            found = next((answer for answer in answers if answer), None)
            if found:
                return sorted(found, key=lambda _: os.urandom(2)) if len(found) > 1 else found
            if [] in answers:
                return []
    return None


def _interpretations(text: str) -> Iterator[tuple[str, str]]:
    """What "a.b.c" can mean, as (name, network): a.b.c on any; a.b on c; a on b.c. Both may have dots in them."""
    yield text, ""
    end = text.rfind(".")
    while end >= 0:
        yield text[:end], text[end + 1 :]
        end = text.rfind(".", 0, end)


def _linked(network: ServiceRecords, name: str, family: int) -> list[bytes] | None:
    target = network.links.get(name)
    return None if target is None else network.addresses(target, family)


def _named(network: ServiceRecords, name: str, family: int) -> list[bytes] | None:
    return None if name in network.links else network.addresses(name, family)


def _pointers(text: str, networks: Sequence[ServiceRecords]) -> list[bytes] | None:
    address = address_of(text.lower())
    for network in networks if address else ():
        name = network.name_of(address)
        if name:
            return [message.name(f"{name}.{network.name}")]
    return None


def address_of(text: str) -> bytes:
    """The packed address of "2.0.18.172.in-addr.arpa" or a name below ip6.arpa; b"" for any other name."""
    if text.endswith(_IPV4):
        parts = text.removesuffix(_IPV4).split(".")
        if len(parts) == 4 and all(part.isdigit() and str(int(part)) == part and int(part) < 256 for part in parts):
            return bytes(map(int, reversed(parts)))
    elif text.endswith(_IPV6):
        digits = text.removesuffix(_IPV6).split(".")
        if len(digits) == 32 and all(len(digit) == 1 and stringid.is_hex(digit) for digit in digits):
            return bytes.fromhex("".join(reversed(digits)))
    return b""
