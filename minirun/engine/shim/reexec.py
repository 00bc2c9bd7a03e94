"""The re-exec'ed shim: the idle shim executes a fresh interpreter in its place, to give back memory.

A start loads more than a hundred modules; what follows, often for days, is an event loop. Python does not return the
memory of modules, so after a quiet second the shim executes a new interpreter (execve(2)) that loads the loop alone.
The process keeps its pid, its child and its open files, and takes half the memory. The modules for the clean-up are
loaded again when the container has exited: from the installed files, which is why containers must be stopped before
minirun is upgraded (docs/differences.md).

    python3 -IS -c PROGRAM HOME ID DATA-ROOT EXEC-ROOT PID LISTENER LOG STDIN STDOUT STDERR MASTER
                           [CLIENT:FLAGS ...] [SERVICE=ARG,... ...]

HOME is the directory of the package `minirun`; after PID come descriptors, -1 where there is none; SERVICE is the
module of a service, and ARG what its `restore_args` has returned.
"""

import gc
import sys

from minirun.engine.shim.relay import Relay
from minirun.engine.shim.stdio import Stdio
from minirun.light import TYPE_CHECKING, os

if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.engine.container.container import Container
    from minirun.engine.shim.relay import Service

#: What the new interpreter runs: short, because memory that was used for compiling is not returned.
PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); from minirun import bootstrap; bootstrap.make_ready(); "
    "from minirun.engine.shim.reexec import resume; resume(bootstrap.close_archive, *sys.argv[2:])"
)


def reexec(container: "Container", relay: Relay) -> None:
    """Execute a new interpreter that continues this relay. Returns if that is not possible, which does no harm."""
    from minirun import trace

    relay.reexec = None  # once
    if trace.listening():
        return  # the listeners of `trace` would be gone
    daemon, stdio = container.daemon, relay.stdio
    # The log is inherited, not opened again: its directory may have been removed, and the container must go on.
    log = relay.log.fd if relay.log else -1
    descriptors = [relay.listener, log, stdio.stdin, stdio.stdout, stdio.stderr, stdio.master]
    clients = [f"{client.fd}:{client.flags}" for client in relay.clients.values()]
    services = [f"{type(service).__module__}={','.join(service.restore_args())}" for service in relay.services]
    arguments = [
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
        # /proc/self/exe, because it is on the read-only mount from which the launcher has started the interpreter.
        os.execv("/proc/self/exe", [sys.executable, "-IS", "-c", PROGRAM, home, *arguments])
    except OSError:  # no memory, no /proc: this process goes on as it is
        for fd in kept:
            os.set_inheritable(fd, False)


def resume(loaded: "Callable[[], None]", container_id: str, data: str, run: str, *arguments: str) -> None:
    """Continue in the new interpreter.

    Arguments: loaded, called when all is imported that the idle shim needs; it gives the archive's memory back; the
    others: see the module's docstring, from ID on.
    """
    from minirun.engine.shim.json_file import LogWriter

    with open("/proc/self/comm", "w", encoding="ascii") as comm:
        comm.write("minirun:monitor")
    pid, listener, log, *streams = map(int, arguments[:7])
    relay = Relay(Stdio.from_fds(*streams), LogWriter("", log) if log >= 0 else None, listener)
    relay.networks_changed = lambda: _networks_changed(relay, container_id, data, run)
    relay.service_failed = lambda service, error: _service_failed(f"{run}/containers/{container_id}", service, error)
    for fd in (listener, log, *streams):
        if fd >= 0:
            os.set_inheritable(fd, False)
    for argument in arguments[7:]:
        module, equals, args = argument.partition("=")
        if equals:
            relay.services.append(_restore_service(module, args.split(",")))
            continue
        fd, flags = map(int, argument.split(":"))
        os.set_inheritable(fd, False)
        relay.add_client(fd, flags)
    loaded()
    gc.enable()
    code = relay.run(pid)
    from minirun.engine.shim import task

    task.handle_exit(_container(container_id, data, run), relay, code)


def _container(container_id: str, data: str, run: str) -> "Container":
    from minirun.engine.container.container import Container
    from minirun.engine.daemon import Daemon

    return Container(Daemon(data, run), container_id)


def _networks_changed(relay: Relay, container_id: str, data: str, run: str) -> str:
    from minirun.engine.network import reload  # seldom needed

    container = _container(container_id, data, run)
    relay.reexec = lambda relay: reexec(container, relay)  # to give back the memory of what is loaded now
    return reload.update_services(relay, container.run_directory)


def _service_failed(run_directory: str, service: object, error: Exception) -> None:
    from minirun.engine.shim import run_state  # only after a bug

    run_state.record_failure(run_directory, service, error)


def _restore_service(module: str, args: list[str]) -> "Service":
    """A service of the shim before its re-exec, from what its `restore_args` has returned."""
    __import__(module)
    service = sys.modules[module].restore(args)
    for fd in service.descriptors():
        os.set_inheritable(fd, False)
    return service
