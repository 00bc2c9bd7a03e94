"""A container's configuration as `create` writes it: Config and HostConfig (moby, api/types/container).

Config is portable (command, environment, user), HostConfig is about this host (limits, mounts, network). The options
are merged over the image's Config; then the daemon's checks run (see `validate`), before anything has been made.
"""

from __future__ import annotations

from minirun import timestamps
from minirun.engine.container import validate
from minirun.engine.network import endpoint_config
from minirun.engine.shim import signals
from minirun.engine.spec import env
from minirun.engine.spec.specgen import MASKED_PATHS, READONLY_PATHS
from minirun.engine.volume import mountpoints
from minirun.errors import BadParameter, EngineError
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from minirun.engine.options import CreateOptions
    from minirun.image.images import Image

_SHM_SIZE = 64 * 1024 * 1024


def make(options: CreateOptions, image: Image, container_id: str, name: str, host: validate.Host | None = None) -> dict:
    """The record of a new container.

    Arguments: options, the words of `run` or `create`, read; image, of which `id`, `defaults` (the image's own Config)
    and `chain_ids` are used; container_id (64 hex); name, without "/"; host, this machine unless a test has another.
    Errors: BadParameter or EngineError, in the words of Docker's daemon.
    """
    host = host or validate.Host()
    host_config = make_host_config(options)
    config = make_config(options, image.defaults, container_id, host)
    command = _command(config)
    _check(config, host_config, host)
    endpoint_config.validate_network_mode(config, host_config, options.hostname, options.link)
    return {
        "ID": container_id,
        "Created": timestamps.now(),
        "Path": command[0],
        "Args": command[1:],
        "Name": f"/{name}",
        "Image": image.id,
        "ImageName": options.image,
        "Config": config,
        "HostConfig": host_config,
        "Networks": endpoint_config.make(host_config["NetworkMode"], options.endpoint),
        "Links": {},
        "Anonymous": not name,
        "MountPoints": mountpoints.parse_all(
            host_config["Binds"] or [],
            host_config.get("Mounts") or [],
            config["Volumes"] or (),
            host_config.get("Tmpfs") or (),
        ),
        "LayerIDs": list(image.chain_ids),
        "State": {
            "StartedAt": timestamps.ZERO,
            "FinishedAt": timestamps.ZERO,
            "ExitCode": 0,
            "Error": "",
            "OOMKilled": False,
        },
        "RestartCount": 0,
    }


def make_config(options: CreateOptions, image: dict, container_id: str, host: validate.Host) -> dict:
    """Config: the options over the image's Config (moby, daemon/commit.go merge; docker/cli, opts.go parse)."""
    entrypoint, command = _entrypoint_and_command(options, image)
    attached = not options.detach
    streams = options.attach if attached else []
    _, volumes = mountpoints.binds_and_volumes(options.volume)
    default = attached and not options.attach
    stdin = attached and (options.interactive or "stdin" in streams)
    config = {
        "Hostname": options.hostname or (host.name if options.network == "host" else container_id[:12]),
        "Domainname": options.domainname,
        "User": options.user or image.get("User") or "",
        "AttachStdin": stdin,
        "AttachStdout": default or "stdout" in streams,
        "AttachStderr": default or "stderr" in streams,
        "ExposedPorts": dict(sorted({**(image.get("ExposedPorts") or {}), **options.exposed_ports}.items())),
        "Tty": options.tty,
        "OpenStdin": options.interactive,
        "StdinOnce": options.interactive and stdin,
        "Env": env.merge(list(options.env), image.get("Env") or []) or None,
        "Cmd": command,
        "Healthcheck": _healthcheck(options, image),
        "Image": options.image,
        "Volumes": dict(sorted({**(image.get("Volumes") or {}), **volumes}.items())) or None,
        "WorkingDir": options.workdir or image.get("WorkingDir") or "",
        "Entrypoint": entrypoint,
        "MacAddress": options.mac_address,
        "OnBuild": None,
        "Labels": {**(image.get("Labels") or {}), **env.labels(options.label, [])},
        "StopSignal": options.stop_signal or image.get("StopSignal"),
        "StopTimeout": options.stop_timeout,
        "Shell": image.get("Shell"),
    }
    return _without(config, ("ExposedPorts", "Healthcheck", "MacAddress", "StopSignal", "StopTimeout", "Shell"))


def _without(config: dict, optional: tuple[str, ...]) -> dict:
    """Leave out keys that Go's `omitempty` leaves out: those that say nothing. (A StopTimeout of 0 says something.)"""
    return {key: value for key, value in config.items() if key not in optional or value not in (None, "", {}, [])}


def _healthcheck(options: CreateOptions, image: dict) -> dict | None:
    """The image's, which is shown and not run; with --no-healthcheck it says so."""
    if options.no_healthcheck:
        return {**(image.get("Healthcheck") or {}), "Test": ["NONE"]}
    return image.get("Healthcheck")


