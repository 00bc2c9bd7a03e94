"""sched(7): on which processor a process begins. A module of its own because the command that forks the shim needs this
and none of the system calls that `process` loads."""

from __future__ import annotations

from minirun.light import os


def move_to_idle_cpu(pid: int) -> None:
    """Let a new process begin at once, on a processor that we are not using; it must call `yield_cpu`.

    A forked process is put into the queue of its parent's processor, and we are not about to wait: it would get its
    turn after our time slice, some 3 ms later, even if another processor has nothing to do. To be shown the door of
    ours moves it; after that it may be anywhere again.
    """
    try:
        allowed = os.sched_getaffinity(0)
        if len(allowed) > 1:
            fd = os.open("/proc/self/stat", os.O_RDONLY | os.O_CLOEXEC)  # the first open() takes a millisecond
            here = int(os.read(fd, 4096).rpartition(b")")[2].split()[36])  # field 39, processor (proc(5))
            os.close(fd)
            os.sched_setaffinity(pid, allowed - {here})
            os.sched_setaffinity(pid, allowed)
    except OSError:  # it has begun later then, and nothing else is different
        return


def yield_cpu() -> None:
    """What a new process does first: if it has taken its parent's processor, it gives it back, for it gets another."""
    os.sched_yield()
