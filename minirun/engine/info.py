"""`version`, `info`, `image inspect`, and the sizes of `ps -s`: minirun about itself and this machine."""

from __future__ import annotations

import os
import stat
import sys

from minirun import __version__
from minirun.engine.container import index
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from minirun.engine.container.container import Container
    from minirun.engine.daemon import Daemon
    from minirun.image.images import Image

#: The version of Docker's API whose texts, shapes and exit codes minirun has (Docker 20.10); it does not serve it.
API_VERSION = "1.41"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def version() -> dict:
    """`minirun version`, with the keys of Docker's: {"Client": {...}, "Server": {...}}."""
    system = os.uname()
    python = f"Python {sys.version.split(' ', 1)[0]}"
    both = {"GitCommit": "", "GoVersion": python, "Os": "linux", "Arch": _MACHINES.get(system.machine, system.machine)}
    engine = {"ApiVersion": API_VERSION, "MinAPIVersion": API_VERSION, **both, "KernelVersion": system.release}
    return {
        "Client": {
            "Platform": {"Name": ""},
            "Version": __version__,
            "ApiVersion": API_VERSION,
            "DefaultAPIVersion": API_VERSION,
            **both,
            "BuildTime": "",
            "Context": "default",
            "Experimental": False,
        },
        "Server": {
            "Platform": {"Name": "minirun works without a daemon"},
            "Components": [{"Name": "Engine", "Version": __version__, "Details": engine}],
            "Version": __version__,
            **engine,
            "BuildTime": "",
        },
    }


def info(daemon: Daemon) -> dict:
    """`minirun info`, with the keys of Docker's, as far as minirun has what they are about."""
    states = [status.state for _, status in index.statuses(daemon)]
    system = os.uname()
    running, paused = states.count("running"), states.count("paused")
    return {
        "ID": _identity(daemon),
        "Containers": len(states),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": len(states) - running - paused,
        "Images": len(daemon.images.every()),
        "Driver": "overlay2",
        "DriverStatus": [["Backing Filesystem", _backing(daemon.data_root)], ["Supports d_type", "true"]],
        "Plugins": {"Volume": ["local"], "Network": ["bridge", "host", "null"], "Log": ["json-file"]},
        "MemoryLimit": True,
        "SwapLimit": True,
        "PidsLimit": True,
        "CpuCfsPeriod": True,
        "CpuCfsQuota": True,
        "CPUShares": True,
        "CPUSet": True,
        "IPv4Forwarding": _read_text("/proc/sys/net/ipv4/ip_forward") == "1",
        "BridgeNfIptables": _read_text("/proc/sys/net/bridge/bridge-nf-call-iptables") == "1",
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": _cgroup_version(),
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "KernelVersion": system.release,
        "OperatingSystem": _operating_system(),
        "OSType": "linux",
        "Architecture": system.machine,
        "Name": system.nodename,
        "DockerRootDir": daemon.data_root,
        "ExecRoot": daemon.exec_root,
        "Debug": False,
        "Labels": [],
        "ExperimentalBuild": False,
        "ServerVersion": __version__,
        "DefaultRuntime": "minirun",
        "Runtimes": {"minirun": {"path": "minirun"}},
        "LiveRestoreEnabled": True,  # no daemon, so none whose restart a container would have to live through
        "SecurityOptions": _security_options(),
        "Warnings": None,
    }


def sizes(container: Container) -> tuple[int, int]:
    """SizeRw and SizeRootFs of a container: the bytes of its writable layer, and those with its image's."""
    own = tree_size(f"{container.directory}/upper")
    images = container.daemon.images.every()
    image = next((image for image in images if image.id == container.record["Image"]), None)
    return own, own + (image.size if image else 0)


def tree_size(path: str) -> int:
    """Bytes of the files below a directory, hard links counted once; symbolic links are not followed."""
    # Not os.walk, which recurses for each level, and a container can make more levels than Python's stack allows.
    from minirun.image.snapshot.merged_tree import MergedTree

    total = 0
    seen: set[tuple[int, int]] = set()
    with MergedTree([path]) as tree:
        for found in tree.walk():
            status = found.status
            if not stat.S_ISREG(status.st_mode) or (status.st_dev, status.st_ino) in seen:
                continue
            if status.st_nlink > 1:
                seen.add((status.st_dev, status.st_ino))
            total += status.st_size
    return total


def image(image: Image) -> dict:
    """An image as `docker image inspect` shows it."""
    config = image.config
    steps = config.get("history") or [{}]
    return {
        "Id": image.id,
        "RepoTags": [name for name in image.names if "@" not in name],
        "RepoDigests": image.digests,
        "Parent": "",
        "Comment": config.get("comment") or steps[-1].get("comment", ""),
        "Created": image.created,
        "Container": config.get("container", ""),
        "ContainerConfig": _settings(config.get("container_config") or {}),
        "DockerVersion": config.get("docker_version", ""),
        "Author": config.get("author", ""),
        "Config": _settings(image.defaults),
        "Architecture": config.get("architecture", ""),
        **({"Variant": config["variant"]} if config.get("variant") else {}),
        "Os": config.get("os", ""),
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": {"Data": _directories(image), "Name": "overlay2"},
        "RootFS": {"Type": "layers", **({"Layers": image.diff_ids} if image.diff_ids else {})},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
    }


#: Docker's keys in its order, with what is shown for one that an image does not have; `...`: it is left out.
_SETTINGS = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "ExposedPorts": ...,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Healthcheck": ...,
    "ArgsEscaped": ...,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
    "StopSignal": ...,
    "StopTimeout": ...,
    "Shell": ...,
}


def _settings(given: dict) -> dict:
    """An image's Config (ContainerConfig) with all of Docker's keys."""
    return {key: given.get(key, empty) for key, empty in _SETTINGS.items() if given.get(key) or empty is not ...}


def _directories(image: Image) -> dict[str, str]:
    """GraphDriver.Data of an image: its top layer, and those below it from top to bottom."""
    layers = image.layers[::-1]
    below = {"LowerDir": ":".join(layers[1:])} if layers[1:] else {}
    return {**below, "UpperDir": layers[0]} if layers else {}


def _identity(daemon: Daemon) -> str:
    """An ID for this machine's data root, in Docker's form: twelve groups of four letters and digits."""
    from base64 import b32encode
    from hashlib import sha256

    seed = (_read_text("/etc/machine-id") or os.uname().nodename) + daemon.data_root
    text = b32encode(sha256(seed.encode()).digest()).decode()[:48]
    return ":".join(text[place : place + 4] for place in range(0, 48, 4))


def _operating_system() -> str:
    for line in _read_text("/etc/os-release").splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip('"')
    return "Linux"


def _backing(path: str) -> str:
    """The type of the file system that a directory is on; Docker calls ext2, ext3 and ext4 "extfs"."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    device = os.stat(path).st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    for line in _read_text("/proc/self/mountinfo").splitlines():
        fields = line.split(" ")
        if fields[2] == name:
            kind = fields[fields.index("-") + 1]
            return "extfs" if kind in ("ext2", "ext3", "ext4") else kind
    return "unknown"


def _cgroup_version() -> str:
    return "2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "1"


def _security_options() -> list[str]:
    from importlib.util import find_spec

    return ["name=seccomp,profile=default"] if find_spec("minirun.kernel.seccomp") else []


def _read_text(path: str) -> str:
    """A small file's text, stripped; "" when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
