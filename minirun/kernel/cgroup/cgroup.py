"""One cgroup: make it, limit it, put a process into it, remove it (cgroups(7)).

There are two versions, and a machine may have both mounted ("hybrid"). In v1 each controller has a hierarchy of its own
and a process is in one cgroup of each; in v2 there is one hierarchy, and a cgroup's controllers are enabled in its
parent. The files of a limit differ too: `limits` has the table.

A large part of a container's start could be spent here. Moving a process into a cgroup, by writing its pid to
`cgroup.procs`, waits for an RCU grace period: some 10 ms, nine times over in v1. Two ways avoid it: in v1 a process
writes `0` ("this thread") into `tasks`, which moves one thread only and need not wait; in v2 it is born in its cgroup
(clone3(2), CLONE_INTO_CGROUP).
"""

from __future__ import annotations

import errno
import os
import time

from minirun.errors import KernelError, MinirunError
from minirun.kernel import procfs, syscalls
from minirun.kernel.cgroup import devices
from minirun.kernel.cgroup.hierarchy import Hierarchy, hierarchies
from minirun.kernel.cgroup.limits import LIMITS, setting, v2_value
from minirun.light import TYPE_CHECKING
from minirun.trace import step

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The controllers that a container's limits need, enabled in v2 where the machine has them.
CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")


class Cgroup:
    """A cgroup: the directory of one path in every hierarchy of the machine.

    Arguments: path (str), below each mount point, "/minirun/4f2a...".
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.trees = hierarchies()

    def directory(self, tree: Hierarchy) -> str:
        """The directory of this cgroup in one hierarchy."""
        return tree.mountpoint + self.path

    @property
    def v2_only(self) -> bool:
        """Whether v2 has the controllers; the v2 hierarchy of a hybrid machine has none."""
        return all(tree.version == 2 for tree in self.trees)

    def ensure(self) -> None:
        """Make the cgroup in every hierarchy, ready to take processes; no error when it exists."""
        with step("make a cgroup in every hierarchy"):
            for tree in self.trees:
                self._ensure_below(tree, self.path)

    def _ensure_below(self, tree: Hierarchy, path: str) -> None:
        directory = tree.mountpoint + path
        if os.path.isdir(directory):
            if "cpuset" in tree.controllers:
                _inherit_cpuset(directory)  # its maker may have been killed before that
            return
        # From the root down: "/minirun" is made by the first container, and stays.
        parent = os.path.dirname(path)
        if parent not in ("/", ""):
            self._ensure_below(tree, parent)
        # In v2 before mkdir: a child has the files of those controllers that its parent has enabled.
        if tree.version == 2:
            _enable_controllers(tree.mountpoint + ("" if parent == "/" else parent))
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
            written = set()  # cpu.max has two limits in one file
            for name, controller, v1_file, v2_file in LIMITS:
                if setting(name, resources) is None:
                    continue
                if not self.v2_only:
                    self._set_v1(controller, v1_file, setting(name, resources))
                elif v2_file and v2_file not in written:
                    written.add(v2_file)
                    self._set_v2(v2_file, v2_value(name, resources))
            # Docker's list begins with "deny all": the rules of runc come last, so that they hold.
            if resources.get("devices"):
                self._limit_devices([*resources["devices"], *devices.DEFAULT_RULES])

    def _limit_devices(self, rules: list[dict]) -> None:
        if self.v2_only:
            # v2 has no device controller with files: an eBPF program takes its place.
            cgroup = self.open_v2()
            syscalls.attach_device_program(devices.v2_program(rules), cgroup)
            os.close(cgroup)
            return
        directory = self.controller_directory("devices")
        for file, line in devices.v1_lines(rules):
            procfs.write(f"{directory}/{file}", line)

    def _set_v1(self, controller: str, file: str, value: object) -> None:
        path = f"{self.controller_directory(controller)}/{file}"
        # A kernel without swap accounting (swapaccount=0) has no memsw file: Docker limits memory alone there.
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
        """The directory of this cgroup in the hierarchy of `controller`. Errors: MinirunError when there is none."""
        for tree in self.trees:
            if controller in tree.controllers or self.v2_only:
                return self.directory(tree)
        raise MinirunError(f"this machine has no cgroup controller {controller}", hint="see /proc/cgroups")

    def open_v2(self) -> int:
        """Open the directory in the v2 hierarchy, for clone3(2). Returns: its descriptor, or -1 without v2."""
        for tree in self.trees:
            if tree.version == 2:
                return os.open(self.directory(tree), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return -1

    def join_v1(self) -> None:
        """Move this process, which must have one thread only, into the cgroup in all v1 hierarchies."""
        # `tasks` takes threads, `cgroup.procs` processes: only the latter waits for an RCU grace period.
        for tree in self.trees:
            if tree.version == 1:
                procfs.write(f"{self.directory(tree)}/tasks", 0)

    def pids(self) -> list[int]:
        """The processes in the cgroup and in those below it, as pids of this process's pid namespace."""
        pids: set[int] = set()
        directory = self.directory(self.trees[0])
        for name in [directory, *_below(directory)]:
            try:
                pids.update(int(word) for word in procfs.read(f"{name}/cgroup.procs").split())
            except KernelError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV):  # removed while we read
                    raise
        return sorted(pids)

    def oom_kills(self) -> int:
        """The number of processes in the cgroup that the OOM killer has killed."""
        # Docker's OOMKilled. The count is of the cgroup itself, not of the process that has ended.
        file = "memory.events" if self.v2_only else "memory.oom_control"
        try:
            lines = procfs.read(f"{self.controller_directory('memory')}/{file}").splitlines()
        except MinirunError:  # gone, or a machine without the memory controller
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)

    def remove(self) -> None:
        """Remove the cgroup and those below it, which the container has made, in every hierarchy; idempotent."""
        for tree in self.trees:
            directory = self.directory(tree)
            # Children first: rmdir(2) of a cgroup with children is EBUSY. The files in it do not count.
            for name in [*reversed(_below(directory)), directory]:
                _remove_one(name)


def _remove_one(directory: str) -> None:
    # A killed process holds its cgroup until it is through the kernel's exit path (EBUSY): 10 s for a slow machine.
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
    """All cgroups below a directory, parents before their children."""
    found: list[str] = []
    for path in _subdirectories(directory):
        found += [path, *_below(path)]
    return found


def _subdirectories(directory: str) -> Iterator[str]:
    try:
        # A directory's link count is 2 plus its subdirectories: most cgroups have none, and are not read.
        if os.stat(directory).st_nlink <= 2:
            return
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield entry.path
    except FileNotFoundError:
        return


def _enable_controllers(directory: str) -> None:
    """Enable controllers for the children of a v2 cgroup (cgroup.subtree_control)."""
    # Each in a write of its own: one may be refused (a real-time task keeps `cpu` from being enabled), and the others
    # would be refused with it. A limit that needs a missing one fails with a message when it is set.
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
    """Copy CPUs and memory nodes from the parent: a new v1 cpuset has none, and takes no process (ENOSPC)."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        if not procfs.read(f"{directory}/{file}").strip():
            procfs.write(f"{directory}/{file}", procfs.read(f"{os.path.dirname(directory)}/{file}").strip())
