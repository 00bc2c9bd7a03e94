"""Processes: run a program, fork a child, wait for it, signal it, its descriptors, signals and CPU.

`run` is the fourth door to the kernel; what goes through it is `iptables`, mostly.
"""

from __future__ import annotations

import errno

from minirun import trace
from minirun.errors import KernelError, MinirunError
from minirun.kernel import namespaces, procfs, sched, syscalls
from minirun.light import TYPE_CHECKING, os, signal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: The Debian package of a program, for the hint when it is missing.
PACKAGES = {
    **dict.fromkeys(("iptables", "iptables-save", "iptables-restore"), "iptables"),
    **dict.fromkeys(("ip6tables", "ip6tables-save", "ip6tables-restore"), "iptables"),
    "conntrack": "conntrack",
    "modprobe": "kmod",
    "docker": "docker.io",
}
#: Not the user's PATH: minirun runs these programs as root.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


#: Signals whose action cannot be changed: SIGKILL, SIGSTOP, and the two that the C library uses itself (nptl(7)).
UNTOUCHABLE = (9, 19, 32, 33)


class Result:
    """What a program has returned: `.code` (int, exit code or 128 + signal), `.out` and `.err` (str)."""

    __slots__ = ("code", "err", "out")

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


def run(
    argv: Sequence[str],
    *,
    stdin: str = "",
    check: bool = True,
    netns: namespaces.Namespace | None = None,
    environment: dict[str, str] | None = None,
) -> Result:
    """Run a program and wait for it.

    Arguments: argv, program (searched for in a fixed PATH) and arguments; stdin (str), its input, at most a pipe's
    64 KiB; check (bool), whether a non-zero exit code is an error; netns, the network namespace to run it in;
    environment, instead of a minimal one (its PATH is used for the search too).
    Errors: MinirunError with the first line that the program has printed, or with the package to install.
    """
    trace.tell("run", lambda *_: _shell_line(argv, stdin, netns))
    result = _run(argv, stdin, environment or {"PATH": PATH, "LC_ALL": "C"}, netns)
    if check and result.code != 0:
        complaint = (result.err or result.out).strip().splitlines() or [f"exit code {result.code}"]
        raise MinirunError(f"{' '.join(argv)}: {complaint[0]}")
    return result


def run_script(argv: Sequence[str], script: str, told: Sequence[str]) -> Result:
    """Run a program that reads a script, iptables-restore say. A non-zero exit code is no error here.

    Arguments: script (str), its input; told (shell lines), what a person would type instead, for `trace`.
    """
    if trace.listening():
        for line in told:
            trace.tell("run", "{}", line)
    return _run(argv, script, {"PATH": PATH, "LC_ALL": "C"}, None)


def _run(argv: Sequence[str], stdin: str, environment: dict[str, str], netns: namespaces.Namespace | None) -> Result:
    # posix_spawn(3), not fork: no page tables are copied, and Python's subprocess module costs 16 ms to import.
    program = find(argv[0], environment.get("PATH", PATH))
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    err_read, err_write = os.pipe2(os.O_CLOEXEC)
    in_read, in_write = os.pipe2(os.O_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, fd, standard) for standard, fd in enumerate((in_read, out_write, err_write))]
    pid = _spawn(program, argv, environment, actions, netns)
    for fd in (in_read, out_write, err_write):
        os.close(fd)
    # Written before anything is read: it fits into the pipe, so this cannot block (pipe(7)).
    try:
        os.write(in_write, stdin.encode())
    except BrokenPipeError:
        pass  # it ended without reading: its own error message says more
    finally:
        os.close(in_write)
    out, err = _drain(out_read, err_read)
    return Result(wait_exit_code(pid), out, err)


def _spawn(
    program: str, argv: Sequence[str], environment: dict[str, str], actions: list, netns: namespaces.Namespace | None
) -> int:
    if netns is None:
        return os.posix_spawn(program, list(argv), environment, file_actions=actions)
    # posix_spawn has no attribute for namespaces, but a child is born into its parent's.
    with namespaces.inside(netns, syscalls.CLONE_NEWNET):
        return os.posix_spawn(program, list(argv), environment, file_actions=actions)


def _shell_line(argv: Sequence[str], stdin: str, netns: namespaces.Namespace | None) -> str:
    line = " ".join(map(trace.quoted, argv))
    if netns:
        line = f"nsenter --net={netns} {line}"
    return f"printf '%s\\n' {' '.join(map(trace.quoted, stdin.splitlines()))} | {line}" if stdin else line


