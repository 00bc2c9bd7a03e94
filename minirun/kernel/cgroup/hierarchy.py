"""The cgroup hierarchies that are mounted on this machine (cgroups(7), proc(5))."""

from __future__ import annotations

from minirun.errors import MinirunError
from minirun.kernel import procfs


class Hierarchy:
    """One mounted cgroup tree: `.mountpoint`, `.root` (what of the tree is mounted there), `.controllers` (of v1)."""

    __slots__ = ("controllers", "mountpoint", "root", "version")

    def __init__(self, version: int, mountpoint: str, root: str, controllers: list[str]) -> None:
        self.version, self.mountpoint, self.root, self.controllers = version, mountpoint, root, controllers


MOUNT_OPTIONS = frozenset(("rw", "ro", "xattr", "noprefix", "clone_children"))
_trees: list[Hierarchy] = []


def hierarchies() -> list[Hierarchy]:
    """The cgroup trees of this machine, from /proc/self/mountinfo (proc(5)); looked for once in a process's life.

    Errors: MinirunError when none is mounted.
    """
    if not _trees:
        _trees.extend(_mounted_trees())
    return _trees


def _mounted_trees() -> list[Hierarchy]:
    found: dict[str, Hierarchy] = {}
    for line in procfs.read("/proc/self/mountinfo").splitlines():
        if " - cgroup" not in line:
            continue
        left, right = line.split(" - ", 1)
        _, _, _, root, mountpoint, *_ = left.split()
        filesystem, _, options = right.split()
        # Of v1's options, those that are no controller are the mount's own; "name=systemd" is a tree without any.
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
