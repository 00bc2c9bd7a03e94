"""Control groups: how much of the machine a group of processes may use (cgroups(7)).

There are two versions, and a machine may have both mounted ("hybrid"). In v1 each controller is a tree of its own, and
a process has a place in every one of them; in v2 there is one tree, and a cgroup's controllers are switched on in its
parent. What a limit is called differs too: `limits` has the two columns.

Time matters here more than anywhere else in a container's start. To move a process into a cgroup, by writing its pid
to `cgroup.procs`, waits until all processors have passed a quiet point (an RCU grace period, some 10 ms, nine times
over in v1). Two ways around it: in v1 a process writes `0` ("myself") into `tasks`, which moves one thread only and
need not wait; in v2 it is born in its cgroup (clone3(2), CLONE_INTO_CGROUP).
"""

from __future__ import annotations

import errno
import os
import time

from minirun.errors import KernelError, MinirunError
from minirun.kernel import procfs, syscalls
from minirun.kernel.cgroup import devices
from minirun.kernel.cgroup.hierarchy import Hierarchy, hierarchies
from minirun.kernel.cgroup.limits import LIMITS, v2_value, wished
from minirun.light import TYPE_CHECKING
from minirun.trace import step

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The controllers that a container's limits need, switched on in v2 where the machine has them.
CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")


class Cgroup:
    """A cgroup, in every tree of the machine.

    Arguments: path (str), its place in each tree, "/minirun/4f2a...".
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.trees = hierarchies()

    def directory(self, tree: Hierarchy) -> str:
        """Where this cgroup is in one of the trees."""
        return tree.mountpoint + self.path

    @property
    def v2_only(self) -> bool:
        """True where v2 has the controllers; a hybrid machine's v2 tree has none."""
        return all(tree.version == 2 for tree in self.trees)

    def ensure(self) -> None:
        """Make the cgroup in every tree, ready to take processes."""
        with step("make a cgroup in every hierarchy"):
            for tree in self.trees:
                self._ensure_below(tree, self.path)

    def _ensure_below(self, tree: Hierarchy, path: str) -> None:
        directory = tree.mountpoint + path
        if os.path.isdir(directory):
            if "cpuset" in tree.controllers:
                _inherit_cpuset(directory)  # who made it may have been killed before that
            return
        parent = os.path.dirname(path)
        if parent not in ("/", ""):
            self._ensure_below(tree, parent)
        if tree.version == 2:
            _switch_on_controllers(tree.mountpoint + ("" if parent == "/" else parent))
        try:
            syscalls.mkdirat(syscalls.AT_FDCWD, directory, 0o755)
        except KernelError as error:
            if error.errno != errno.EEXIST:  # two containers may begin at the same moment
                raise
        if "cpuset" in tree.controllers:
            _inherit_cpuset(directory)

    def limit(self, resources: dict) -> None:
        """Set the limits of config.json's `linux.resources`.

        Errors: KernelError, with the file and the value; MinirunError when the machine lacks a controller.
        """
        with step("set the limits"):
            written = set()
            for name, controller, v1_file, v2_file in LIMITS:
                if wished(name, resources) is None:
                    continue
                if not self.v2_only:
                    self._set_v1(controller, v1_file, wished(name, resources))
                elif v2_file and v2_file not in written:
                    written.add(v2_file)
                    self._set_v2(v2_file, v2_value(name, resources))
            if resources.get("devices"):
                self._limit_devices([*resources["devices"], *devices.DEFAULT_RULES])

    def _limit_devices(self, rules: list[dict]) -> None:
        if self.v2_only:
            cgroup = self.open_v2()
            syscalls.attach_device_program(devices.v2_program(rules), cgroup)
            os.close(cgroup)
            return
        directory = self.controller_directory("devices")
        for file, line in devices.v1_lines(rules):
            procfs.write(f"{directory}/{file}", line)

    def _set_v1(self, controller: str, file: str, value: object) -> None:
        path = f"{self.controller_directory(controller)}/{file}"
        # A kernel without swap accounting has no memsw file: Docker limits memory alone there.
        if file == "memory.memsw.limit_in_bytes" and not os.path.exists(path):
            return
        procfs.write(path, value)  # type: ignore[arg-type]

    def _set_v2(self, file: str, value: object) -> None:
        path = f"{self.directory(self.trees[0])}/{file}"
        if file == "memory.swap.max" and not os.path.exists(path):
            return
        if not os.path.exists(path):
            raise MinirunError(
                f"this machine has no cgroup controller for {file}",
                hint=f"see {self.trees[0].mountpoint}/cgroup.controllers",
            )
        procfs.write(path, value)  # type: ignore[arg-type]

    def controller_directory(self, controller: str) -> str:
        """Where this cgroup is in the tree that has `controller`. Errors: MinirunError when none has it."""
        for tree in self.trees:
            if controller in tree.controllers or self.v2_only:
                return self.directory(tree)
        raise MinirunError(f"this machine has no cgroup controller {controller}", hint="see /proc/cgroups")

    def open_v2(self) -> int:
        """The cgroup's directory in the v2 tree, for clone3(2); -1 where there is no v2 tree."""
        for tree in self.trees:
            if tree.version == 2:
                return os.open(self.directory(tree), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return -1

    def join_v1(self) -> None:
        """Enter the cgroup in all v1 trees: called by the process itself, which must have one thread only."""
        for tree in self.trees:
            if tree.version == 1:
                procfs.write(f"{self.directory(tree)}/tasks", 0)

    def pids(self) -> list[int]:
        """The processes in the cgroup and in those below it, as this process's pid namespace numbers them."""
        pids: set[int] = set()
        directory = self.directory(self.trees[0])
        for name in [directory, *_below(directory)]:
            try:
                pids.update(int(word) for word in procfs.read(f"{name}/cgroup.procs").split())
            except KernelError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV):
                    raise
        return sorted(pids)

    def oom_kills(self) -> int:
        """How many processes of the cgroup the kernel has killed for want of memory."""
        file = "memory.events" if self.v2_only else "memory.oom_control"
        try:
            lines = procfs.read(f"{self.controller_directory('memory')}/{file}").splitlines()
        except MinirunError:  # gone, or a machine without the memory controller
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)

    def remove(self) -> None:
        """Remove the cgroup, and what the container made below it, from every tree; fine when it is gone already.

        A process that has just been killed holds its cgroup until it is through the kernel's exit path, so EBUSY is
        waited out for as long as that may take on a slow machine.
        """
        for tree in self.trees:
            directory = self.directory(tree)
            for name in [*reversed(_below(directory)), directory]:
                _remove_one(name)


