"""The values of -p and --expose, as Docker's client reads them (go-connections/nat).

    [[ADDRESS:][HOST-PORT]:]PORT[/PROTO]      each port may be a range; an IPv6 address stands in brackets
    target=PORT,published=HOST-PORT,protocol=PROTO

Ranges of the same length go together port by port; a range of the host for one port of the container means: one of
these.
"""

from __future__ import annotations

from minirun.errors import ClientError
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PROTOCOLS = ("tcp", "udp", "sctp")


def read(publish: Sequence[str], expose: Sequence[str]) -> tuple[dict[str, list], dict[str, dict]]:
    """The values of -p and --expose as HostConfig.PortBindings and Config.ExposedPorts. Errors: ClientError."""
    bindings: dict[str, list] = {}
    exposed: dict[str, dict] = {}
    for word in publish:
        for port, binding in published(_short(word) if "=" in word else word):
            bindings.setdefault(port, []).append(binding)
            exposed[port] = {}
    for word in expose:
        if ":" in word:
            raise ClientError(f"invalid port format for --expose: {word}")
        ports, proto = split_proto(word)
        try:
            first, last = port_range(ports)
        except ValueError as reason:
            raise ClientError(f"invalid range format for --expose: {word}, error: {reason}") from None
        exposed.update({f"{port}/{proto}": {} for port in range(first, last + 1)})
    return bindings, exposed


def published(word: str) -> list[tuple[str, dict[str, str]]]:
    """What one -p comes to: ("80/tcp", {"HostIp": "", "HostPort": "8080"}) for each port of the container.

    Errors: ClientError.
    """
    *before, inner = word.split(":")
    outer = before.pop() if before else ""
    ports, proto = split_proto(inner)
    address = _address(":".join(before))
    if not ports:
        raise ClientError(f"No port specified: {word}<empty>")
    first, last = _range(ports, "containerPort")
    if not outer:
        hosts = [""] * (last - first + 1)
    else:
        begin, end = _range(outer, "hostPort")
        if first == last and begin != end:
            hosts = [f"{begin}-{end}"]
        elif end - begin == last - first:
            hosts = [str(port) for port in range(begin, end + 1)]
        else:
            raise ClientError(f"Invalid ranges specified for container and host Ports: {ports} and {outer}")
    if proto.lower() not in PROTOCOLS:
        raise ClientError(f"Invalid proto: {proto}")
    return [
        (f"{port}/{proto.lower()}", {"HostIp": address, "HostPort": host})
        for port, host in zip(range(first, last + 1), hosts, strict=True)
    ]


def _short(word: str) -> str:
    """The short form of "target=80,published=8080"; keys that mean something to a swarm only are passed over."""
    values = {"protocol": "tcp", "published": "", "target": ""}
    for field in word.split(","):
        key, equals, value = field.partition("=")
        if not equals:
            raise ClientError(f"invalid publish opts format (should be name=value but got '{field}')")
        values[key] = value.partition("=")[0]
    return f"{values['published']}:{values['target']}/{values['protocol']}"


def split_proto(word: str) -> tuple[str, str]:
    """(ports, proto) of "80/udp"; tcp when nothing is said."""
    ports, _, rest = word.partition("/")
    return ports, (rest.partition("/")[0] or "tcp") if ports else ""


def port_range(text: str) -> tuple[int, int]:
    """(first, last) of "80" or "80-82". Errors: ValueError with Go's reason."""
    if not text:
        raise ValueError("Empty string specified for ports.")
    if "-" not in text:
        return (port_number(text),) * 2
    begin, end = text.split("-")[:2]
    first, last = port_number(begin), port_number(end)
    if last < first:
        raise ValueError(f"Invalid range specified for the Port: {text}")
    return first, last


def port_number(text: str) -> int:
    """Go's strconv.ParseUint(text, 10, 16)."""
    from minirun.cli.format.strconv_quote import quote

    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"strconv.ParseUint: parsing {quote(text)}: invalid syntax")
    if len(text.lstrip("0")) > 5 or int(text) > 65535:
        raise ValueError(f"strconv.ParseUint: parsing {quote(text)}: value out of range")
    return int(text)


def _range(text: str, what: str) -> tuple[int, int]:
    try:
        return port_range(text)
    except ValueError:
        raise ClientError(f"Invalid {what}: {text}") from None


def _address(text: str) -> str:
    """The host's address, without brackets; "" for none."""
    from minirun.cli.run.types import is_address

    whole = f"{text}:"
    if whole[0] == "[":
        address, bracket, _ = whole[1:].partition("]")
        trouble = "" if bracket else "missing ']' in address"
    else:
        address = text
        trouble = "too many colons in address" if ":" in text else ""
    if trouble:
        raise ClientError(f"Invalid ip address {text}: address {whole}: {trouble}")
    if address and not is_address(address):
        raise ClientError(f"Invalid ip address: {address}")
    return address
