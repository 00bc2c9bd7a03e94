"""Wait for a condition that no system call can wait for: an empty cgroup, a frozen one."""

from __future__ import annotations

import time

from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_until(done: Callable[[], bool], seconds: float) -> bool:
    """Call `done` every 5 ms until it returns True, for at most `seconds` (float). Returns: what it returned last."""
    # monotonic(): the wall clock may be set while we wait.
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)  # a process needs about that long to end; a shorter time would only burn CPU
    return True