def _remove_one(directory: str) -> None:
    deadline = time.monotonic() + 10
    while os.path.isdir(directory):
        try:
            syscalls.rmdir(directory)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _below(directory: str) -> list[str]:
    """All cgroups below a directory, parents before children."""
    found: list[str] = []
    for path in _subdirectories(directory):
        found += [path, *_below(path)]
    return found


def _subdirectories(directory: str) -> Iterator[str]:
    try:
        # A directory's link count is 2 plus its subdirectories: most cgroups have none, and need no reading.
        if os.stat(directory).st_nlink <= 2:
            return
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield entry.path
    except FileNotFoundError:
        return


def _switch_on_controllers(directory: str) -> None:
    """Let the children of a v2 cgroup have controllers (cgroup.subtree_control).

    Each by itself: one that the machine uses otherwise is refused (a real-time task keeps `cpu` from being switched
    on), and the others must not be lost with it. A limit that needs a missing one says so when it is set.
    """
    available = procfs.read(f"{directory}/cgroup.controllers").split()
    active = procfs.read(f"{directory}/cgroup.subtree_control").split()
    for controller in CONTROLLERS:
        if controller in available and controller not in active:
            try:
                procfs.write(f"{directory}/cgroup.subtree_control", f"+{controller}")
            except KernelError as error:
                if error.errno not in (errno.EBUSY, errno.EINVAL, errno.ENOENT):
                    raise


def _inherit_cpuset(directory: str) -> None:
    """Copy processors and memory nodes from the parent: a new v1 cpuset has none, and takes no process until it has."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        if not procfs.read(f"{directory}/{file}").strip():
            procfs.write(f"{directory}/{file}", procfs.read(f"{os.path.dirname(directory)}/{file}").strip())
