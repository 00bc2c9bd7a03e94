"""Generate a container's OCI config.json from its config and host config (OCI runtime-spec, config.md).

The result is Docker's default spec with the container's HostConfig applied to it: the same mounts in the same
order with the same options, the same masked paths, sysctls, device rules. Each function adds one topic, and none of
them looks at the machine, so the same record always gives the same spec, and `start` can make it again at any time.

One thing is not Docker's: the cgroup namespace. Docker makes one on cgroup v2 only; minirun always does.
"""

from __future__ import annotations

from minirun.engine.spec import capabilities, env
from minirun.engine.volume import mountpoints
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon
    from minirun.engine.spec.users import User

#: Files and directories that show or control the host, and that no namespace separates.
MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
NAMESPACES = ("mount", "network", "uts", "pid", "ipc", "cgroup")
#: A container is alone in its network namespace, so its programs may take ports below 1024 and ping without being root.
NETWORK_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
_PERIOD = 100_000  # microseconds: --cpus 0.5 is a quota of 50 ms in each 100 ms
_NO_LIMIT = 2**64 - 1  # how config.json, whose rlimits are unsigned, writes RLIM_INFINITY


def generate(record: dict, user: User, overlay: dict, daemon: Daemon, joined: dict | None = None) -> dict:
    """The config.json of a container.

    Arguments: record; user, resolved against the image's passwd (see `users`); overlay, the first entry of `mounts`,
    made by `image.snapshot.overlayfs`; daemon, for the two roots;
    joined, the other container's "namespace" (path) and "files" (directory), if it shares one's network.
    """
    files = joined["files"] if joined else f"{daemon.data_root}/containers/{record['ID']}"
    config, host_config = record["Config"], record["HostConfig"]
    spec: dict = {"ociVersion": "1.0.2-dev", "hostname": config["Hostname"]}
    spec["process"] = _process(record, user)
    spec["root"] = {
        "path": f"{daemon.exec_root}/containers/{record['ID']}/rootfs",
        "readonly": host_config["ReadonlyRootfs"],
    }
    spec["mounts"] = [overlay, *_mounts(record, files)]
    spec["linux"] = {
        "namespaces": _namespaces(host_config, joined["namespace"] if joined else ""),
        "cgroupsPath": f"/minirun/{record['ID']}",
        "resources": _resources(host_config),
        "sysctl": _sysctls(config, host_config),
        "maskedPaths": host_config["MaskedPaths"],
        "readonlyPaths": host_config["ReadonlyPaths"],
        # "seccomp" has its place here: Docker's default profile, unless SecurityOpt says seccomp=unconfined
    }
    _propagate_root(spec, record)
    return spec


def _process(record: dict, user: User) -> dict:
    config, host_config = record["Config"], record["HostConfig"]
    process = _process_of(record, user, config["Tty"])
    process["args"] = [record["Path"], *record["Args"]]
    process["oomScoreAdj"] = host_config["OomScoreAdj"]
    if host_config["Ulimits"]:
        process["rlimits"] = [_rlimit(ulimit) for ulimit in host_config["Ulimits"]]
    return process


def exec_process(record: dict, user: User, command: list[str], terminal: bool, extra: list[str]) -> dict:
    """The process.json of `exec`: one more process in a container, with the container's rights and limits.

    Arguments: extra (list of "NAME=value"), laid over the container's environment. The caller changes `cwd` for `-w`.
    """
    process = _process_of(record, user, terminal, extra)
    process["args"] = command
    if record["HostConfig"]["Ulimits"]:
        process["rlimits"] = [_rlimit(ulimit) for ulimit in record["HostConfig"]["Ulimits"]]
    return process


def _process_of(record: dict, user: User, terminal: bool, extra: list[str] | None = None) -> dict:
    """What the first process of a container and those of `exec` have in common."""
    config, host_config = record["Config"], record["HostConfig"]
    names = capabilities.granted(host_config["CapAdd"] or [], host_config["CapDrop"] or [])
    process: dict = {
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": user.groups},
        "env": env.process_env(config, terminal, extra),
        "cwd": config["WorkingDir"] or "/",
        "capabilities": capabilities.capability_sets(names, user.uid),
    }
    if terminal:
        process["terminal"] = True
    if any(_forbids_new_privileges(option) for option in host_config["SecurityOpt"] or []):
        process["noNewPrivileges"] = True
    return process


def _forbids_new_privileges(option: str) -> bool:
    return option.replace("=", ":") in ("no-new-privileges", "no-new-privileges:true")


def _rlimit(ulimit: dict) -> dict:
    soft, hard = (_NO_LIMIT if ulimit[key] == -1 else ulimit[key] for key in ("Soft", "Hard"))
    return {"type": f"RLIMIT_{ulimit['Name'].upper()}", "soft": soft, "hard": hard}


