"""Wait until something is so: for what the kernel does later and tells nobody."""

from __future__ import annotations

import time

from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_until(done: Callable[[], bool], seconds: float) -> bool:
    """Look every 5 ms until `done` says so, at most `seconds`. Returns: what it said last."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
