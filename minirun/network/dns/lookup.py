"""What Docker's name server at 127.0.0.11 answers: the names of the containers on user-defined networks.

A container is known on a network by its name if it was given one, its aliases, its short ID, its host name; and by each
of them with the network's name behind: `web`, `web.mynet`. What --link calls another by is known to the linking
container alone. A name of one network hides the same name on another; networks are asked in the order of their names.
Several containers with one name are all in the answer, in no order, so that its askers spread.

Upper and lower case are the same in names and aliases; in the names of networks and links they are not, as in Docker.
What is not known here is asked elsewhere (see `upstream`).
"""

from __future__ import annotations

import os

from minirun.network.dns import message
from minirun.network.dns.message import AAAA, MX, PTR, A, Malformed, Query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Protocol

    class Network(Protocol):
        """A network that the asker is on, as it sees it."""

        name: str
        links: dict[str, str]
        """What it calls others here: alias → name."""

        def addresses(self, name: str, family: int) -> list[bytes] | None:
            """The packed addresses (of 4 or 16 bytes: family A or AAAA) that a name has; None for an unknown name."""

        def name_of(self, address: bytes) -> str:
            """The name of whoever has an address; "" when nobody has."""


#: So long (seconds) may an answer be remembered; long, since a resolver in a container seldom remembers anything.
TTL = 600
#: An answer that is none: say nothing.
SILENCE = b""
_IPV4, _IPV6 = ".in-addr.arpa", ".ip6.arpa"


def answer(query: Query, networks: Sequence[Network], limit: int) -> bytes | None:
    """The answer to a query from one who is on these networks, in the order in which they are asked.

    Arguments: limit (int, bytes), how long it may be. Returns: the message; SILENCE; None when nothing is known.
    """
    found: list[bytes] | None = None
    if query.type in (A, AAAA):
        found = addresses(query.text, networks, query.type)
    elif query.type == MX:  # a host without a mail exchanger is its own (RFC 5321, section 5.1)
        found = None if addresses(query.text, networks, A) is None else []
    elif query.type == PTR:
        if not query.text.lower().endswith((_IPV4, _IPV6)):
            return SILENCE
        try:
            found = _pointers(query.text, networks)
        except Malformed:  # names of containers and networks may be longer than DNS allows; Docker is silent then, too
            return SILENCE
    return None if found is None else message.answer(query, found, TTL, limit)


def empty(query: Query, limit: int) -> bytes:
    """The answer that there is such a name, and nothing to be said of it."""
    return message.answer(query, [], TTL, limit)


def addresses(text: str, networks: Sequence[Network], family: int) -> list[bytes] | None:
    """The packed addresses of a name, shuffled; [] for a known one that has none of this family, None for unknown."""
    for name, network in _readings(text):
        asked = [each for each in networks if network in ("", each.name)]
        for find in (_linked, _named):
            answers = [find(each, name, family) for each in asked]
            found = next((answer for answer in answers if answer), None)
            if found:
                return sorted(found, key=lambda _: os.urandom(2)) if len(found) > 1 else found
            if [] in answers:
                return []
    return None


def _readings(text: str) -> Iterator[tuple[str, str]]:
    """What "a.b.c" can mean, as (name, network): a.b.c on any; a.b on c; a on b.c. Names and networks may have dots."""
    yield text, ""
    end = text.rfind(".")
    while end >= 0:
        yield text[:end], text[end + 1 :]
        end = text.rfind(".", 0, end)


def _linked(network: Network, name: str, family: int) -> list[bytes] | None:
    target = network.links.get(name)
    return None if target is None else network.addresses(target, family)


def _named(network: Network, name: str, family: int) -> list[bytes] | None:
    return None if name in network.links else network.addresses(name, family)


def _pointers(text: str, networks: Sequence[Network]) -> list[bytes] | None:
    address = address_of(text.lower())
    for network in networks if address else ():
        name = network.name_of(address)
        if name:
            return [message.name(f"{name}.{network.name}")]
    return None


def address_of(text: str) -> bytes:
    """The packed address that "2.0.18.172.in-addr.arpa" or its longer IPv6 sister stands for; b"" for anything else."""
    if text.endswith(_IPV4):
        parts = text.removesuffix(_IPV4).split(".")
        if len(parts) == 4 and all(part.isdigit() and str(int(part)) == part and int(part) < 256 for part in parts):
            return bytes(map(int, reversed(parts)))
    elif text.endswith(_IPV6):
        digits = text.removesuffix(_IPV6).split(".")
        if len(digits) == 32 and all(len(digit) == 1 and digit in "0123456789abcdef" for digit in digits):
            return bytes.fromhex("".join(reversed(digits)))
    return b""
