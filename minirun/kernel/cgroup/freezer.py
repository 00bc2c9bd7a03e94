"""The freezer: all processes of a cgroup stand still, wherever they are, and go on as if nothing had been.

A stopped process (SIGSTOP) knows of it and its parent is told; a frozen one sees only that the clock has jumped. In v1
it is a controller with a file `freezer.state`, in v2 every cgroup has a file `cgroup.freeze` (the kernel's documents
cgroup-v1/freezer-subsystem and cgroup-v2). In v1 not even SIGKILL gets through to a frozen process.
"""

from __future__ import annotations

import errno

from minirun.errors import KernelError, MinirunError
from minirun.kernel import procfs
from minirun.kernel.cgroup.cgroup import Cgroup
from minirun.kernel.wait import wait_until

#: A process that is in the middle of something the kernel cannot interrupt, a read from a disk say, freezes after it.
PATIENCE = 10


class Freezer:
    """The freezer of one cgroup. Errors: MinirunError on a machine without the controller."""

    def __init__(self, cgroup: Cgroup) -> None:
        self.directory = cgroup.controller_directory("freezer")
        self.v2 = cgroup.v2_only

    def freeze(self) -> None:
        """Freeze it, and wait until all of its processes stand still.

        Errors: MinirunError when one of them does not within some seconds; then they all go on.
        """
        procfs.write(*self._word(frozen=True))
        if not wait_until(self.is_frozen, PATIENCE):
            self.thaw()
            raise MinirunError(f"{self.directory}: a process does not stand still")

    def thaw(self) -> None:
        """Let it go on; fine when it does, or is gone."""
        try:
            procfs.write(*self._word(frozen=False))
        except KernelError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise

    def is_frozen(self) -> bool:
        """Whether all of its processes stand still."""
        try:
            if self.v2:
                return "\nfrozen 1" in f"\n{procfs.read(f'{self.directory}/cgroup.events')}"
            return procfs.read(f"{self.directory}/freezer.state").strip() == "FROZEN"
        except KernelError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):
                return False
            raise

    def _word(self, *, frozen: bool) -> tuple[str, str]:
        if self.v2:
            return f"{self.directory}/cgroup.freeze", "1" if frozen else "0"
        return f"{self.directory}/freezer.state", "FROZEN" if frozen else "THAWED"
