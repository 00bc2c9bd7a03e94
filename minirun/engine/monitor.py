"""A container's monitor: the process that stays with it (what conmon is to Podman and the shim to containerd).

It is forked from the command that starts the container, and outlives it. It is the parent of the container's first
process, so it learns the exit code; it holds the other ends of the program's standard streams, so output is logged
whether or not anybody watches; and when the program has ended it undoes all that was made for it. It is one process
for each container, and idle nearly always; its memory is what a running container costs.
"""

from __future__ import annotations

import _signal as signal
import os

from minirun import store
from minirun.engine import attach, running
from minirun.engine.logs import LogWriter
from minirun.engine.relay import Ends, Relay
from minirun.errors import KernelError, MinirunError
from minirun.kernel import process, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from minirun.engine.register import Container
    from minirun.kernel.process import Channel
    from minirun.runtime.state import State

#: What a terminal or a service manager sends to whole groups of processes, and what is not meant for the monitor.
IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE)


def main(container: Container, ready: Channel, client: _socket.socket | None, wants: int) -> None:
    """Start the container, stay with it, clean up after it.

    Arguments: ready, on which whoever forked us waits for the start; client, a socket of that process if it wants to
    stay attached, and what it wants to see (`attach.flags`).
    """
    leave_the_terminal([ready.fd, *([client.fileno()] if client else [])])
    try:
        state, relay = start(container, client, wants)
    except Exception as error:
        running.take_down(container)
        ready.send_error(as_minirun_error(error))
        return
    ready.send({"started": state.pid})
    ready.close()
    code = relay.run()
    running.note_end(container, code)
    running.take_down(container)
    if container.record["HostConfig"]["AutoRemove"]:
        running.discard(container)
    relay.farewell(code)


def as_minirun_error(error: Exception) -> MinirunError:
    """Any failure as one that can cross to the process that waits for us."""
    if isinstance(error, MinirunError):
        return error
    if isinstance(error, OSError):
        return KernelError(error.filename or "start", error.errno or 0)
    return MinirunError(f"{type(error).__name__}: {error}", hint="this is a mistake in minirun itself")


def start(container: Container, client: _socket.socket | None, wants: int) -> tuple[State, Relay]:
    """Bring the container up, with somebody listening at each end before its first instruction."""
    config = container.record["Config"]
    store.make_directory(container.run_directory, 0o700)
    running.note_watch(container)
    log = LogWriter(container.log)
    ends = Ends(terminal=config["Tty"], stdin=config["OpenStdin"])
    state = running.bring_up(container, ends)
    ends.settle(stdin=config["OpenStdin"] or config["Tty"])
    relay = Relay(state.pid, ends, log, attach.listen(container.run_directory))
    if client:
        relay.add(client, wants)
    return state, relay


def leave_the_terminal(keep: list[int]) -> None:
    """Become a process of the background: a session of its own, nothing open that was open, deaf to signals of others.

    Arguments: keep, descriptors that must stay. With one more, whoever reads `$(minirun run -d ...)` would wait for its
    end as long as the container lives.
    """
    syscalls.setsid()
    os.chdir("/")
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    process.close_all_but(keep)
