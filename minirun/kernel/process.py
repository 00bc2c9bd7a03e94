"""Processes: run a program to its end, begin a child, wait for it, its limits and its terminal.

`run` is the fourth door to the kernel; what goes through it is `iptables`, mostly.
"""

from __future__ import annotations

import errno
import os

from minirun import trace
from minirun.errors import KernelError, MinirunError
from minirun.kernel import namespaces, procfs, sched, syscalls
from minirun.light import TYPE_CHECKING, signal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: The Debian package that brings a program, for the error message when it is missing.
PACKAGES = {
    **dict.fromkeys(("iptables", "iptables-save", "iptables-restore"), "iptables"),
    **dict.fromkeys(("ip6tables", "ip6tables-save", "ip6tables-restore"), "iptables"),
    "conntrack": "conntrack",
    "modprobe": "kmod",
    "docker": "docker.io",
}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


#: Signals whose action nobody can change: SIGKILL, SIGSTOP, and two that the C library keeps for itself.
UNTOUCHABLE = (9, 19, 32, 33)


class Result:
    """What a program left: `.code` (exit code, or 128 + signal), `.out` and `.err` (str)."""

    __slots__ = ("code", "err", "out")

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


def run(
    argv: Sequence[str],
    *,
    stdin: str = "",
    check: bool = True,
    netns: namespaces.Opened | None = None,
    environment: dict[str, str] | None = None,
) -> Result:
    """Run a program to its end.

    Arguments: argv, program and arguments, found along a fixed PATH; stdin (str), what it reads (at most a pipe's
    64 KiB); check (bool), whether a non-zero end is an error; netns, another network namespace for it to run in;
    environment, instead of our plain one (its PATH is looked along too).
    Errors: MinirunError with the program's own first line of complaint, or with the package that would bring it.
    """
    trace.tell("run", lambda *_: _shell_line(argv, stdin, netns))
    result = _run(argv, stdin, environment or {"PATH": PATH, "LC_ALL": "C"}, netns)
    if check and result.code != 0:
        complaint = (result.err or result.out).strip().splitlines() or [f"exit code {result.code}"]
        raise MinirunError(f"{' '.join(argv)}: {complaint[0]}")
    return result


def run_script(argv: Sequence[str], script: str, told: Sequence[str]) -> Result:
    """Have a program do all that a script says, in one go; how it ends is for the caller to judge.

    Arguments: script (str), what it reads; told (shell lines), what a person would type, one thing after the other.
    """
    if trace.listening():
        for line in told:
            trace.tell("run", "{}", line)
    return _run(argv, script, {"PATH": PATH, "LC_ALL": "C"}, None)


def _run(argv: Sequence[str], stdin: str, environment: dict[str, str], netns: namespaces.Opened | None) -> Result:
    program = find(argv[0], environment.get("PATH", PATH))
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    err_read, err_write = os.pipe2(os.O_CLOEXEC)
    in_read, in_write = os.pipe2(os.O_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, fd, standard) for standard, fd in enumerate((in_read, out_write, err_write))]
    pid = _spawn(program, argv, environment, actions, netns)
    for fd in (in_read, out_write, err_write):
        os.close(fd)
    try:
        os.write(in_write, stdin.encode())
    except BrokenPipeError:
        pass  # it ended without reading: its own complaint says more
    finally:
        os.close(in_write)
    out, err = _drain(out_read, err_read)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return Result(code if code >= 0 else 128 - code, out, err)


def _spawn(
    program: str, argv: Sequence[str], environment: dict[str, str], actions: list, netns: namespaces.Opened | None
) -> int:
    if netns is None:
        return os.posix_spawn(program, list(argv), environment, file_actions=actions)
    with namespaces.inside(netns, syscalls.CLONE_NEWNET):  # a child is born into its parent's namespaces
        return os.posix_spawn(program, list(argv), environment, file_actions=actions)


def _shell_line(argv: Sequence[str], stdin: str, netns: namespaces.Opened | None) -> str:
    line = " ".join(map(trace.quoted, argv))
    if netns:
        line = f"nsenter --net={netns} {line}"
    return f"printf '%s\\n' {' '.join(map(trace.quoted, stdin.splitlines()))} | {line}" if stdin else line


def find(name: str, path: str = PATH) -> str:
    """The path of a program, looked for along `path`. Errors: MinirunError that names the Debian package to install."""
    for directory in path.split(":"):
        candidate = f"{directory}/{name}"
        if os.access(candidate, os.X_OK):
            return candidate
    package = PACKAGES.get(name, name)
    raise MinirunError(f"{name}: program not found", hint=f"apt-get install {package}")


def exists(name: str) -> bool:
    """Whether there is such a program."""
    return any(os.access(f"{directory}/{name}", os.X_OK) for directory in PATH.split(":"))


def _drain(*fds: int) -> list[str]:
    """Read several pipes to their ends at the same time (one after the other could block the writer for ever)."""
    from select import poll

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
    """Begin a child process that runs `child` and never comes back into its parent's code.

    Arguments: title (str), its name in `ps` and `top`, at most 15 bytes; side (str), which side of the wall it is on,
    for `trace`; child, ends by becoming another program or
    by returning, which ends the process with 0; flags (int), CLONE_NEW* for the child; cgroup (int), see clone3.
    Returns: the child's pid.
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
        os._exit(code)


def end_code(pid: int) -> int:
    """Wait for a child and give its end as a shell does: its exit code, or 128 + the signal that ended it."""
    while True:
        try:
            status = os.waitpid(pid, 0)[1]
        except InterruptedError:
            continue
        return shell_code(status)


def shell_code(status: int) -> int:
    """A wait(2) status as a shell gives it."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def kill(pid: int, start_time: int, number: int) -> bool:
    """Send a signal to the process that began at `start_time`; False when it is gone.

    Through a pidfd: between a look at a pid and kill(2) the pid could have gone to somebody else.
    """
    from minirun.kernel import procfs

    try:
        pidfd = syscalls.pidfd_open(pid)
    except KernelError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):
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


def allow_open_files() -> None:
    """Let this process open as many files as it may at all: the usual limit, 1024, is low for who serves others."""
    for line in procfs.read("/proc/self/limits").splitlines():
        if line.startswith("Max open files"):
            soft, hard = line.split()[3:5]
            if soft != hard and hard.isdigit():
                syscalls.prlimit("nofile", int(hard), int(hard))


def close_all_but(keep: list[int]) -> None:
    """Close every descriptor from 3 on, except those in `keep` and those that `trace` writes to.

    A forked child has all that its parent had open. One descriptor too many is not untidy, it is wrong: who reads from
    the other end waits for an end that does not come while the child lives.
    """
    first = 3
    for fd in sorted({*keep, *trace.descriptors}):
        if fd > first:
            syscalls.close_range(first, fd - 1)
        first = max(first, fd + 1)
    syscalls.close_range(first, 0xFFFFFFFF)


def reset_signals() -> None:
    """Give all signals back their default action and unblock them: Python ignores SIGPIPE and SIGXFSZ, and an ignored
    signal stays ignored over an exec, so every `yes | head` in a container would go wrong."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in range(1, signal.NSIG):
        if number not in UNTOUCHABLE:
            signal.signal(number, signal.SIG_DFL)