def _entrypoint_and_command(options: CreateOptions, image: dict) -> tuple[list[str] | None, list[str] | None]:
    """What is run: a command replaces the image's command, an --entrypoint replaces its entrypoint *and* command.

    `--entrypoint ""` takes the image's entrypoint away.
    """
    command = list(options.command) or None
    if options.entrypoint is not None:
        return [options.entrypoint] if options.entrypoint else None, command
    entrypoint = list(image.get("Entrypoint") or []) or None
    return entrypoint, command or list(image.get("Cmd") or []) or None


def _command(config: dict) -> list[str]:
    command = [*(config["Entrypoint"] or []), *(config["Cmd"] or [])]
    if not command:
        raise BadParameter("No command specified")
    return command


def make_host_config(options: CreateOptions) -> dict:
    """HostConfig, with all keys in the order in which Docker's inspect prints them. Errors: BadParameter."""
    open_paths = "systempaths=unconfined"  # the client turns it into the two path lists
    closed = open_paths not in options.security_opt
    config = {
        "Binds": mountpoints.binds_and_volumes(options.volume)[0] or None,
        "ContainerIDFile": options.cidfile,
        "LogConfig": {"Type": "json-file", "Config": {}},
        "NetworkMode": options.network,
        "PortBindings": dict(sorted(options.port_bindings.items())),
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "AutoRemove": bool(options.rm),
        "VolumeDriver": "",
        "VolumesFrom": list(options.volumes_from) or None,
        "CapAdd": list(options.cap_add) or None,
        "CapDrop": list(options.cap_drop) or None,
        "CgroupnsMode": "private",
        "Dns": list(options.dns),
        "DnsOptions": list(options.dns_option),
        "DnsSearch": list(options.dns_search),
        "ExtraHosts": list(options.add_host) or None,
        "GroupAdd": list(options.group_add) or None,
        "IpcMode": "private",
        "Cgroup": "",
        "Links": None,
        "OomScoreAdj": options.oom_score_adj,
        "PidMode": "",
        "Privileged": False,
        "PublishAllPorts": bool(options.publish_all),
        "ReadonlyRootfs": bool(options.read_only),
        "SecurityOpt": [option for option in options.security_opt if option != open_paths] or None,
        "Tmpfs": mountpoints.parse_tmpfs(options.tmpfs),
        "UTSMode": "",
        "UsernsMode": "",
        "ShmSize": options.shm_size or _SHM_SIZE,
        "Sysctls": dict(options.sysctl),
        "Runtime": "minirun",
        "ConsoleSize": [0, 0],
        "Isolation": "",
        **_resources(options),
        "Mounts": list(options.mount),
        "MaskedPaths": list(MASKED_PATHS) if closed else [],
        "ReadonlyPaths": list(READONLY_PATHS) if closed else [],
    }
    return _without(config, ("Tmpfs", "Sysctls", "Mounts"))


def _resources(options: CreateOptions) -> dict:
    """The limits. Memory and swap together are twice the memory unless something else is said (-1: no limit)."""
    swap = options.memory_swap or (2 * options.memory if options.memory > 0 else 0)
    return {
        "CpuShares": options.cpu_shares,
        "Memory": options.memory,
        "NanoCpus": options.cpus,
        "CgroupParent": "",
        "BlkioWeight": 0,
        "BlkioWeightDevice": [],
        "BlkioDeviceReadBps": None,
        "BlkioDeviceWriteBps": None,
        "BlkioDeviceReadIOps": None,
        "BlkioDeviceWriteIOps": None,
        "CpuPeriod": options.cpu_period,
        "CpuQuota": options.cpu_quota,
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "CpusetCpus": options.cpuset_cpus,
        "CpusetMems": options.cpuset_mems,
        "Devices": [],
        "DeviceCgroupRules": None,
        "DeviceRequests": None,
        "KernelMemory": 0,
        "KernelMemoryTCP": 0,
        "MemoryReservation": options.memory_reservation,
        "MemorySwap": swap,
        "MemorySwappiness": None,
        "OomKillDisable": False,
        "PidsLimit": options.pids_limit if options.pids_limit > 0 else None,
        "Ulimits": list(options.ulimit) or None,
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    }


def _check(config: dict, host_config: dict, host: validate.Host) -> None:
    """The daemon's checks of what is not a mount. Errors: BadParameter, EngineError."""
    directory = config["WorkingDir"]
    if directory and not directory.startswith("/"):
        raise BadParameter(f"the working directory '{directory}' is invalid, it needs to be an absolute path")
    signals.number(config.get("StopSignal") or "SIGTERM")
    validate.limits(host_config, host)
    validate.capability_names(host_config)
    validate.security(host_config["SecurityOpt"] or [])
    network = host_config["NetworkMode"]
    for name in host_config.get("Sysctls") or {}:
        if network == "host" and name.startswith("net."):
            raise EngineError(f'sysctl "{name}" not allowed in host network namespace')
