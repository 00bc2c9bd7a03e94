"""Networks and endpoints as `docker inspect` shows them: its keys, in its order."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from minirun.network.networks import Network


def network(of: Network, endpoints: Iterable[tuple[str, dict]] = ()) -> dict:
    """A network as `docker network inspect` shows it. Arguments: endpoints, (container's name, endpoint) of each."""
    bridge = of.bridge
    containers = {
        endpoint["ContainerID"]: {
            "Name": name, "EndpointID": endpoint["EndpointID"], "MacAddress": endpoint["MacAddress"],
            "IPv4Address": f"{endpoint['IPAddress']}/{endpoint['IPPrefixLen']}", "IPv6Address": ""}
        for name, endpoint in endpoints}
    prefix = "com.docker.network."
    return {
        "Name": of.name, "Id": of.id, "Created": of.created, "Scope": "local", "Driver": "bridge", "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None,
                 "Config": [{"Subnet": str(bridge.subnet), "Gateway": bridge.gateway}]},
        "Internal": False, "Attachable": False, "Ingress": False, "ConfigFrom": {"Network": ""}, "ConfigOnly": False,
        "Containers": containers,
        "Options": {
            f"{prefix}bridge.default_bridge": "true", f"{prefix}bridge.enable_icc": "true",
            f"{prefix}bridge.enable_ip_masquerade": "true", f"{prefix}bridge.host_binding_ipv4": "0.0.0.0",
            f"{prefix}bridge.name": bridge.name, f"{prefix}driver.mtu": str(bridge.mtu)},
        "Labels": {}}


def endpoint(of: dict | None) -> dict:
    """An endpoint as it stands in `docker inspect` under NetworkSettings.Networks; None is that of a stopped one."""
    empty = {"NetworkID": "", "EndpointID": "", "Gateway": "", "IPAddress": "", "IPPrefixLen": 0, "MacAddress": ""}
    known = of or empty
    return {
        "IPAMConfig": None, "Links": None, "Aliases": None, "NetworkID": known["NetworkID"],
        "EndpointID": known["EndpointID"], "Gateway": known["Gateway"], "IPAddress": known["IPAddress"],
        "IPPrefixLen": known["IPPrefixLen"], "IPv6Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0,
        "MacAddress": known["MacAddress"], "DriverOpts": None}
