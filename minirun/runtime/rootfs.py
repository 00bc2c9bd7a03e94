"""The container's root file system: mounts, device nodes, pivot_root, masked and read-only paths (OCI config-linux.md).

All of it happens in the container's own mount namespace, so the host's mount table does not grow by a line, and the
kernel undoes all of it when the namespace's last process ends. That includes the overlay of the image's layers: our
engine passes it as the first entry of config.json's `mounts`, with the destination `/`.
"""

from __future__ import annotations

import errno
import os
import stat

from minirun.errors import KernelError, MinirunError
from minirun.kernel import devices, mounts, procfs, syscalls
from minirun.kernel.cgroup.hierarchy import hierarchies
from minirun.trace import step

#: Files of /proc over which something may be mounted: lxcfs shows a container its own limits there. Source: runc.
PROC_MOUNTS_ALLOWED = frozenset(
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
    """Build the root file system at `root.path`, in the caller's mount namespace. Errors: KernelError, MinirunError."""
    path = spec["root"]["path"]
    # Before the first mount: systemd makes / shared, and our mounts would appear on the host. Slave, not private, so
    # that what the host unmounts goes here too and is not kept busy by a container.
    with step("keep our mounts from leaking out"):
        mounts.set_propagation("/", (spec.get("linux") or {}).get("rootfsPropagation") or "rslave")
    entries = list(spec.get("mounts") or [])
    with step("mount the container's root file system"):
        if entries and entries[0]["destination"] == "/":
            _mount_root(path, entries.pop(0))
        else:
            # pivot_root(2) wants a mount point (else EINVAL); a directory that is bound onto itself is one.
            syscalls.mount(path, path, "", syscalls.MS_BIND | syscalls.MS_REC)
    root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    with step("mount what a Linux program expects to find"):
        for entry in entries:
            _mount(root, entry)
    with step("make the device nodes"):
        _make_devices(root, spec)
    os.close(root)


def _mount_root(path: str, entry: dict) -> None:
    """Mount the root itself, an overlay for our engine. By its plain path: nothing of the image is in that yet."""
    options = mounts.Options(entry.get("options") or [])
    syscalls.mount(entry.get("source") or entry["type"], path, entry["type"], options.flags, options.data)


def _mount(root: int, entry: dict) -> None:
    """Mount one entry of `mounts` (config.md, "Mounts")."""
    destination, kind = entry["destination"], entry.get("type") or ""
    options = mounts.Options(entry.get("options") or [])
    if kind == "cgroup":
        _mount_cgroups(root, destination, options)
        return
    bind = kind == "bind" or options.flags & syscalls.MS_BIND
    source = entry.get("source") or kind
    if bind:
        options.flags |= syscalls.MS_BIND
        # mount(2) binds a file onto a file and a directory onto a directory only, so the target is made of that kind.
        try:
            is_file = not stat.S_ISDIR(os.stat(source).st_mode)
        except OSError as reason:
            raise syscalls.failure("stat", source, reason.errno or 0) from None
        target = mounts.ensure_file(root, destination) if is_file else mounts.ensure_directory(root, destination)
    else:
        if kind == "tmpfs" and "mode=" not in options.data:
            _copy_mode(root, destination, options)
        # No link on the way to /proc and /sys: an image that makes one of them a link to another directory would choose
        # where the kernel's files appear, and what is masked later would be masked elsewhere (CVE-2023-28642, runc).
        target = mounts.ensure_directory(root, destination, links=kind not in ("proc", "sysfs"))
    try:
        if bind or kind == "tmpfs":
            _check_proc_mount(root, target, destination)
        mounts.mount_at(target, source, kind, options)
    finally:
        os.close(target)


def _check_proc_mount(root: int, target: int, destination: str) -> None:
    """Refuse a mount over /proc or one of its files (runc's checkProcMount). Errors: MinirunError with runc's message.

    An image that could put files of its own there, by a VOLUME say, would have these masked, and the kernel's files
    left open elsewhere; in runc it also got round AppArmor, whose labels are written there (CVE-2019-16884,
    CVE-2019-19921).
    """
    # What was opened is asked for its path, not the string in the spec: that may lead to /proc by links.
    path = os.readlink(f"/proc/self/fd/{target}").removeprefix(os.readlink(f"/proc/self/fd/{root}"))
    if path == "/proc":
        raise MinirunError(f'"{destination}" cannot be mounted because it is not of type proc')
    if path.startswith("/proc/") and path not in PROC_MOUNTS_ALLOWED:
        raise MinirunError(f'"{destination}" cannot be mounted because it is inside /proc')


def _copy_mode(root: int, destination: str, options: mounts.Options) -> None:
    """Give a tmpfs the mode of the directory that it is mounted over, as runc does; a new tmpfs has 1777."""
    try:
        target = mounts.open_in(root, destination, os.O_PATH | os.O_DIRECTORY)
    except KernelError:  # it does not exist yet, or cannot be made: the caller sees which
        return
    mode = stat.S_IMODE(os.fstat(target).st_mode)
    os.close(target)
    options.data = ",".join(filter(None, (f"mode={mode:04o}", options.data)))


def _mount_cgroups(root: int, destination: str, options: mounts.Options) -> None:
    """Mount the cgroup hierarchies at /sys/fs/cgroup; the cgroup namespace makes the container's cgroup their root.

    v2: one mount. v1: a tmpfs with a directory for each hierarchy, as on the host, and a symbolic link for each
    controller that shares one ("cpu" → "cpu,cpuacct").
    """
    trees = hierarchies()
    target = mounts.ensure_directory(root, destination)
    if all(tree.version == 2 for tree in trees):
        mounts.mount_at(target, "cgroup", "cgroup2", options)
        os.close(target)
        return
    # The tmpfs writable, or the directories below could not be made; the host's layout has mode 755.
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
        # O_NOFOLLOW: nothing but what mkdirat has made a line ago.
        mountpoint = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        own = mounts.Options([])
        own.flags, own.data = options.flags, ",".join(tree.controllers)
        mounts.mount_at(mountpoint, "cgroup", "cgroup2" if tree.version == 2 else "cgroup", own)
        os.close(mountpoint)
        for controller in tree.controllers:
            # "name=systemd" is the name of a hierarchy, not a controller that a program would look for.
            if controller != name and not controller.startswith("name="):
                syscalls.symlinkat(name, directory, controller)
    os.close(directory)


def _make_devices(root: int, spec: dict) -> None:
    """Make the device nodes in /dev, if the spec mounts one (config-linux.md, "Devices", "Default Devices")."""
    if not any(entry["destination"] == "/dev" and entry.get("type") != "bind" for entry in spec.get("mounts") or []):
        return
    # A bind-mounted /dev is the host's: nothing is made in that. And no link: it was mounted a moment ago.
    directory = mounts.open_in(root, "/dev", os.O_RDONLY | os.O_DIRECTORY, links=False)
    devices.make_defaults(directory)
    os.close(directory)
    for device in (spec.get("linux") or {}).get("devices") or []:
        _make_device(root, device)


def _make_device(root: int, device: dict) -> None:
    """Make one node of `linux.devices`. Errors: MinirunError for a path without a name."""
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
        if error.errno != errno.EEXIST:  # one of the default nodes, or a mount of the spec
            raise
    finally:
        os.close(parent)


def pivot(spec: dict) -> None:
    """Make the new root file system our root: after it no path leads to the host (pivot_root(2))."""
    with step("make it our root"):
        mounts.pivot_root(spec["root"]["path"])


def restrict_paths(spec: dict) -> None:
    """Mask paths and make them read-only, in the new root (config-linux.md, "Masked Paths", "Readonly Paths")."""
    linux = spec.get("linux") or {}
    with step("close the doors that must be closed"):
        for path in linux.get("readonlyPaths") or []:
            # Most of Docker's list does not exist on a given kernel, and a mount that fails costs as much as any.
            if os.path.lexists(path):
                # Only a mount can be read-only, so the path is bound onto itself first.
                syscalls.mount(path, path, "", syscalls.MS_BIND | syscalls.MS_REC)
                mounts.remount_read_only(path)
        for path in linux.get("maskedPaths") or []:
            _mask(path)
        # Last, when no file has to be made in it any more.
        if spec["root"].get("readonly"):
            mounts.remount_read_only("/")


def _mask(path: str) -> None:
    """Hide a path: an empty read-only tmpfs over a directory, /dev/null over a file. No error when it is missing."""
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(mode):
        syscalls.mount("tmpfs", path, "tmpfs", syscalls.MS_RDONLY)
    else:
        syscalls.mount("/dev/null", path, "", syscalls.MS_BIND)


def set_sysctls(spec: dict) -> None:
    """Write `linux.sysctl`: after unshare, because /proc/sys shows each process the values of its own namespaces."""
    for name, value in ((spec.get("linux") or {}).get("sysctl") or {}).items():
        procfs.write("/proc/sys/" + name.replace(".", "/"), value)
