"""The container's root: what it finds at which path, from an empty directory to the moment before pivot_root.

All of it happens in the container's own mount namespace, so the host's mount table does not grow by a line, and all
of it is undone by the kernel when the namespace's last process ends. That includes the overlay of the image's layers:
our engine hands it over as the first entry of config.json's `mounts`, with the destination `/`.
"""

from __future__ import annotations

import errno
import os
import stat

from minirun.errors import KernelError, MinirunError
from minirun.kernel import devices, mounts, procfs, syscalls
from minirun.kernel.cgroup.hierarchy import hierarchies
from minirun.trace import step

#: What of /proc may be another file (lxcfs has such, which tell the container's own limits). Source: runc.
REPLACEABLE = frozenset(
    f"/proc/{name}"
    for name in (
        "cpuinfo",
        "diskstats",
        "meminfo",
        "stat",
        "swaps",
        "uptime",
        "loadavg",
        "slabinfo",
        "net/dev",
        "sys/kernel/ns_last_pid",
    )
)


def build(spec: dict) -> None:
    """Build the root of `spec` at its `root.path`, out of the host's sight: in the caller's own mount namespace."""
    path = spec["root"]["path"]
    with step("keep our mounts from leaking out"):
        mounts.set_propagation("/", (spec.get("linux") or {}).get("rootfsPropagation") or "rslave")
    entries = list(spec.get("mounts") or [])
    with step("mount the container's root file system"):
        if entries and entries[0]["destination"] == "/":
            _mount_root(path, entries.pop(0))
        else:
            # pivot_root(2) wants a mount point; a directory bound to itself is one.
            syscalls.mount(path, path, "", syscalls.MS_BIND | syscalls.MS_REC)
    root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    with step("mount what a Linux program expects to find"):
        for entry in entries:
            _mount(root, entry)
    with step("make the device nodes"):
        _make_devices(root, spec)
    os.close(root)


def _mount_root(path: str, entry: dict) -> None:
    options = mounts.Options(entry.get("options") or [])
    syscalls.mount(entry.get("source") or entry["type"], path, entry["type"], options.flags, options.data)


def _mount(root: int, entry: dict) -> None:
    """One entry of `mounts` (config.md, "Mounts")."""
    destination, kind = entry["destination"], entry.get("type") or ""
    options = mounts.Options(entry.get("options") or [])
    if kind == "cgroup":
        _mount_cgroups(root, destination, options)
        return
    bind = kind == "bind" or options.flags & syscalls.MS_BIND
    source = entry.get("source") or kind
    if bind:
        options.flags |= syscalls.MS_BIND
        try:
            is_file = not stat.S_ISDIR(os.stat(source).st_mode)
        except OSError as reason:
            raise syscalls.failure("stat", source, reason.errno or 0) from None
        target = mounts.ensure_file(root, destination) if is_file else mounts.ensure_directory(root, destination)
    else:
        if kind == "tmpfs" and "mode=" not in options.data:
            _keep_mode(root, destination, options)
        # /proc and /sys must be where they are looked for: an image that makes one of them a link to somewhere else
        # would otherwise choose where the kernel's files appear, and what is masked later would be masked beside it.
        target = mounts.ensure_directory(root, destination, links=kind not in ("proc", "sysfs"))
    try:
        if bind or kind == "tmpfs":
            _keep_out_of_proc(root, target, destination)
        mounts.mount_at(target, source, kind, options)
    finally:
        os.close(target)


def _keep_out_of_proc(root: int, target: int, destination: str) -> None:
    """Refuse a mount that would take the place of /proc, or of one of its files (as runc does, and with its words).

    What is done in there later is done with the rights of the host: sysctls are written, files are masked. An image
    that could put its own files there, be it by a VOLUME, would have us write to what it likes.
    """
    place = os.readlink(f"/proc/self/fd/{target}").removeprefix(os.readlink(f"/proc/self/fd/{root}"))
    if place == "/proc":
        raise MinirunError(f'"{destination}" cannot be mounted because it is not of type proc')
    if place.startswith("/proc/") and place not in REPLACEABLE:
        raise MinirunError(f'"{destination}" cannot be mounted because it is inside /proc')


def _keep_mode(root: int, destination: str, options: mounts.Options) -> None:
    """A tmpfs over a directory looks as that does, to all who may enter it or not, as with runc; else it is 1777."""
    try:
        target = mounts.open_in(root, destination, os.O_PATH | os.O_DIRECTORY)
    except KernelError:  # it has to be made, or it cannot be: that is seen next
        return
    mode = stat.S_IMODE(os.fstat(target).st_mode)
    os.close(target)
    options.data = ",".join(filter(None, (f"mode={mode:04o}", options.data)))


