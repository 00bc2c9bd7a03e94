"""Networks and endpoints as `docker inspect` shows them: its keys, in its order."""

from __future__ import annotations

from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from minirun.network.network import Network


def network(of: Network, endpoints: Iterable[tuple[str, dict]] = ()) -> dict:
    """A network as `docker network inspect` shows it. Arguments: endpoints, (container's name, endpoint) of each."""
    containers = {
        endpoint["ContainerID"]: {
            "Name": name,
            "EndpointID": endpoint["EndpointID"],
            "MacAddress": endpoint["MacAddress"],
            "IPv4Address": _with_prefix(endpoint, "IPAddress", "IPPrefixLen"),
            "IPv6Address": _with_prefix(endpoint, "GlobalIPv6Address", "GlobalIPv6PrefixLen"),
        }
        for name, endpoint in endpoints
    }
    shown = of.inspect()
    last = {key: shown.pop(key) for key in ("Options", "Labels")}
    return {**shown, "Containers": containers, **last}


def _with_prefix(endpoint: dict, address: str, prefix: str) -> str:
    return f"{endpoint[address]}/{endpoint[prefix]}" if endpoint.get(address) else ""


def endpoint(of: dict | None, settings: dict | None = None) -> dict:
    """An endpoint as it stands in `docker inspect` under NetworkSettings.Networks.

    Arguments: of, None for a container that does not run; settings, the container's EndpointSettings for the network
    (see `engine.network.endpoint_config`).
    """
    known, wanted = of or {}, settings or {}
    return {
        **{key: wanted.get(key) for key in ("IPAMConfig", "Links", "Aliases")},
        "NetworkID": known.get("NetworkID") or wanted.get("NetworkID", ""),
        **{key: known.get(key, "") for key in ("EndpointID", "Gateway", "IPAddress")},
        "IPPrefixLen": known.get("IPPrefixLen", 0),
        **{key: known.get(key, "") for key in ("IPv6Gateway", "GlobalIPv6Address")},
        "GlobalIPv6PrefixLen": known.get("GlobalIPv6PrefixLen", 0),
        "MacAddress": known.get("MacAddress", ""),
        "DriverOpts": wanted.get("DriverOpts"),
    }


def ports(exposed: Iterable[str], mappings: Iterable[dict]) -> dict[str, list[dict[str, str]] | None]:
    """NetworkSettings.Ports: the bindings of each exposed port, None for one that is not published.

    Arguments: exposed, the keys of Config.ExposedPorts, "80/tcp"; mappings, see `minirun.network.ports.portmapper`.
    """
    found: dict[str, list[dict[str, str]] | None] = {_canonical(word): None for word in exposed}
    for mapping in mappings:
        word = f"{mapping['ContainerPort']}/{mapping['Proto']}"
        found[word] = [*(found.get(word) or ()), {"HostIp": mapping["HostIP"], "HostPort": str(mapping["HostPort"])}]
    return dict(sorted(found.items()))


def _canonical(word: str) -> str:
    """A port and its protocol; a protocol that libnetwork does not know is 0 there."""
    port, _, proto = word.partition("/")
    return f"{port}/{proto}" if proto in ("tcp", "udp", "sctp") else f"{port}/0" if proto else f"{port}/tcp"
