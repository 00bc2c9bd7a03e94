"""`exec`: one more process in a running container, with a stdio relay of its own (moby, daemon/exec.go)."""

from __future__ import annotations

from minirun.engine.container.reconcile import reconcile_unless_busy
from minirun.engine.shim import task
from minirun.engine.shim.attach import DETACH_KEYS, AttachClient, Detached, parse_detach_keys, window_size
from minirun.engine.shim.protocol import ATTACH_STDERR, ATTACH_STDIN, ATTACH_STDOUT
from minirun.engine.shim.relay import Relay
from minirun.engine.shim.shim import daemonize
from minirun.engine.shim.stdio import Stdio
from minirun.engine.spec import bundle, specgen
from minirun.errors import EngineError, MinirunError, as_minirun_error
from minirun.kernel import process
from minirun.kernel.socketpair import Channel
from minirun.light import TYPE_CHECKING, socket
from minirun.runtime import exec as runtime
from minirun.runtime import state as states

if TYPE_CHECKING:
    from minirun.engine.container.container import Container
    from minirun.engine.options import ExecOptions


def execute(container: Container, options: ExecOptions) -> int:
    """Run one more process in a running container, and stay attached unless -d is given.

    Returns: its exit code, 0 with -d. Errors: EngineError when the container does not run or the user does not exist;
    ProgramError (126, 127) when the program cannot be executed.
    """
    if container.status().state != "running":
        reconcile_unless_busy(container)
        raise EngineError(f"Container {container.id} is not running", exit_code=1)
    wanted = process_of(container, options)
    ours, theirs = Channel.pair()
    sock, client = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stdin = options.interactive and not options.detach
    process.spawn("minirun:relay", "monitor", lambda: _relay(container, wanted, theirs, client, stdin))
    theirs.close()
    client.close()
    if ours.receive() is None:
        raise MinirunError("the process that was to start the command was killed")
    ours.close()
    if options.detach:
        sock.close()
        return 0
    keys = parse_detach_keys(options.detach_keys) if options.detach_keys else DETACH_KEYS
    try:
        # As in Docker, exec proxies no signals: ctrl-C ends the client and the process goes on.
        return AttachClient(sock, stdin=stdin, terminal=options.tty, detach_keys=keys, signals=False).run()
    except Detached:
        return 0


def process_of(container: Container, options: ExecOptions) -> dict:
    """The OCI process object: the container's user, environment and capabilities, overridden by the options."""
    record = container.record
    user = bundle.resolve_user(container, options.user or record["Config"]["User"])
    wanted = specgen.exec_process(record, user, list(options.command), options.tty, list(options.env))
    if record.get("Links"):
        from minirun.engine.network import legacy_links

        wanted["env"] = legacy_links.Links(container).process_env(options.tty, list(options.env))
    if options.workdir:
        wanted["cwd"] = options.workdir
    size = window_size() if options.tty else None
    if size:
        wanted["consoleSize"] = {"height": size[0], "width": size[1]}
    return wanted


def _relay(container: Container, wanted: dict, ready: Channel, client: socket.socket, stdin: bool) -> None:
    """The process `minirun:relay`: parent of the new process, which goes on when the client has exited."""
    daemonize([ready.fd, client.fileno()])
    terminal = bool(wanted.get("terminal"))
    stdio = Stdio(terminal=terminal, stdin=stdin)
    try:
        state = states.load(task.state_directory(container))
        pid = runtime.execute(state, wanted, stdio=stdio.child_fds, console=stdio.console_socket)
        stdio.after_start(stdin=stdin or terminal)
    except Exception as error:  # noqa: BLE001 (the last resort: it is reported, not swallowed)
        ready.send_error(as_minirun_error(error))
        return
    relay = Relay(stdio, None)
    relay.add_client(client.detach(), ATTACH_STDIN * stdin | ATTACH_STDOUT | ATTACH_STDERR)
    ready.send({"started": pid})
    relay.send_exit(relay.run(pid))
