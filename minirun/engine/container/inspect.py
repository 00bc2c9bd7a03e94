"""`inspect` of a container: all that is known about it, in Docker's shape and order (moby, daemon/inspect.go).

The options come from the record, the State from the kernel (see `Container.status`), and the addresses from the
endpoints of its sandbox.
"""

from __future__ import annotations

from minirun import timestamps
from minirun.image.snapshot import overlayfs
from minirun.light import TYPE_CHECKING
from minirun.network import inspect as shown

if TYPE_CHECKING:
    from minirun.engine.container.container import Status
    from minirun.engine.daemon import Daemon

_SHOWN_OF_MOUNT = ("Type", "Name", "Source", "Destination", "Driver", "Mode", "RW", "Propagation")


def describe(record: dict, status: Status, cable: dict, daemon: Daemon, ports: dict | None = None) -> dict:
    """A container as `docker inspect` shows it: one element of the list that it prints.

    Arguments: record (see `config.make`); status; daemon, for the two roots; cable, its sandbox (see
    `engine.network.sandbox`); ports, see `Container.ports`.
    """
    container_id = record["ID"]
    # With --network container:NAME it has the other container's files.
    files_of = record["HostConfig"]["NetworkMode"].partition("container:")[2] or container_id
    directory = f"{daemon.data_root}/containers/{files_of}"
    # Docker creates these files at the first start, and shows their paths from then on.
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
        "Status": status.state,
        "Running": running,
        "Paused": status.state == "paused",
        "Restarting": status.state == "restarting",
        "OOMKilled": status.oom_killed,
        "Dead": status.state == "dead",
        "Pid": status.pid if running and status.pid else 0,
        "ExitCode": 0 if status.state in ("running", "paused") else status.exit_code or 0,
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
            "LowerDir": ":".join(overlayfs.stack(layers, data)[1:]),
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
    entries = {
        name: shown.endpoint(endpoints.get(name), settings) for name, settings in sorted(record["Networks"].items())
    }
    top = entries.get("bridge") or shown.endpoint(None)
    has_own = running and not record["HostConfig"]["NetworkMode"].startswith("container:")
    return {
        "Bridge": "",
        "SandboxID": record["ID"] if has_own else "",  # random in Docker; a container has only one sandbox
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
    from minirun.network.bridge import netns

    return netns.path_of(cable["Name"], cable["Inode"], pid)


def _is_running(status: Status) -> bool:
    """A container that is paused or waits for its restart counts as running."""
    return status.state in ("running", "paused", "restarting")
