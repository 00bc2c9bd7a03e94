"""Networks and endpoints as `docker inspect` shows them: its keys, in its order."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from minirun.network.networks import Network


def network(of: Network, endpoints: Iterable[tuple[str, dict]] = ()) -> dict:
    """A network as `docker network inspect` shows it. Arguments: endpoints, (container's name, endpoint) of each."""
    containers = {
        endpoint["ContainerID"]: {
            "Name": name, "EndpointID": endpoint["EndpointID"], "MacAddress": endpoint["MacAddress"],
            "IPv4Address": _with_prefix(endpoint, "IPAddress", "IPPrefixLen"),
            "IPv6Address": _with_prefix(endpoint, "GlobalIPv6Address", "GlobalIPv6PrefixLen")}
        for name, endpoint in endpoints}
    return {**of.shown(), "Containers": containers}


def _with_prefix(endpoint: dict, address: str, prefix: str) -> str:
    return f"{endpoint[address]}/{endpoint[prefix]}" if endpoint.get(address) else ""


def endpoint(of: dict | None) -> dict:
    """An endpoint as it stands in `docker inspect` under NetworkSettings.Networks; None is that of a stopped one."""
    empty = {"NetworkID": "", "EndpointID": "", "Gateway": "", "IPAddress": "", "IPPrefixLen": 0, "MacAddress": ""}
    known = of or empty
    return {
        "IPAMConfig": None, "Links": None, "Aliases": None, "NetworkID": known["NetworkID"],
        "EndpointID": known["EndpointID"], "Gateway": known["Gateway"], "IPAddress": known["IPAddress"],
        "IPPrefixLen": known["IPPrefixLen"], "IPv6Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0,
        "MacAddress": known["MacAddress"], "DriverOpts": None}
