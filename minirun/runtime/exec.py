"""Start an additional process in a running container, as `runc exec` does (the OCI spec has no such operation).

Joining is the reverse of creating: each namespace is entered through a file in /proc/PID/ns of the container's first
process. Between reading a pid and opening these files the pid could have been used again, so the start time is
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
from minirun.runtime.init import InheritedFds
from minirun.runtime.state import State
from minirun.trace import step


def execute(state: State, process_spec: dict, *, stdio: tuple[int, int, int] | None = None, console: int = -1) -> int:
    """Start an additional process in a running container.

    Arguments: process_spec (dict), an OCI process object; stdio and console as for `create`.
    Returns: its pid; it is a child of the caller. Errors: ProgramError when the program cannot be executed.
    """
    with step(f"begin a process in container {state.id[:12]}"):
        if state.status() != "running":
            raise MinirunError("container not running")
        opened = namespaces.open_others(state.pid)
        # The pid may have been reused between the two checks: what was opened would be another process's.
        if procfs.start_time(state.pid) != state.start_time:
            raise MinirunError("container not running")
        cgroup = Cgroup(state.cgroup)
        cgroup_fd = cgroup.open_v2()
        ours, theirs = Channel.pair()
        fds = InheritedFds(theirs, stdio, console)
        # Before the child is in the container's pid namespace: a container process with CAP_SYS_PTRACE could otherwise
        # attach to it and use the descriptors that it still holds (CVE-2016-9962), or overwrite /proc/PID/exe, our
        # interpreter (CVE-2019-5736). execve(2) makes the program dumpable again.
        syscalls.prctl("SET_DUMPABLE", 0)
        # setns(2) with a pid namespace counts for the next child only, so the parent enters it and goes back.
        if "pid" in opened:
            namespaces.enter({"pid": opened.pop("pid")})
        pid = process.spawn(
            "minirun:exec", "container", lambda: _child(process_spec, cgroup, fds, opened), cgroup=cgroup_fd
        )
        namespaces.enter({"pid": namespaces.Namespace("/proc/self/ns/pid")})
        for fd in (theirs.fd, cgroup_fd, *(namespace.fd for namespace in opened.values())):
            if fd >= 0:
                os.close(fd)
        _wait_for_exec(ours, pid)
        return pid


def _child(process_spec: dict, cgroup: Cgroup, fds: InheritedFds, opened: dict[str, namespaces.Namespace]) -> None:
    """The child's side of `execute`: join the container, then become the program."""
    try:
        init.setup_descriptors(fds, [namespace.fd for namespace in opened.values()])
        with step("join the container"):
            # The cgroup while the host's /sys/fs/cgroup is in sight; imports before the container's files are.
            cgroup.join_v1()
            init.disable_imports()
            namespaces.enter(opened)
        # Not the caller's session keyring, which may hold the keys of the user who runs minirun.
        syscalls.join_session_keyring("_ses." + os.path.basename(cgroup.path))
        syscalls.setsid()
        if process_spec.get("terminal"):
            init.open_terminal(process_spec, fds, console_node=False)
        file, environment = container_process.prepare_exec(process_spec)
        process.reset_signals()
        syscalls.execve(file, process_spec["args"], environment)
    except Exception as error:  # noqa: BLE001 (reported to the parent, not swallowed)
        fds.channel.send_error(as_minirun_error(error))


def _wait_for_exec(channel: Channel, pid: int) -> None:
    """Wait until execve(2) has succeeded, or an error was sent. Errors: the one that was sent."""
    try:
        # The child's end is close-on-exec: a successful execve closes it, which reads as end of file here.
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
