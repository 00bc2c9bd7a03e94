"""The cgroup freezer: all processes of a cgroup stop and go on later (freezer-subsystem.rst, cgroup-v2.rst).

A process that is stopped by SIGSTOP can handle SIGCONT and its parent is notified; a frozen one only sees that the
clock has jumped. In v1 the freezer is a controller with a file `freezer.state`, in v2 every cgroup has a file
`cgroup.freeze`. In v1 not even SIGKILL reaches a frozen process.
"""

from __future__ import annotations

import errno

from minirun.errors import KernelError, MinirunError
from minirun.kernel import procfs
from minirun.kernel.cgroup.cgroup import Cgroup
from minirun.kernel.wait import wait_until

#: Seconds to wait: a process in an uninterruptible call, a read from a disk say, freezes only after it.
PATIENCE = 10


class Freezer:
    """The freezer of one cgroup. Errors: MinirunError on a machine without the controller."""

    def __init__(self, cgroup: Cgroup) -> None:
        self.directory = cgroup.controller_directory("freezer")
        self.v2 = cgroup.v2_only

    def freeze(self) -> None:
        """Freeze the cgroup, and wait until all of its processes are frozen.

        Errors: MinirunError when one is not frozen within PATIENCE; then all are thawed again.
        """
        procfs.write(*self._file_and_value(frozen=True))
        if not wait_until(self.is_frozen, PATIENCE):
            # Half of a container that stands still would be worse than none: its other half may wait for it.
            self.thaw()
            raise MinirunError(f"{self.directory}: a process does not stand still")

    def thaw(self) -> None:
        """Thaw the cgroup; no error when it is not frozen, or gone."""
        try:
            procfs.write(*self._file_and_value(frozen=False))
        except KernelError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # ENODEV: removed while the file was open
                raise

    def is_frozen(self) -> bool:
        """Whether all processes of the cgroup are frozen; False when it is gone."""
        try:
            # Not the file that was written: cgroup.events has what is reached; FREEZING is still under way in v1.
            if self.v2:
                return "\nfrozen 1" in f"\n{procfs.read(f'{self.directory}/cgroup.events')}"
            return procfs.read(f"{self.directory}/freezer.state").strip() == "FROZEN"
        except KernelError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):
                return False
            raise

    def _file_and_value(self, *, frozen: bool) -> tuple[str, str]:
        if self.v2:
            return f"{self.directory}/cgroup.freeze", "1" if frozen else "0"
        return f"{self.directory}/freezer.state", "FROZEN" if frozen else "THAWED"
