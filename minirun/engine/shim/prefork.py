"""The pre-forked shim: the process that will be a container's shim, forked before the container has been created.

A start has two halves that do not depend on each other: creating the container (find the image, check the options,
write the configuration and config.json) and loading the code that talks to the kernel. The second takes longer. So a
process is forked for it as soon as the command line is known to begin with `run`, before its options are parsed, and is
told later which container to start.
"""

from __future__ import annotations

# Not used here: what both processes need is loaded once, before the fork.
import os as _os  # noqa: F401

from minirun import trace
from minirun.engine.container import index  # noqa: F401
from minirun.engine.network import endpoint_config, sandbox_store  # noqa: F401
from minirun.engine.spec import etc_files  # noqa: F401
from minirun.errors import MinirunError
from minirun.kernel import capabilities, pty, sched  # noqa: F401
from minirun.kernel.socketpair import Channel
from minirun.light import TYPE_CHECKING, os, socket

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon


class PreforkedShim:
    """A forked process that waits for a container to start; without one it exits with the command, and changes nothing.

    `.sock` is one end of an attach connection, of which the shim has the other, so that no output is missed.
    """

    def __init__(self, daemon: Daemon) -> None:
        self.channel, shim_channel = Channel.pair()
        self.sock, client = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            try:
                sched.yield_cpu()
                trace.side = "monitor"
                self.channel.close()
                self.sock.close()
                _run_shim(daemon, shim_channel, client)
            finally:
                os._exit(1)  # a forked child never returns into its parent's code
        sched.move_to_idle_cpu(pid)
        shim_channel.close()
        client.close()

    def start(self, container_id: str, flags: int) -> None:
        """Have the shim start a container whose bundle is written.

        Arguments: flags (int, `protocol.ATTACH_*`), which streams are attached to `.sock`; 0: `.sock` is not used.
        """
        self.channel.send({"start": container_id, "flags": flags})

    def wait_started(self) -> None:
        """Wait until the container has been started. Errors: the error that kept it from starting."""
        try:
            if self.channel.receive() is None:
                raise MinirunError("the container's monitor was killed before the container had started")
        finally:
            self.channel.close()


_forked: list[PreforkedShim] = []


def fork(daemon: Daemon) -> None:
    """Fork a shim, because a container will most likely be started; `take` returns it."""
    _forked.append(PreforkedShim(daemon))


def take(daemon: Daemon) -> PreforkedShim:
    """The shim that `fork` has made, or else a new one."""
    return _forked.pop() if _forked else PreforkedShim(daemon)


def _run_shim(daemon: Daemon, channel: Channel, client: socket.socket) -> None:
    from minirun.engine.shim import shim  # loaded here, while the parent creates the container

    shim.daemonize([channel.fd, client.fileno()])
    shim.main(daemon, channel, client)
