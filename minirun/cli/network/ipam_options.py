"""The address flags of `network create`: which gateway, range and spare addresses belong to which subnet.

Docker's client sorts that out by itself, and what cannot be sorted out it refuses in words of its own.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from minirun.errors import ClientError

if TYPE_CHECKING:
    from minirun.cli.parser.grammar import Options

    Net = ipaddress.IPv4Network | ipaddress.IPv6Network


def configs(options: Options) -> list[dict]:
    """IPAM's Config, an entry for each subnet. Errors: ClientError in the words of Docker's client."""
    if len(options.words("subnet")) < len(options.words("ip_range")) or len(options.words("subnet")) < len(
        options.words("gateway")
    ):
        raise ClientError("every ip-range or gateway must have a corresponding subnet", exit_code=1)
    found: dict[str, dict] = {}
    for subnet in options.words("subnet"):
        net = _network(subnet)
        if net and any(
            other and net.version == other.version and net.overlaps(other) for other in map(_network, found)
        ):
            raise ClientError("multiple overlapping subnet configuration is not supported", exit_code=1)
        found[subnet] = {"Subnet": subnet}
    for text in options.words("ip_range"):
        _set_key(found, text, "IPRange", ("range", "ip-range"))
    for text in options.words("gateway"):
        _set_key(found, text, "Gateway", ("gateway", "gateway"))
    for name, address in options.mapping("aux_address").items():
        around = _subnet_of(found, address)
        if around is None:
            raise ClientError(f"no matching subnet for aux-address {address}", exit_code=1)
        found[around].setdefault("AuxiliaryAddresses", {})[name] = address
    return [found[subnet] for subnet in sorted(found)]


def _set_key(found: dict[str, dict], text: str, key: str, words: tuple[str, str]) -> None:
    """Set a key of the subnet that contains an address or range. Arguments: words, its names in error messages."""
    subnet = _subnet_of(found, text)
    if subnet is None:
        raise ClientError(f"no matching subnet for {words[0]} {text}", exit_code=1)
    if key in found[subnet]:
        raise ClientError(
            f"cannot configure multiple {words[1]}s ({text}, {found[subnet][key]}) on the same subnet ({subnet})",
            exit_code=1,
        )
    found[subnet][key] = text


def _subnet_of(found: dict[str, dict], text: str) -> str | None:
    """The subnet in which an address lies, or the first address of a range."""
    try:
        address = ipaddress.ip_address(text.partition("/")[0])
    except ValueError:
        return None
    for subnet in found:
        net = _network(subnet)
        if net is not None and address in net:
            return subnet
    return None


def _network(text: str) -> Net | None:
    """The subnet that a text stands for; None for what is none, which the engine will refuse."""
    try:
        return ipaddress.ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None
