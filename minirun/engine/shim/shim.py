"""A container's shim, the process `minirun:monitor`: what containerd-shim is to containerd and conmon to Podman.

It is forked from the command that starts the container, and outlives it. It is the parent of the container's first
process, so it gets the exit code; it has the other ends of the standard streams, so the output is logged whether or not
a client is attached; and when the container has exited, it undoes all that was made for it. There is one for each
container, nearly always idle, and its memory is what a running container costs.
"""

from __future__ import annotations

import gc
import time

from minirun.engine.container.container import Container
from minirun.engine.shim import protocol, run_state, task
from minirun.engine.shim.json_file import LogWriter
from minirun.engine.shim.relay import Relay
from minirun.engine.shim.stdio import Stdio
from minirun.errors import as_minirun_error
from minirun.kernel import process, syscalls
from minirun.light import TYPE_CHECKING, os, signal, socket

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon
    from minirun.kernel.socketpair import Channel
    from minirun.runtime.state import State

#: Signals that a terminal or a service manager sends to whole groups of processes, and SIGPIPE.
IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE)
#: Seconds for which the re-exec is put off while more processes are runnable than there are CPUs.
MAX_REEXEC_DELAY = 10


def main(daemon: Daemon, channel: Channel, client: socket.socket) -> None:
    """Wait for the command to name a container; start it, relay its streams until it exits, and clean up.

    Arguments: channel, to the command that forked this process: it names the container, and is told whether it was
    started; client, an attach connection of that command.
    """
    request = channel.receive()
    if request is None:
        return  # the command has nothing to start
    container = Container(daemon, request["start"])
    syscalls.prctl("SET_NAME", "minirun:monitor")
    try:
        state, mounts, relay = _start(container, client, request["flags"])
    except Exception as error:  # noqa: BLE001 (the last resort: it is reported, not swallowed)
        try:
            task.delete(container)
        finally:
            channel.send_error(as_minirun_error(error))
        return
    channel.send({"started": state.pid})
    channel.close()
    gc.enable()  # `minirun.bootstrap` has switched it off; this process may live for long
    task.handle_exit(container, relay, relay.run(state.pid), mounts)


def _start(container: Container, client: socket.socket, flags: int) -> tuple[State, int, Relay]:
    """Start the container, with the log and the clients connected before its first instruction.

    Arguments: flags (ATTACH_*), which streams `client` is attached to; 0: it is closed.
    Returns: as `task.start`; and the relay, ready to run.
    """
    config = container.record["Config"]
    run_state.write(container.run_directory)
    latest = time.monotonic() + MAX_REEXEC_DELAY
    stdio = Stdio(terminal=config["Tty"], stdin=config["OpenStdin"])
    relay = Relay(
        stdio,
        LogWriter(container.log),
        protocol.listen(container.run_directory),
        reexec=lambda relay: _reexec(container, relay, latest),
    )
    relay.networks_changed = lambda: _update_services(relay, container.run_directory)
    relay.service_failed = lambda service, error: run_state.record_failure(container.run_directory, service, error)
    state, mounts = task.start(container, stdio, relay.services)
    stdio.after_start(stdin=config["OpenStdin"] or config["Tty"])
    if flags:
        relay.add_client(client.detach(), flags)
    else:
        client.close()
    return state, mounts, relay


def _update_services(relay: Relay, run_directory: str) -> str:
    from minirun.engine.network import reload  # seldom needed

    return reload.update_services(relay, run_directory)


def _reexec(container: Container, relay: Relay, latest: float) -> None:
    """Go on in a fresh interpreter with less memory, which costs some 10 ms: not while others wait for a CPU.

    Arguments: latest (time.monotonic(), s), from when on it is done in any case; until then the relay calls again.
    """
    if time.monotonic() < latest and _is_overloaded():
        return
    from minirun.engine.shim import reexec  # not before the container has been started

    reexec.reexec(container, relay)


def _is_overloaded() -> bool:
    """Whether more processes are runnable at this moment than there are CPUs (proc_loadavg(5))."""
    try:
        with open("/proc/loadavg", encoding="ascii") as file:
            return int(file.read().split()[3].partition("/")[0]) > len(os.sched_getaffinity(0))
    except OSError:  # /proc is not mounted
        return False


def daemonize(keep: list[int]) -> None:
    """Become a background process (daemon(7)): new session, / as directory, no open files, signals of others ignored.

    Arguments: keep, descriptors that stay open. With any other one, `$(minirun run -d ...)` in a shell would wait for
    end-of-file until the container has exited.
    """
    syscalls.setsid()
    os.chdir("/")
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    process.close_all_but(keep)
