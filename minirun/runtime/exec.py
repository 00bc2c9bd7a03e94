"""One more process in a running container: what `exec` does (runc's own; the OCI runtime-spec has no word for it).

Joining is the reverse of making: each namespace is entered through a file in /proc/PID/ns of the container's first
process. Between looking at a pid and opening its files the pid could have gone to somebody else, so the start time is
compared once more when all are open.
"""

from __future__ import annotations

import os

from minirun.errors import KernelError, MinirunError, ProgramError, as_minirun_error
from minirun.kernel import namespaces, process, procfs, syscalls
from minirun.kernel.cgroup.cgroup import Cgroup
from minirun.kernel.socketpair import Channel
from minirun.runtime import init, lifecycle
from minirun.runtime import process as container_process
from minirun.runtime.init import Hands
from minirun.runtime.state import State
from minirun.trace import step


def execute(state: State, wanted: dict, *, stdio: tuple[int, int, int] | None = None, console: int = -1) -> int:
    """Begin one more process in a running container.

    Arguments: wanted (dict), an OCI process object; stdio and console as for `create`.
    Returns: its pid; it is a child of the caller. Errors: ProgramError when it cannot be executed.
    """
    with step(f"begin a process in container {state.id[:12]}"):
        if state.status() != "running":
            raise MinirunError("container not running")
        opened = namespaces.open_others(state.pid)
        if procfs.start_time(state.pid) != state.start_time:  # what was opened would be somebody else's by now
            raise MinirunError("container not running")
        cgroup = Cgroup(state.cgroup)
        home = cgroup.open_v2()
        ours, theirs = Channel.pair()
        hands = Hands(theirs, stdio, console)
        syscalls.prctl("SET_DUMPABLE", 0)
        if "pid" in opened:
            namespaces.enter({"pid": opened.pop("pid")})
        pid = process.spawn("minirun:exec", "container", lambda: _become(wanted, cgroup, hands, opened), cgroup=home)
        namespaces.enter({"pid": namespaces.Opened("/proc/self/ns/pid")})
        for fd in (theirs.fd, home, *(namespace.fd for namespace in opened.values())):
            if fd >= 0:
                os.close(fd)
        _wait_for_exec(ours, pid)
        return pid


def _become(wanted: dict, cgroup: Cgroup, hands: Hands, opened: dict[str, namespaces.Opened]) -> None:
    """The child's side of `execute`: join the container, then be the program."""
    try:
        init.wire(hands, [namespace.fd for namespace in opened.values()])
        with step("join the container"):
            cgroup.join_v1()
            init.forget_how_to_import()
            namespaces.enter(opened)
        syscalls.join_session_keyring("_ses." + os.path.basename(cgroup.path))  # not the caller's, with his keys
        syscalls.setsid()
        if wanted.get("terminal"):
            init.take_terminal(wanted, hands, console_node=False)
        file, environment = container_process.settle(wanted)
        process.reset_signals()
        syscalls.execve(file, wanted["args"], environment)
    except Exception as error:  # noqa: BLE001 (the last net: it is told, not swallowed)
        hands.channel.send_error(as_minirun_error(error))


def _wait_for_exec(channel: Channel, pid: int) -> None:
    """Wait until execve has closed the other end of the channel, or an error came through it."""
    try:
        channel.receive()
    except KernelError as error:
        lifecycle.reap(pid)
        if error.call.startswith("exec "):
            raise ProgramError(f"{error.call}: {os.strerror(error.errno).lower()}", exit_code=126) from None
        raise
    except MinirunError:
        lifecycle.reap(pid)
        raise
    finally:
        channel.close()
