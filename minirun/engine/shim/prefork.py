"""The process that will be a container's monitor, begun before there is a container.

A start has two halves that know nothing of each other: making the container (find the image, check the wishes, write
record and config.json) and getting ready to run one (load the code that speaks to the kernel). The second takes longer,
so it is begun as soon as the first word says `run`, by a process of its own, before the other words are read; then the
first process tells the second which container it is.
"""

from __future__ import annotations

import _socket

from minirun import trace
from minirun.errors import MinirunError
from minirun.kernel import sched
from minirun.kernel.socketpair import Channel
from minirun.light import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon


class Starter:
    """A forked process that waits for a container to start. If none is named it ends with us, and has done nothing.

    `.sock` is one end of a connection of which the monitor has the other, so that not a byte of output is missed.
    """

    def __init__(self, daemon: Daemon) -> None:
        self.orders, theirs = Channel.pair()
        self.sock, client = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            try:
                sched.yield_cpu()
                trace.side = "monitor"
                self.orders.close()
                self.sock.close()
                _become_monitor(daemon, theirs, client)
            finally:
                os._exit(1)  # never back into the code of the command that forked us
        sched.move_to_idle_cpu(pid)
        theirs.close()
        client.close()

    def order(self, container_id: str, wants: int) -> None:
        """Have this container, whose bundle is written, started, with `.sock` attached if it wants to see anything.

        Arguments: wants (int), `wire.WANTS_*`.
        """
        self.orders.send({"start": container_id, "wants": wants})

    def wait(self) -> None:
        """Wait until the container that was ordered has started. Errors: whatever kept it from starting."""
        try:
            if self.orders.receive() is None:
                raise MinirunError("the container's monitor was killed before the container had started")
        finally:
            self.orders.close()


_begun: list[Starter] = []


def begin(daemon: Daemon) -> None:
    """Begin one, since a container will most likely be started; `take` gets it."""
    _begun.append(Starter(daemon))


def take(daemon: Daemon) -> Starter:
    """The one that was begun, or else a new one."""
    return _begun.pop() if _begun else Starter(daemon)


def _become_monitor(daemon: Daemon, orders: Channel, client: _socket.socket) -> None:
    from minirun.engine.shim import shim  # here, and not above: it is loaded while our parent makes the container

    shim.leave_the_terminal([orders.fd, client.fileno()])
    shim.main(daemon, orders, client)
