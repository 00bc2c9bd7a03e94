"""A container stands still for as long as somebody reads what it has written.

Whoever freezes a container may be killed before he thaws it, and then even `kill -9` would not reach it. So the
freezing is done by a guardian, a child that waits for the end of our pipe and then thaws: the kernel closes the pipe
when we end, however we end. If somebody kills both, `system check` finds a container that is frozen and in nobody's
queue.
"""

from __future__ import annotations

from minirun.engine.shim.shim import leave_the_terminal
from minirun.errors import EngineError, MinirunError
from minirun.kernel import process
from minirun.kernel.cgroup.cgroup import Cgroup
from minirun.kernel.cgroup.freezer import Freezer
from minirun.kernel.socketpair import Channel
from minirun.trace import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.container.container import Container


class paused:
    """Hold a running container still: `with paused(container): ...`. The caller has its queue.

    Errors: EngineError in Docker's words when it cannot be frozen.
    """

    def __init__(self, container: Container) -> None:
        self.container = container

    def __enter__(self) -> None:
        with step("freeze the container"):
            try:
                self.freezer = freezer_of(self.container)
                self.ours, theirs = Channel.pair()
                self.guardian = process.spawn("minirun:guard", "monitor", lambda: self._guard(theirs))
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
            process.end_code(self.guardian)
            self.freezer.thaw()  # the guardian has, unless somebody killed it

    def _guard(self, theirs: Channel) -> None:
        leave_the_terminal([theirs.fd])  # and with it our end of the pipe, which only we may hold
        try:
            self.freezer.freeze()
            theirs.send({})
        except MinirunError as error:
            theirs.send_error(error)
        theirs.receive()
        self.freezer.thaw()


def freezer_of(container: Container) -> Freezer:
    """The freezer of a container's cgroup. Errors: MinirunError on a machine that has none."""
    return Freezer(Cgroup(f"/minirun/{container.id}"))
