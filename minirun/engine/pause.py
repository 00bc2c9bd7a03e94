"""The freezer (cgroups(7)) holds a container still while `commit` reads its files.

A command that freezes a container may be killed before it thaws it, and a frozen process does not even react to
SIGKILL (cgroup v1). So a child does it, the process `minirun:guard`: it freezes, waits for the other end of a socket
pair to be closed, and thaws; the kernel closes that end when the command exits, however it exits. If both are killed,
`system check` finds a container that is frozen and whose lock is free.
"""

from __future__ import annotations

from minirun.engine.shim.shim import daemonize
from minirun.errors import EngineError, MinirunError
from minirun.kernel import process
from minirun.kernel.cgroup.cgroup import Cgroup
from minirun.kernel.cgroup.freezer import Freezer
from minirun.kernel.socketpair import Channel
from minirun.light import TYPE_CHECKING
from minirun.trace import step

if TYPE_CHECKING:
    from minirun.engine.container.container import Container


class paused:
    """Freeze a running container: `with paused(container): ...`. The caller holds its lock.

    Errors: EngineError, worded as Docker's, when it cannot be frozen.
    """

    def __init__(self, container: Container) -> None:
        self.container = container

    def __enter__(self) -> None:
        with step("freeze the container"):
            try:
                self.freezer = freezer_of(self.container)
                self.ours, theirs = Channel.pair()
                self.guard_pid = process.spawn("minirun:guard", "monitor", lambda: self._guard(theirs))
                theirs.close()
                try:
                    if self.ours.receive() is None:
                        raise MinirunError("the process that was to freeze it was killed")
                except MinirunError:
                    self.__exit__()
                    raise
            except MinirunError as error:
                raise EngineError(f"Cannot pause container {self.container.id}: {error}", hint=error.hint) from None

    def __exit__(self, *_: object) -> None:
        with step("thaw the container"):
            self.ours.close()
            process.wait_exit_code(self.guard_pid)
            self.freezer.thaw()  # the guard has done it, unless it was killed

    def _guard(self, theirs: Channel) -> None:
        daemonize([theirs.fd])  # closes our end too, which only the command may hold
        try:
            self.freezer.freeze()
            theirs.send({})
        except MinirunError as error:
            theirs.send_error(error)
        theirs.receive()
        self.freezer.thaw()


def freezer_of(container: Container) -> Freezer:
    """The freezer of a container's cgroup. Errors: MinirunError on a machine without one."""
    return Freezer(Cgroup(f"/minirun/{container.id}"))
