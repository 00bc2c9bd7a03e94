"""A container's monitor: the process that stays with it (what conmon is to Podman and the shim to containerd).

It is forked from the command that starts the container, and outlives it. It is the parent of the container's first
process, so it learns the exit code; it holds the other ends of the program's standard streams, so output is logged
whether or not anybody watches; and when the program has ended it undoes all that was made for it. It is one process
for each container, and idle nearly always; its memory is what a running container costs.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import gc
import os
import time

from minirun.engine.container import index
from minirun.engine.container.container import Container
from minirun.engine.shim import protocol, run_state, task
from minirun.engine.shim.json_file import LogWriter
from minirun.engine.shim.relay import Relay
from minirun.engine.shim.stdio import Ends
from minirun.errors import MinirunError, as_minirun_error
from minirun.kernel import process, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from minirun.engine.daemon import Daemon
    from minirun.kernel.socketpair import Channel
    from minirun.runtime.state import State

#: What a terminal or a service manager sends to whole groups of processes, and what is not meant for the monitor.
IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE)
#: Seconds for which a monitor puts its rest off when the machine has more to do than processors to do it.
PATIENCE = 10


def main(daemon: Daemon, orders: Channel, client: _socket.socket) -> None:
    """Wait for orders; then start that container, stay with it, and clean up after it.

    Arguments: orders, on which whoever forked us says what to start, and hears what became of it; client, a socket of
    that process, on which it will be attached if it wants to see anything.
    """
    order = orders.receive()
    if order is None:
        return  # there was nothing to start
    container = Container(daemon, order["start"])
    syscalls.prctl("SET_NAME", "minirun:monitor")
    try:
        state, mounts, relay = start(container, client, order["wants"])
    except Exception as error:  # noqa: BLE001 (the last net: it is told, not swallowed)
        try:
            task.take_down(container)
        finally:
            orders.send_error(as_minirun_error(error))
        return
    orders.send({"started": state.pid})
    orders.close()
    gc.enable()  # from here on we are here for long (see `minirun.bootstrap`)
    clean_up(container, relay, relay.run(state.pid), mounts)


def clean_up(container: Container, relay: Relay, code: int, mounts: int = -1) -> None:
    """The container's process has ended: note it, undo what was made for it, tell those who watch.

    Arguments: code (int), how it ended; mounts (int), its mount namespace if it is held open, or -1.
    """
    for service in relay.services:
        service.stop()
    try:
        task.note_end(container, code)
    except MinirunError:
        pass  # a full disk: its end will not be on record, but who watches shall hear of it, and nothing stay behind
    remains = ""
    try:
        task.take_down(container)
        if container.record["HostConfig"]["AutoRemove"]:
            remains = index.retire(container, with_volumes=True)
    finally:
        relay.farewell(code)  # if something cannot be undone, the next command finds it; who watches hears of the end
    if mounts >= 0:
        os.close(mounts)
    if remains:
        index.clear_locked(container.daemon, remains)  # after the farewell: no client has to wait for it


def start(container: Container, client: _socket.socket, wants: int) -> tuple[State, int, Relay]:
    """Bring the container up, with somebody listening at each end before its first instruction.

    Returns: see `running.bring_up`; and the relay, ready to run.
    """
    config = container.record["Config"]
    run_state.note(container.run_directory)
    latest = time.monotonic() + PATIENCE
    ends = Ends(terminal=config["Tty"], stdin=config["OpenStdin"])
    relay = Relay(
        ends,
        LogWriter(container.log),
        protocol.listen(container.run_directory),
        rest=lambda relay: rest(container, relay, latest),
    )
    relay.changed = lambda: changed(relay, container.run_directory)
    relay.failed = lambda service, error: run_state.note_failure(container.run_directory, service, error)
    state, mounts = task.bring_up(container, ends, relay.services)
    ends.settle(stdin=config["OpenStdin"] or config["Tty"])
    if wants:
        relay.add(client.detach(), wants)
    else:
        client.close()
    return state, mounts, relay


def changed(relay: Relay, run_directory: str) -> str:
    """The container was connected with a network or disconnected from one: see `reload.follow`."""
    from minirun.engine.network import reload

    return reload.follow(relay, run_directory)


def rest(container: Container, relay: Relay, latest: float) -> None:
    """Go on with less loaded (see `resting`), which costs some 10 ms: not while others wait for a processor.

    Arguments: latest, the time (monotonic, s) from which it is done anyway; until then the relay asks again.
    """
    if time.monotonic() < latest and _crowded():
        return
    from minirun.engine.shim import reexec  # after a second there is time

    reexec.rest(container, relay)


def _crowded() -> bool:
    """Whether more processes want to run at this moment than there are processors (proc_loadavg(5))."""
    try:
        with open("/proc/loadavg", encoding="ascii") as file:
            return int(file.read().split()[3].partition("/")[0]) > len(os.sched_getaffinity(0))
    except OSError:  # no /proc here: nobody to ask
        return False


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
