"""CPU placement of a new child process (sched(7)).

A module of its own, because the command that forks the shim needs it and none of the system calls that `process` loads.
"""

from __future__ import annotations

from minirun.light import os


def move_to_idle_cpu(pid: int) -> None:
    """Move a new child (pid, int) to another CPU, so that it begins at once (sched_setaffinity(2)).

    The child calls `yield_cpu` first.
    """
    # A forked process is put into the run queue of its parent's CPU, and we are not about to wait: it would run after
    # our time slice, some 3 ms later, even if another CPU is idle. Forbidding it this CPU moves it at once; then all
    # are allowed again.
    try:
        allowed = os.sched_getaffinity(0)
        if len(allowed) > 1:
            fd = os.open("/proc/self/stat", os.O_RDONLY | os.O_CLOEXEC)  # the first open() takes a millisecond
            here = int(os.read(fd, 4096).rpartition(b")")[2].split()[36])  # field 39, processor (proc(5))
            os.close(fd)
            os.sched_setaffinity(pid, allowed - {here})
            os.sched_setaffinity(pid, allowed)
    except OSError:  # it has ended already, or begins later: no harm
        return


def yield_cpu() -> None:
    """The first call of a new child: let its parent go on, if it runs on the same CPU (sched_yield(2))."""
    os.sched_yield()
