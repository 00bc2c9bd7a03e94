"""A container's endpoint settings: stored by `create` and `network connect`, applied by each start.

    record["Networks"] = {"foo": {"IPAMConfig": None, "Links": None, "Aliases": ["db"], "DriverOpts": None,
                                  "NetworkID": ""}}

The keys are those of Docker's EndpointSettings that are configuration and not the network's answer. The network is
given by its name; if it does not exist yet, by what was typed, for it may be created before the container is started.
The checks follow moby's `updateNetworkConfig` and `validateNetMode`.
"""

from __future__ import annotations

from minirun.errors import BadParameter, EngineError
from minirun.light import TYPE_CHECKING, socket
from minirun.network import predefined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.network.network import Network

CONFLICT_HOST = "container cannot be disconnected from host network or connected to host network"
CONFLICT_SHARED = (
    "container sharing network namespace with another container or host cannot be connected to any other network"
)
CONFLICT_NONE = "container cannot be connected to multiple networks with one of the networks in private (none) mode"


def network_of_mode(mode: str) -> str:
    """The name of the network that a NetworkMode stands for: "default" is the bridge; "" for `container:NAME`."""
    return predefined.BRIDGE if mode == "default" else "" if mode.startswith("container:") else mode


def defaults() -> dict:
    """Endpoint settings without any option."""
    return {"IPAMConfig": None, "Links": None, "Aliases": None, "DriverOpts": None, "NetworkID": ""}


def make(mode: str, endpoint: dict | None) -> dict[str, dict]:
    """The settings of a new container: network → endpoint settings.

    Arguments: mode, its NetworkMode; endpoint, the options, which lay over the defaults, or None.
    Errors: BadParameter for an invalid address.
    """
    if endpoint:
        for key, family in (("IPv4Address", socket.AF_INET), ("IPv6Address", socket.AF_INET6)):
            address = (endpoint.get("IPAMConfig") or {}).get(key, "")
            if address and not is_address(address, family):
                raise BadParameter(f"invalid {key[:4]} address: {address}")
    name = network_of_mode(mode)
    return {name: {**defaults(), **(endpoint or {})}} if name else {}


def check_addresses(address: dict) -> None:
    """Check the addresses of `network connect`. Errors: EngineError, with the stray bracket of dockerd's message."""
    for key, family in (("IPv4Address", socket.AF_INET), ("IPv6Address", socket.AF_INET6)):
        if address.get(key) and not is_address(address[key], family):
            raise EngineError(f"Invalid {key[:4]} address: {address[key]})")


def is_address(text: str, family: int) -> bool:
    """Whether a text is an address of this family (AF_INET, AF_INET6)."""
    try:
        socket.inet_pton(family, text)
    except (OSError, ValueError):  # ValueError: a NUL byte or a surrogate in it
        return False
    return True


def validate_network_mode(config: dict, host_config: dict, hostname: str, links: Sequence[str]) -> None:
    """Refuse options that conflict with the network namespace of another container or of the host (validateNetMode).

    Arguments: hostname, links, as on the command line. Errors: BadParameter.
    """
    mode = host_config["NetworkMode"]
    shares = mode.startswith("container:")
    if mode == "container:":
        raise BadParameter("Invalid network mode: invalid container format container:<name|id>")
    both = "and the network mode"
    for conflict, text in (
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
        if conflict:
            raise BadParameter(f"conflicting options: {text}")


def publishes_ports(record: dict) -> bool:
    """Whether a container has published ports."""
    host_config = record["HostConfig"]
    return bool(host_config["PortBindings"] or host_config["PublishAllPorts"] and record["Config"].get("ExposedPorts"))


def add_default_aliases(record: dict, network: str, settings: dict) -> None:
    """Add the aliases that every container has on a user-defined network: its short id and its host name.

    Errors: EngineError for settings that a predefined network does not support.
    """
    address = settings["IPAMConfig"] or {}
    if predefined.is_predefined(network):
        if address.get("IPv4Address") or address.get("IPv6Address"):
            raise EngineError("user specified IP address is supported on user defined networks only")
        if settings["Aliases"]:
            raise EngineError("network-scoped alias is supported only for containers in user defined networks")
        return
    names = (*(settings["Aliases"] or ()), record["ID"][:12], record["Config"]["Hostname"])
    settings["Aliases"] = list(dict.fromkeys(names))


def check_other_networks(record: dict, network: Network) -> None:
    """Refuse a network that cannot be combined with those that the container is connected with. Errors: EngineError."""
    if record["HostConfig"]["NetworkMode"] != "host" and network.driver == "host":
        raise EngineError(CONFLICT_HOST)
    for name in record["Networks"]:
        if name == network.name:
            return
        if name == "host":
            raise EngineError(CONFLICT_SHARED)
        if "none" in (name, network.name):
            raise EngineError(CONFLICT_NONE)


def requested_mac(record: dict, network: str) -> str:
    """The MAC address requested for a network, "" for none: `--mac-address` applies to the first network only."""
    if network != network_of_mode(record["HostConfig"]["NetworkMode"]):
        return ""
    digits = "".join(letter for letter in record["Config"].get("MacAddress", "") if letter not in ":-.")
    return bytes.fromhex(digits).hex(":")


def join_order(record: dict) -> list[str]:
    """The networks in the order in which they are joined: the default bridge first, because of the legacy links."""
    return sorted(record["Networks"], key=lambda name: (name != predefined.BRIDGE, name))