def _default_mounts(shm_size: int) -> list[dict]:
    """What Docker mounts in each container. The cgroup trees are read-only: no process may raise its own limits."""
    return [
        _entry("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
        _entry("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _entry(
            "/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"
        ),
        _entry("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
        _entry("/sys/fs/cgroup", "cgroup", "cgroup", "ro", "nosuid", "noexec", "nodev"),
        _entry("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        _entry("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", f"size={shm_size}"),
    ]


def _entry(destination: str, kind: str, source: str, *options: str) -> dict:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def _mounts(record: dict, directory: str) -> list[dict]:
    """All mounts but the root: Docker's defaults, then the user's and the three /etc files, sorted by depth.

    A user's mount replaces a default one at the same path, and one at /dev replaces all defaults below /dev.
    """
    host_config = record["HostConfig"]
    mounts = [_mount_of(point) for point in record["MountPoints"]]
    mounts += [_tmpfs(path, options) for path, options in (host_config.get("Tmpfs") or {}).items()]
    taken = {entry["destination"] for entry in mounts}
    mounts += [
        _etc_file(directory, name, host_config["ReadonlyRootfs"])
        for name in ("resolv.conf", "hostname", "hosts")
        if f"/etc/{name}" not in taken
    ]
    mounts.sort(key=lambda entry: entry["destination"].count("/"))  # /a before /a/b, which it would hide otherwise
    defaults = [
        entry
        for entry in _default_mounts(host_config["ShmSize"])
        if entry["destination"] not in taken and not ("/dev" in taken and entry["destination"].startswith("/dev/"))
    ]
    return defaults + mounts


def _mount_of(point: dict) -> dict:
    """A mount point of `-v` or `--mount` as a mount."""
    if point["Type"] == "tmpfs":
        return _tmpfs(point["Destination"], _tmpfs_data(point))
    options = ["bind" if point.get("NonRecursive") else "rbind"]
    if not point["RW"]:
        options.append("ro")
    if point["Propagation"]:  # a volume has none of its own
        options.append(point["Propagation"])
    return _entry(point["Destination"], "bind", point["Source"], *options)


def _tmpfs_data(point: dict) -> str:
    """The options of `--mount type=tmpfs` in the form that --tmpfs has."""
    tmpfs = point.get("TmpfsOptions") or {}
    words = ["ro"] * (not point["RW"])
    if tmpfs.get("Mode"):
        words.append(f"mode={tmpfs['Mode']:o}")
    if tmpfs.get("SizeBytes"):
        words.append(f"size={tmpfs['SizeBytes']}")
    return ",".join(words)


def _tmpfs(path: str, options: str) -> dict:
    return _entry(path, "tmpfs", "tmpfs", *mountpoints.tmpfs_options(options.split(",") if options else []))


def _etc_file(directory: str, name: str, read_only: bool) -> dict:
    """One of the three files that depend on the network and so are the container's, not the image's."""
    options = ["rbind", "ro", "rprivate"] if read_only else ["rbind", "rprivate"]
    return _entry(f"/etc/{name}", "bind", f"{directory}/{name}", *options)


def _propagate_root(spec: dict, record: dict) -> None:
    """Make the root mount shared for a mount with shared propagation; the runtime's default, slave, would end it."""
    if any(point["Propagation"].removeprefix("r") == "shared" for point in record["MountPoints"]):
        spec["linux"]["rootfsPropagation"] = "shared"


def _namespaces(host_config: dict, network: str) -> list[dict]:
    """With `--network host` there is no new network namespace: what a spec does not name is shared with the host.

    Arguments: network (str), the path of the one to join, or "".
    """
    shared = {"network"} if host_config["NetworkMode"] == "host" else set()
    spaces = [{"type": word} for word in NAMESPACES if word not in shared]
    for space in spaces:
        if space["type"] == "network" and network:
            space["path"] = network
    return spaces


def _sysctls(config: dict, host_config: dict) -> dict[str, str]:
    """Those for the container's own network stack, the NIS domain name, and what --sysctl asks for."""
    values = {} if host_config["NetworkMode"] == "host" else dict(NETWORK_SYSCTLS)
    if config["Domainname"]:
        values["kernel.domainname"] = config["Domainname"]
    return {**values, **(host_config.get("Sysctls") or {})}


def _resources(host_config: dict) -> dict:
    """linux.resources: the cgroup's limits. A limit of 0 means none and is left out."""
    topics = {"memory": _memory(host_config), "cpu": _cpu(host_config)}
    if host_config["PidsLimit"]:
        topics["pids"] = {"limit": host_config["PidsLimit"]}
    return {"devices": _device_rules(), **{topic: values for topic, values in topics.items() if values}}


def _memory(host_config: dict) -> dict:
    """`swap` is the limit of memory and swap space together; -1 lifts it."""
    values = {
        "limit": host_config["Memory"],
        "reservation": host_config["MemoryReservation"],
        "swap": host_config["MemorySwap"],
    }
    return {name: value for name, value in values.items() if value}


def _cpu(host_config: dict) -> dict:
    quota, period = host_config["CpuQuota"], host_config["CpuPeriod"]
    if host_config["NanoCpus"]:
        quota, period = host_config["NanoCpus"] * _PERIOD // 1_000_000_000, _PERIOD
    values = {
        "shares": host_config["CpuShares"],
        "quota": quota,
        "period": period,
        "cpus": host_config["CpusetCpus"],
        "mems": host_config["CpusetMems"],
    }
    return {name: value for name, value in values.items() if value}


def _device_rules() -> list[dict]:
    """Docker's rules: nothing but zero, null, urandom, random, tty and console; and never fuse.

    The runtime adds what each container needs besides: full, ptmx, the terminals, and mknod of any device, which is
    harmless because the node cannot be opened.
    """
    allowed = ((1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1))
    return [
        {"allow": False, "access": "rwm"},
        *({"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"} for major, minor in allowed),
        {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
    ]