def find(name: str, path: str = PATH) -> str:
    """The path of a program, searched for in `path`. Errors: MinirunError with the Debian package to install."""
    for directory in path.split(":"):
        candidate = f"{directory}/{name}"
        if os.access(candidate, os.X_OK):
            return candidate
    package = PACKAGES.get(name, name)
    raise MinirunError(f"{name}: program not found", hint=f"apt-get install {package}")


def exists(name: str) -> bool:
    """Whether a program is installed."""
    return any(os.access(f"{directory}/{name}", os.X_OK) for directory in PATH.split(":"))


def _drain(*fds: int) -> list[str]:
    """Read several pipes to their ends."""
    from select import poll

    # At the same time: a program that fills its stderr would block for ever if only its stdout were read.

    texts = {fd: bytearray() for fd in fds}
    poller = poll()
    for fd in fds:
        poller.register(fd)
    open_fds = set(fds)
    while open_fds:
        for fd, _events in poller.poll():
            part = os.read(fd, 65536)
            texts[fd] += part
            if not part:
                poller.unregister(fd)
                open_fds.discard(fd)
                os.close(fd)
    return [texts[fd].decode("utf-8", "replace") for fd in fds]


def spawn(title: str, side: str, child: Callable[[], None], *, flags: int = 0, cgroup: int = -1) -> int:
    """Fork a child process that runs `child` and never returns into the code of its parent.

    Arguments: title (str), its name in `ps` and `top`, at most 15 bytes; side (str), "monitor" or "container", for
    `trace`; child, ends in execve or returns, which ends the process with 0; flags (int), CLONE_NEW* for the child;
    cgroup (int), as for `syscalls.clone3`. Returns: the child's pid.
    """
    pid = syscalls.clone3(flags, cgroup)
    if pid:
        sched.move_to_idle_cpu(pid)
        return pid
    code = 1
    try:
        sched.yield_cpu()
        trace.side = side
        syscalls.prctl("SET_NAME", title)
        child()
        code = 0
    finally:
        # Not sys.exit: that would run the parent's `finally` blocks and atexit handlers in the child.
        os._exit(code)


def wait_exit_code(pid: int) -> int:
    """Wait for a child (waitpid(2)). Returns: its exit code, or 128 + the number of the signal that killed it.

    Errors: ChildProcessError when it is not a child of ours.
    """
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code


def kill(pid: int, start_time: int, number: int) -> bool:
    """Send a signal to the process with this pid and start time (clock ticks since boot); False when it is gone.

    Arguments: number (int), the signal. Errors: KernelError.
    """
    # Through a pidfd, and the start time is compared after it is open: between a look at /proc/PID and kill(2) the pid
    # could be used again, and the signal would hit another process.
    try:
        pidfd = syscalls.pidfd_open(pid)
    except KernelError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):  # EINVAL: pid 0, or a thread that leads no process
            return False
        raise
    try:
        if procfs.start_time(pid) != start_time:
            return False
        syscalls.pidfd_send_signal(pidfd, number)
    except KernelError as error:
        if error.errno != errno.ESRCH:
            raise
        return False
    finally:
        os.close(pidfd)
    return True


def raise_open_files_limit() -> None:
    """Raise RLIMIT_NOFILE to its hard limit: the usual soft limit, 1024, is low for a server (getrlimit(2))."""
    # From /proc, since the module `resource` is a shared object to load.
    for line in procfs.read("/proc/self/limits").splitlines():
        if line.startswith("Max open files"):
            soft, hard = line.split()[3:5]
            if soft != hard and hard.isdigit():
                syscalls.prlimit("nofile", int(hard), int(hard))


def close_all_but(keep: list[int]) -> None:
    """Close every descriptor from 3 on, except those in `keep` and those that `trace` writes to (close_range(2))."""
    # A forked child has all that its parent had open. A copy of a pipe's write end keeps its reader waiting for an end
    # of file for as long as the child lives.
    first = 3
    for fd in sorted({*keep, *trace.descriptors}):
        if fd > first:
            syscalls.close_range(first, fd - 1)
        first = max(first, fd + 1)
    syscalls.close_range(first, 0xFFFFFFFF)


def reset_signals() -> None:
    """Reset all signals to their default action and unblock them, before execve(2)."""
    # Python ignores SIGPIPE and SIGXFSZ, and an ignored signal stays ignored over execve (signal(7)): `yes | head` in a
    # container would not end. A blocked one stays blocked.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in range(1, signal.NSIG):
        if number not in UNTOUCHABLE:
            signal.signal(number, signal.SIG_DFL)
