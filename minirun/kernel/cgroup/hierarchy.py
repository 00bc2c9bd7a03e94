"""The cgroup hierarchies that are mounted on this machine (cgroups(7), proc(5))."""

from __future__ import annotations

from minirun.errors import MinirunError
from minirun.kernel import procfs


class Hierarchy:
    """A mounted cgroup hierarchy: `.version` (1 or 2), `.mountpoint`, `.root` (the cgroup that is mounted there),
    `.controllers` (list of str; those of v1)."""

    __slots__ = ("controllers", "mountpoint", "root", "version")

    def __init__(self, version: int, mountpoint: str, root: str, controllers: list[str]) -> None:
        self.version, self.mountpoint, self.root, self.controllers = version, mountpoint, root, controllers


#: Mount options of a v1 hierarchy that are no controllers (cgroup1_show_options in the kernel).
MOUNT_OPTIONS = frozenset(("rw", "ro", "xattr", "noprefix", "clone_children"))
_trees: list[Hierarchy] = []


def hierarchies() -> list[Hierarchy]:
    """The cgroup hierarchies of this machine, from /proc/self/mountinfo (proc(5)); read once in a process's life.

    Errors: MinirunError when none is mounted.
    """
    if not _trees:
        _trees.extend(_mounted_trees())
    return _trees


def _mounted_trees() -> list[Hierarchy]:
    # By mount point: a later mount at the same place hides the earlier one.
    found: dict[str, Hierarchy] = {}
    for line in procfs.read("/proc/self/mountinfo").splitlines():
        if " - cgroup" not in line:
            continue
        # The number of optional fields before the hyphen varies (proc(5)), so both sides are counted from it.
        left, right = line.split(" - ", 1)
        _, _, _, root, mountpoint, *_ = left.split()
        filesystem, _, options = right.split()
        # The controllers of a v1 hierarchy are among its mount options; "name=systemd" is one that has none.
        controllers = (
            []
            if filesystem == "cgroup2"
            else [
                word
                for word in options.split(",")
                if word not in MOUNT_OPTIONS and not word.startswith("release_agent=")
            ]
        )
        found[mountpoint] = Hierarchy(2 if filesystem == "cgroup2" else 1, mountpoint, root, controllers)
    if not found:
        raise MinirunError("no cgroup file system is mounted", hint="mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    return list(found.values())
