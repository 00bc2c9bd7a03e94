"""A monitor at rest: the same process, watching the same container, with nothing loaded that it does not need.

A start needs seventy modules; what follows, often for days, needs a loop. Python gives no memory back that its modules
have used, so after a quiet second the monitor executes a fresh interpreter in its own place. The process stays what it
is, with its pid, its child and its open files; only its memory is new, and half as much. When the container has ended,
the modules for cleaning up are loaded again.

    python3 -IS -c AGAIN HOME ID DATA-ROOT EXEC-ROOT PID LISTENER LOG STDIN STDOUT STDERR MASTER
                         [CLIENT:WANTS ...] [SERVICE=WORD,... ...]

where HOME is the directory that holds our package, and numbers of open files follow the pid, -1 where there is none;
SERVICE is the module of a service, and the words are those it asked for.
"""

import gc
import posix as os  # os without its Python half, which alone takes 250 KiB
import sys

from minirun.engine.shim.relay import Relay
from minirun.engine.shim.stdio import Ends

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.engine.container.container import Container
    from minirun.engine.shim.relay import Service

#: What the fresh interpreter runs: little, because what is compiled anew leaves its memory behind.
AGAIN = (
    "import sys; sys.path.append(sys.argv[1]); from minirun import bootstrap; bootstrap.make_ready(); "
    "from minirun.engine.shim.reexec import go_on; go_on(bootstrap.close_archive, *sys.argv[2:])"
)


def rest(container: "Container", relay: Relay) -> None:
    """Execute a fresh interpreter that goes on with this relay. Comes back if it cannot be done, which does no harm."""
    from minirun import trace

    relay.rest = None  # once is enough
    if trace.listening():
        return  # whoever listens would hear no more
    daemon, ends = container.daemon, relay.ends
    # The log is passed on, not opened anew: its directory may have been removed, and the container is to go on.
    descriptors = [relay.listener, relay.log.fd if relay.log else -1, ends.stdin, ends.stdout, ends.stderr, ends.master]
    clients = [f"{client.fd}:{client.wants}" for client in relay.clients.values()]
    services = [f"{type(service).__module__}={','.join(service.words())}" for service in relay.services]
    words = [
        container.id,
        daemon.data_root,
        daemon.exec_root,
        str(relay.pid),
        *map(str, descriptors),
        *clients,
        *services,
    ]
    home = __file__.rpartition("/minirun/")[0]
    kept = [fd for fd in (*descriptors, *relay.clients) if fd >= 0]
    kept += [fd for service in relay.services for fd in service.descriptors()]
    for fd in kept:
        os.set_inheritable(fd, True)
    os.putenv(b"MINIRUN_CONFIG", daemon.config_file.encode("utf-8", "surrogateescape"))
    try:
        # Through /proc/self/exe, since that is on the read-only mount on which the launcher has found the interpreter.
        os.execv("/proc/self/exe", [sys.executable, "-IS", "-c", AGAIN, home, *words])
    except OSError:  # no memory, no /proc: then this process waits as it is
        for fd in kept:
            os.set_inheritable(fd, False)


def go_on(loaded: "Callable[[], object]", container_id: str, data: str, run: str, *words: str) -> None:
    """Go on where `rest` has left off.

    Arguments: loaded, called when all is imported that the idle shim needs; it gives the archive's memory back.
    """
    from minirun.engine.shim.json_file import LogWriter

    with open("/proc/self/comm", "w", encoding="ascii") as comm:
        comm.write("minirun:monitor")
    pid, listener, log, *ends = map(int, words[:7])
    relay = Relay(Ends.taken_over(*ends), LogWriter("", log) if log >= 0 else None, listener)
    relay.changed = lambda: _changed(relay, container_id, data, run)
    relay.failed = lambda service, error: _failed(f"{run}/containers/{container_id}", service, error)
    for fd in (listener, log, *ends):
        if fd >= 0:
            os.set_inheritable(fd, False)
    for word in words[7:]:
        module, equals, rest = word.partition("=")
        if equals:
            relay.services.append(_service(module, rest.split(",")))
            continue
        fd, wants = map(int, word.split(":"))
        os.set_inheritable(fd, False)
        relay.add(fd, wants)
    loaded()
    gc.enable()
    code = relay.run(pid)
    from minirun.engine.shim import shim

    shim.clean_up(_container(container_id, data, run), relay, code)


def _container(container_id: str, data: str, run: str) -> "Container":
    from minirun.engine.container.container import Container
    from minirun.engine.daemon import Daemon

    return Container(Daemon(data, run), container_id)


def _changed(relay: Relay, container_id: str, data: str, run: str) -> str:
    from minirun.engine.network import reload  # once in the life of a few containers

    container = _container(container_id, data, run)
    relay.rest = lambda relay: rest(container, relay)  # what this has loaded is put away again
    return reload.follow(relay, container.run_directory)


def _failed(run_directory: str, service: object, error: Exception) -> None:
    from minirun.engine.shim import run_state  # in the life of no container, we hope

    run_state.note_failure(run_directory, service, error)


def _service(module: str, words: list[str]) -> "Service":
    """A service, made anew of its words."""
    __import__(module)
    service = sys.modules[module].taken_over(words)
    for fd in service.descriptors():
        os.set_inheritable(fd, False)
    return service