def _mount_cgroups(root: int, destination: str, options: mounts.Options) -> None:
    """The cgroup trees at /sys/fs/cgroup, each from the container's cgroup down (its cgroup namespace sees to that).

    v2: one mount. v1: a tmpfs with a directory for each tree, as on the host, and a link for each controller that
    shares a tree with another ("cpu" → "cpu,cpuacct").
    """
    trees = hierarchies()
    target = mounts.ensure_directory(root, destination)
    if all(tree.version == 2 for tree in trees):
        mounts.mount_at(target, "cgroup", "cgroup2", options)
        os.close(target)
        return
    plain = mounts.Options([])
    plain.flags = options.flags & ~syscalls.MS_RDONLY
    plain.data = "mode=755"
    mounts.mount_at(target, "tmpfs", "tmpfs", plain)
    os.close(target)
    directory = mounts.open_in(root, destination, os.O_RDONLY | os.O_DIRECTORY)
    options.data = ""
    for tree in trees:
        name = os.path.basename(tree.mountpoint)
        syscalls.mkdirat(directory, name, 0o755)
        place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        own = mounts.Options([])
        own.flags, own.data = options.flags, ",".join(tree.controllers)
        mounts.mount_at(place, "cgroup", "cgroup2" if tree.version == 2 else "cgroup", own)
        os.close(place)
        for controller in tree.controllers:
            if controller != name and not controller.startswith("name="):
                syscalls.symlinkat(name, directory, controller)
    os.close(directory)


def _make_devices(root: int, spec: dict) -> None:
    """Fill /dev, if the spec mounted one (config.md, "Devices" and "Default Devices")."""
    if not any(entry["destination"] == "/dev" and entry.get("type") != "bind" for entry in spec.get("mounts") or []):
        return
    directory = mounts.open_in(root, "/dev", os.O_RDONLY | os.O_DIRECTORY, links=False)
    devices.make_defaults(directory)
    os.close(directory)
    for device in (spec.get("linux") or {}).get("devices") or []:
        _make_device(root, device)


def _make_device(root: int, device: dict) -> None:
    head, _, name = device["path"].rpartition("/")
    if not name:
        raise MinirunError(f"config.json: linux.devices has the path {device['path']}")
    parent = mounts.ensure_directory(root, head or "/")
    try:
        devices.make_node(
            parent,
            name,
            device["type"],
            (device.get("major", 0), device.get("minor", 0)),
            device.get("fileMode", 0o666) & 0o7777,
        )
        syscalls.fchownat(parent, name, device.get("uid", 0), device.get("gid", 0))
    except KernelError as error:
        if error.errno != errno.EEXIST:  # one of the defaults
            raise
    finally:
        os.close(parent)


def enter(spec: dict) -> None:
    """Make the built root our root, and close what shall not be open: after it no path leads to the host."""
    with step("make it our root"):
        mounts.pivot_root(spec["root"]["path"])


def close_doors(spec: dict) -> None:
    """Make read-only and mask what config.json says (config.md, "Masked Paths", "Readonly Paths"), inside the new root.

    Each path is looked for first (lstat): most of Docker's list does not exist on a given kernel, and a mount that
    fails costs as much as one that works.
    """
    linux = spec.get("linux") or {}
    with step("close the doors that must be closed"):
        for path in linux.get("readonlyPaths") or []:
            if os.path.lexists(path):
                syscalls.mount(path, path, "", syscalls.MS_BIND | syscalls.MS_REC)
                mounts.remount_read_only(path)
        for path in linux.get("maskedPaths") or []:
            _mask(path)
        if spec["root"].get("readonly"):
            mounts.remount_read_only("/")


def _mask(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(mode):
        syscalls.mount("tmpfs", path, "tmpfs", syscalls.MS_RDONLY)
    else:
        syscalls.mount("/dev/null", path, "", syscalls.MS_BIND)


def set_sysctls(spec: dict) -> None:
    """Write `linux.sysctl`; /proc/sys shows a process the values of its own namespaces, so this is done inside."""
    for name, value in ((spec.get("linux") or {}).get("sysctl") or {}).items():
        procfs.write("/proc/sys/" + name.replace(".", "/"), value)
