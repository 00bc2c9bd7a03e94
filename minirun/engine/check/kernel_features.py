"""The kernel features that containers need: whether this kernel has them, and whether minirun may use them.

Features are tried out where that leaves nothing behind: a child unshares its network namespace, makes a bridge and a
veth pair in it and lists the NAT rules, and the kernel removes all of it when the child exits.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from minirun.errors import KernelError, MinirunError
from minirun.kernel import namespaces, process, procfs, syscalls
from minirun.kernel.cgroup import hierarchy
from minirun.kernel.netlink import links
from minirun.kernel.netlink.socket import Socket
from minirun.kernel.socketpair import Channel

if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.engine.daemon import Daemon

#: v1 controllers without which a limit of Docker's cannot be set; in v2 `devices` is not a controller but a program.
CONTROLLERS = ("memory", "cpu", "cpuset", "pids", "devices")
#: File systems that cannot hold what a container writes: overlayfs needs extended attributes and whiteouts there.
UNFIT = ("overlay", "nfs", "nfs4", "vfat", "exfat", "ntfs3", "fuse", "9p", "ecryptfs")

Feature = tuple[str, bool, str]


def every(daemon: Daemon) -> list[Feature]:
    """All features: (name, whether the kernel has it, a note)."""
    return [
        *_namespaces(),
        _overlay(),
        _data_root(daemon),
        *_control_groups(),
        *_network(),
        _iptables(),
        _seccomp(),
        _system_calls(),
    ]


def _namespaces() -> list[Feature]:
    """/proc/self/ns has a file for each kind of namespace that the kernel was built with (namespaces(7))."""
    words = [word for word in namespaces.NAMESPACES if word != "user"]
    return [
        (
            f"namespace {word}",
            os.path.exists(f"/proc/self/ns/{namespaces.NAMESPACES[word][1]}"),
            f"/proc/self/ns/{namespaces.NAMESPACES[word][1]}",
        )
        for word in words
    ]


def _overlay() -> Feature:
    """The kernel lists the file systems it has; a module is listed from its first use on."""
    if any(line.split()[-1:] == ["overlay"] for line in procfs.read("/proc/filesystems").splitlines()):
        return "overlay", True, "/proc/filesystems"
    try:
        loadable = process.run(["modprobe", "--dry-run", "overlay"], check=False).code == 0
    except MinirunError:
        loadable = False
    return "overlay", loadable, "a module, loaded when first used" if loadable else "not in this kernel"


def _data_root(daemon: Daemon) -> Feature:
    """Whether the file system of the data root can hold an overlay's upper directory."""
    path = daemon.data_root
    while not os.path.exists(path):
        path = os.path.dirname(path)
    numbers, kind = os.stat(path).st_dev, "unknown"
    for line in procfs.read("/proc/self/mountinfo").splitlines():
        fields = line.split(" ")
        if fields[2] == f"{os.major(numbers)}:{os.minor(numbers)}":
            kind = fields[fields.index("-") + 1]
    fit = kind not in UNFIT
    return "data root", fit, f"{daemon.data_root} on {kind}" + ("" if fit else ": move it with --root")


def _control_groups() -> list[Feature]:
    """The version, and the controllers that are here."""
    try:
        trees = hierarchy.hierarchies()
    except MinirunError as error:
        return [("cgroups", False, f"{error.message}: {error.hint}")]
    v2_only = all(tree.version == 2 for tree in trees)
    if v2_only:
        present = dict.fromkeys(procfs.read(f"{trees[0].mountpoint}/cgroup.controllers").split(), trees[0].mountpoint)
        present["devices"] = "a BPF program"
    else:
        present = {name: tree.mountpoint for tree in trees for name in tree.controllers}
    features: list[Feature] = [("cgroups", True, f"version {2 if v2_only else 1}, {len(trees)} trees")]
    return features + [
        (
            f"cgroup {name}",
            name in present,
            present.get(name, "no such controller: --memory, --cpus and the like may fail"),
        )
        for name in CONTROLLERS
    ]


def _network() -> list[Feature]:
    """A bridge, a veth pair and NAT, tried in a child that has a network namespace of its own."""
    names = ("bridge", "veth", "nat")
    ours, theirs = Channel.pair()
    try:
        pid = process.spawn("minirun:check", "host", lambda: _try_network(theirs))
    finally:
        theirs.close()
    answers = ours.receive() or {}
    ours.close()
    process.wait_exit_code(pid)
    missing = "the child that was to try it was killed"
    return [
        (name, answers.get(name) == "", answers.get(name, missing) or "tried in a namespace of its own")
        for name in names
    ]


def _try_network(channel: Channel) -> None:
    """The child: for each name "" or what went wrong."""
    answers: dict[str, object] = {}
    try:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        with Socket() as netlink:
            for name, request in (
                ("bridge", links.new_bridge(name="try0")),
                ("veth", links.new_veth({"name": "try1"}, {"name": "try2"})),
            ):
                answers[name] = _complaint(netlink.do, request)
        answers["nat"] = _complaint(process.run, ["iptables", "--wait", "-t", "nat", "-S"])
    except MinirunError as error:
        answers = {name: answers.get(name, error.message) for name in ("bridge", "veth", "nat")}
    channel.send(answers)


def _complaint(attempt: Callable[..., object], argument: object) -> str:
    try:
        attempt(argument)
    except MinirunError as error:
        return error.message
    return ""


def _iptables() -> Feature:
    try:
        return "iptables", True, process.run(["iptables", "--version"]).out.strip()
    except MinirunError as error:
        return "iptables", False, error.message + (f" ({error.hint})" if error.hint else "")


def _seccomp() -> Feature:
    try:
        return "seccomp", True, "actions " + procfs.read("/proc/sys/kernel/seccomp/actions_avail").strip()
    except KernelError:
        return "seccomp", False, "not in this kernel"


def _system_calls() -> Feature:
    """The newest of the system calls that minirun needs: close_range(2) with CLOEXEC came with Linux 5.11."""
    try:
        os.close(syscalls.openat2(syscalls.AT_FDCWD, "/", os.O_PATH | os.O_DIRECTORY))
        syscalls.close_range(1 << 30, (1 << 30) + 1, syscalls.CLOSE_RANGE_CLOEXEC)
    except KernelError as error:
        return "system calls", False, f"{error.message}: Linux {os.uname().release} is older than 5.11"
    return "system calls", True, f"Linux {os.uname().release}"
