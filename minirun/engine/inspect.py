"""`docker inspect` of a container: everything known about it, in the shape and order that scripts rely on.

Nothing in here is a second truth. What was asked for comes from the record, whether it runs from the kernel (through
the status), and its addresses from the endpoint that the network made.
"""

from __future__ import annotations

from minirun.engine import times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.containers import Status

_SHOWN_OF_MOUNT = ("Type", "Source", "Destination", "Mode", "RW", "Propagation")


def describe(record: dict, status: Status, network: dict | None, places: object) -> dict:
    """A container as `docker inspect` shows it (one element of the list that it prints).

    Arguments: record, see `minirun.engine.record`; status, with `word`, `exit_code`, `pid`, `started_at`,
    `finished_at`; places, with `data` and `run`; network, the endpoint while the container runs, None otherwise. Of it
    these keys are used, and each may be missing: "address" ("172.17.0.2"), "prefix" (16), "gateway", "mac",
    "network_id", "endpoint_id" (64 hex each), "sandbox_id" (64 hex), "sandbox_key" (path of the network namespace).
    """
    container_id = record["ID"]
    directory = f"{places.data}/containers/{container_id}"  # type: ignore[attr-defined]
    started = status.started_at != times.ZERO  # Docker makes these files at the first start, and names them from then on
    files = directory if started else ""
    return {
        "Id": container_id,
        "Created": record["Created"],
        "Path": record["Path"],
        "Args": record["Args"],
        "State": _state(record, status),
        "Image": record["Image"],
        "ResolvConfPath": files and f"{files}/resolv.conf",
        "HostnamePath": files and f"{files}/hostname",
        "HostsPath": files and f"{files}/hosts",
        "LogPath": files and f"{files}/{container_id}-json.log",
        "Name": record["Name"],
        "RestartCount": record["RestartCount"],
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": record["HostConfig"],
        "GraphDriver": _graph_driver(record, places),
        "Mounts": [{key: point[key] for key in _SHOWN_OF_MOUNT} for point in record["MountPoints"]],
        "Config": record["Config"],
        "NetworkSettings": _network_settings(record, network, places),
    }


def _state(record: dict, status: Status) -> dict:
    """State. A container that is paused or waits for its restart counts as running."""
    running = status.word in ("running", "paused", "restarting")
    return {
        "Status": status.word,
        "Running": running,
        "Paused": status.word == "paused",
        "Restarting": status.word == "restarting",
        "OOMKilled": bool(record["State"].get("OOMKilled")),
        "Dead": status.word == "dead",
        "Pid": status.pid if running and status.pid else 0,
        "ExitCode": 0 if status.word in ("running", "paused") else status.exit_code or 0,
        "Error": record["State"].get("Error", ""),
        "StartedAt": status.started_at or times.ZERO,
        "FinishedAt": status.finished_at or times.ZERO,
    }


def _graph_driver(record: dict, places: object) -> dict:
    """Where the container's files lie: the overlay's layers, highest first, and its writable directory."""
    data = f"{places.data}/containers/{record['ID']}"  # type: ignore[attr-defined]
    layers = [f"{places.data}/images/layers/{chain.rpartition(':')[2]}"  # type: ignore[attr-defined]
              for chain in reversed(record["LayerIDs"])]
    return {
        "Data": {
            "LowerDir": ":".join(layers),
            "MergedDir": f"{places.run}/containers/{record['ID']}/rootfs",  # type: ignore[attr-defined]
            "UpperDir": f"{data}/upper",
            "WorkDir": f"{data}/work",
        },
        "Name": "overlay2",
    }


def _network_settings(record: dict, network: dict | None, places: object) -> dict:
    """NetworkSettings. Its top level repeats what the default bridge's entry below says; other networks are not there."""
    mode = record["HostConfig"]["NetworkMode"]
    name = "bridge" if mode == "default" else mode
    known = network or {}
    top = known if name == "bridge" else {}
    key = f"{places.run}/netns/{record['ID'][:12]}" if network is not None else ""  # type: ignore[attr-defined]
    return {
        "Bridge": "",
        "SandboxID": known.get("sandbox_id") or "",
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Ports": {},
        "SandboxKey": known.get("sandbox_key") or key,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": top.get("endpoint_id") or "",
        **_addresses(top),
        "Networks": {name: _endpoint(known)},
    }


def _endpoint(known: dict) -> dict:
    """One entry of Networks. The same eight facts as at the top, in an order of their own."""
    addresses = _addresses(known)
    return {
        "IPAMConfig": None,
        "Links": None,
        "Aliases": None,
        "NetworkID": known.get("network_id") or "",
        "EndpointID": known.get("endpoint_id") or "",
        **{key: addresses[key] for key in ("Gateway", "IPAddress", "IPPrefixLen", "IPv6Gateway", "GlobalIPv6Address",
                                           "GlobalIPv6PrefixLen", "MacAddress")},
        "DriverOpts": None,
    }


def _addresses(known: dict) -> dict:
    return {
        "Gateway": known.get("gateway") or "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": known.get("address") or "",
        "IPPrefixLen": known.get("prefix") or 0,
        "IPv6Gateway": "",
        "MacAddress": known.get("mac") or "",
    }
