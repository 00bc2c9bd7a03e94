"""What a container wishes of networks: written down by `create` and `network connect`, carried out by each start.

    record["Networks"] = {"foo": {"IPAMConfig": None, "Links": None, "Aliases": ["db"], "DriverOpts": None,
                                  "NetworkID": ""}}

These are the keys of Docker's EndpointSettings that do not come out of the network itself. A network is named by its
name, or by whatever was typed as long as there is none of that name: it may be made before the container is started.
Who may wish what follows Docker's `updateNetworkConfig` and `validateNetMode`.
"""

from __future__ import annotations

import _socket

from minirun.errors import BadParameter, EngineError
from minirun.network import predefined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.network.network import Network

CONFLICT_HOST = "container cannot be disconnected from host network or connected to host network"
CONFLICT_SHARED = (
    "container sharing network namespace with another container or host cannot be connected to any other network"
)
CONFLICT_NONE = "container cannot be connected to multiple networks with one of the networks in private (none) mode"


def network_of(mode: str) -> str:
    """The network that a NetworkMode stands for: "default" is the bridge; "" for `container:...`."""
    return predefined.BRIDGE if mode == "default" else "" if mode.startswith("container:") else mode


def blank() -> dict:
    """A wish for nothing but to be there."""
    return {"IPAMConfig": None, "Links": None, "Aliases": None, "DriverOpts": None, "NetworkID": ""}


def make(mode: str, endpoint: dict | None) -> dict[str, dict]:
    """The wishes of a new container. Arguments: mode, its NetworkMode; endpoint, what was asked for beside that.

    Errors: BadParameter for what is no address.
    """
    if endpoint:
        for key, family in (("IPv4Address", _socket.AF_INET), ("IPv6Address", _socket.AF_INET6)):
            address = (endpoint.get("IPAMConfig") or {}).get(key, "")
            if address and not is_address(address, family):
                raise BadParameter(f"invalid {key[:4]} address: {address}")
    name = network_of(mode)
    return {name: {**blank(), **(endpoint or {})}} if name else {}


def check_addresses(address: dict) -> None:
    """The addresses of a wish that comes by way of `network connect`. Errors: EngineError, with dockerd's bracket."""
    for key, family in (("IPv4Address", _socket.AF_INET), ("IPv6Address", _socket.AF_INET6)):
        if address.get(key) and not is_address(address[key], family):
            raise EngineError(f"Invalid {key[:4]} address: {address[key]})")


def is_address(text: str, family: int) -> bool:
    """Whether a text is an address of this family (AF_INET, AF_INET6)."""
    try:
        _socket.inet_pton(family, text)
    except (OSError, ValueError):  # ValueError: a NUL byte or a surrogate in it
        return False
    return True


def check_mode(config: dict, host_config: dict, hostname: str, links: Sequence[str]) -> None:
    """What cannot go with another container's network namespace, or with the host's. Errors: BadParameter.

    Arguments: hostname, links (what the person has asked for).
    """
    mode = host_config["NetworkMode"]
    shares = mode.startswith("container:")
    if mode == "container:":
        raise BadParameter("Invalid network mode: invalid container format container:<name|id>")
    both = "and the network mode"
    for wished, text in (
        (shares and hostname, f"hostname {both}"),
        (shares and links, "container type network can't be used with links. This would result in undefined behavior"),
        (shares and host_config["Dns"], f"dns {both}"),
        (shares and host_config["ExtraHosts"], f"custom host-to-IP mapping {both}"),
        ((shares or mode == "host") and config.get("MacAddress"), f"mac-address {both}"),
        (
            shares and (host_config["PortBindings"] or host_config["PublishAllPorts"]),
            "port publishing and the container type network mode",
        ),
        (shares and config.get("ExposedPorts"), "port exposing and the container type network mode"),
        (
            mode == "host" and links,
            "host type networking can't be used with links. This would result in undefined behavior",
        ),
    ):
        if wished:
            raise BadParameter(f"conflicting options: {text}")


def publishes(record: dict) -> bool:
    """Whether a container wants to be reached from outside."""
    host_config = record["HostConfig"]
    return bool(host_config["PortBindings"] or host_config["PublishAllPorts"] and record["Config"].get("ExposedPorts"))


def complete(record: dict, network: str, wish: dict) -> None:
    """Add the names that every container has on a network of the user's: the short id and the host name.

    Errors: EngineError for a wish that a predefined network cannot fulfil.
    """
    address = wish["IPAMConfig"] or {}
    if predefined.is_predefined(network):
        if address.get("IPv4Address") or address.get("IPv6Address"):
            raise EngineError("user specified IP address is supported on user defined networks only")
        if wish["Aliases"]:
            raise EngineError("network-scoped alias is supported only for containers in user defined networks")
        return
    names = (*(wish["Aliases"] or ()), record["ID"][:12], record["Config"]["Hostname"])
    wish["Aliases"] = list(dict.fromkeys(names))


def check_company(record: dict, network: Network) -> None:
    """Whether a container may be on this network beside those that it is on. Errors: EngineError."""
    if record["HostConfig"]["NetworkMode"] != "host" and network.driver == "host":
        raise EngineError(CONFLICT_HOST)
    for name in record["Networks"]:
        if name == network.name:
            return
        if name == "host":
            raise EngineError(CONFLICT_SHARED)
        if "none" in (name, network.name):
            raise EngineError(CONFLICT_NONE)


def mac_of(record: dict, network: str) -> str:
    """The MAC address that is asked for on a network, "" for none: `--mac-address` holds for the first network only."""
    if network != network_of(record["HostConfig"]["NetworkMode"]):
        return ""
    digits = "".join(letter for letter in record["Config"].get("MacAddress", "") if letter not in ":-.")
    return bytes.fromhex(digits).hex(":")


def in_order(record: dict) -> list[str]:
    """The networks in the order in which they are plugged in: the default one first, since links are its affair."""
    return sorted(record["Networks"], key=lambda name: (name != predefined.BRIDGE, name))
