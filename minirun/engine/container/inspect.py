"""`docker inspect` of a container: everything known about it, in the shape and order that scripts rely on.

Nothing in here is a second truth. What was asked for comes from the record, whether it runs from the kernel (through
the status), and its addresses from the endpoint that the network made.
"""

from __future__ import annotations

from minirun import timestamps
from minirun.image.snapshot import overlayfs
from minirun.network import inspect as shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.container.container import Status
    from minirun.engine.daemon import Daemon

_SHOWN_OF_MOUNT = ("Type", "Name", "Source", "Destination", "Driver", "Mode", "RW", "Propagation")


def describe(record: dict, status: Status, cable: dict, daemon: Daemon, ports: dict | None = None) -> dict:
    """A container as `docker inspect` shows it (one element of the list that it prints).

    Arguments: record, see `minirun.engine.container.config`; status, with `word`, `exit_code`, `pid`, `started_at`,
    `finished_at`; daemon, for the two roots; cable, what is plugged in (see `minirun.engine.network.sandbox`);
    ports, see `Container.ports`.
    """
    container_id = record["ID"]
    # One that shares another's network has the other's files.
    files_of = record["HostConfig"]["NetworkMode"].partition("container:")[2] or container_id
    directory = f"{daemon.data_root}/containers/{files_of}"
    # Docker makes these files at the first start, and names them from then on.
    files = directory if status.started_at != timestamps.ZERO else ""
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
        "LogPath": files and f"{daemon.data_root}/containers/{container_id}/{container_id}-json.log",
        "Name": record["Name"],
        "RestartCount": record["RestartCount"],
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": record["HostConfig"],
        "GraphDriver": _graph_driver(record, daemon),
        "Mounts": [{key: point[key] for key in _SHOWN_OF_MOUNT if key in point} for point in record["MountPoints"]],
        "Config": record["Config"],
        "NetworkSettings": {**_network_settings(record, status, cable), "Ports": ports or {}},
    }


def _state(record: dict, status: Status) -> dict:
    running = _is_running(status)
    return {
        "Status": status.word,
        "Running": running,
        "Paused": status.word == "paused",
        "Restarting": status.word == "restarting",
        "OOMKilled": status.oom_killed,
        "Dead": status.word == "dead",
        "Pid": status.pid if running and status.pid else 0,
        "ExitCode": 0 if status.word in ("running", "paused") else status.exit_code or 0,
        "Error": status.error,
        "StartedAt": status.started_at or timestamps.ZERO,
        "FinishedAt": status.finished_at or timestamps.ZERO,
    }


def _graph_driver(record: dict, daemon: Daemon) -> dict:
    """Where the container's files lie: the overlay's layers, highest first, and its writable directory."""
    data = f"{daemon.data_root}/containers/{record['ID']}"
    layers = [f"{daemon.data_root}/images/layers/{chain.rpartition(':')[2]}" for chain in record["LayerIDs"]]
    return {
        "Data": {
            "LowerDir": ":".join(overlayfs.pile(layers, data)[1:]),
            "MergedDir": f"{daemon.exec_root}/containers/{record['ID']}/rootfs",
            "UpperDir": f"{data}/upper",
            "WorkDir": f"{data}/work",
        },
        "Name": "overlay2",
    }


def _network_settings(record: dict, status: Status, cable: dict) -> dict:
    """NetworkSettings. Its top level repeats what the entry of the default bridge says, and stays empty without one."""
    running = _is_running(status)
    endpoints = cable["Endpoints"] if running else {}
    entries = {name: shown.endpoint(endpoints.get(name), wish) for name, wish in sorted(record["Networks"].items())}
    top = entries.get("bridge") or shown.endpoint(None)
    has_own = running and not record["HostConfig"]["NetworkMode"].startswith("container:")
    return {
        "Bridge": "",
        "SandboxID": record["ID"] if has_own else "",  # Docker draws one by lot; a container has only one sandbox
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Ports": {},
        "SandboxKey": _sandbox_of(cable, status.pid) if has_own and status.pid else "",
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        **{
            key: top[key]
            for key in (
                "EndpointID",
                "Gateway",
                "GlobalIPv6Address",
                "GlobalIPv6PrefixLen",
                "IPAddress",
                "IPPrefixLen",
                "IPv6Gateway",
                "MacAddress",
            )
        },
        "Networks": entries,
    }


def _sandbox_of(cable: dict, pid: int) -> str:
    from minirun.network.bridge import netns  # it has the whole kernel floor behind it

    return netns.path_of(cable["Name"], cable["Inode"], pid)


def _is_running(status: Status) -> bool:
    """A container that is paused or waits for its restart counts as running."""
    return status.word in ("running", "paused", "restarting")
