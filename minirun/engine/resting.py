"""A monitor at rest: the same process, watching the same container, with nothing loaded that it does not need.

A start needs seventy modules; what follows, often for days, needs a loop. Python gives no memory back that its modules
have used, so after a quiet second the monitor executes a fresh interpreter in its own place. The process stays what it
is, with its pid, its child and its open files; only its memory is new, and half as much. When the container has ended,
the modules for cleaning up are loaded again.

    python3 -IS .../minirun/engine/resting.py ID DATA-ROOT EXEC-ROOT PID LISTENER STDIN STDOUT STDERR MASTER [CLIENT:WANTS ...]

(numbers of open files but for the first four; -1 where there is none).
"""

import sys

if __name__ == "__main__":
    sys.path.append(__file__.rpartition("/minirun/")[0])
    from minirun.start import make_ready

    make_ready()

import gc  # noqa: E402
import posix as os  # noqa: E402  (os without its Python half, which alone takes 250 KiB)

from minirun.engine.ends import Ends  # noqa: E402
from minirun.engine.relay import Relay  # noqa: E402


def rest(container_id: str, relay: Relay) -> None:
    """Execute a fresh interpreter that goes on with this relay. Comes back if it cannot be done, which does no harm."""
    from minirun import trace
    from minirun.engine import places

    relay.rest = None  # once is enough
    if trace.listening():
        return  # whoever listens would hear no more
    ends = relay.ends
    descriptors = [relay.listener, ends.stdin, ends.stdout, ends.stderr, ends.master]
    clients = [f"{client.fd}:{client.wants}" for client in relay.clients.values()]
    words = [container_id, places.data, places.run, str(relay.pid), *map(str, descriptors), *clients]
    kept = [fd for fd in (*descriptors, *relay.clients) if fd >= 0]
    for fd in kept:
        os.set_inheritable(fd, True)
    try:
        # Through /proc/self/exe, since that is on the read-only mount on which the launcher has found the interpreter.
        os.execv("/proc/self/exe", [sys.executable, "-IS", __file__, *words])
    except OSError:  # no memory, no /proc: then this process waits as it is
        for fd in kept:
            os.set_inheritable(fd, False)


def go_on(container_id: str, data: str, run: str, *words: str) -> None:
    """Go on where `rest` has left off."""
    from minirun.engine.logwriter import LogWriter

    with open("/proc/self/comm", "w", encoding="ascii") as comm:
        comm.write("minirun:monitor")
    pid, listener, *ends = map(int, words[:6])
    relay = Relay(Ends.taken_over(*ends), LogWriter(f"{data}/containers/{container_id}/{container_id}-json.log"), listener)
    for fd in (listener, *ends):
        if fd >= 0:
            os.set_inheritable(fd, False)
    for client in words[6:]:
        fd, wants = map(int, client.split(":"))
        os.set_inheritable(fd, False)
        relay.add(fd, wants)
    gc.enable()
    code = relay.run(pid)
    from minirun.engine import monitor, places, register

    places.data, places.run = data, run
    monitor.clean_up(register.Container(container_id), relay, code)


if __name__ == "__main__":
    go_on(*sys.argv[1:])
