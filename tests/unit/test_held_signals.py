"""Signals that come while there is nobody yet to pass them on."""

from __future__ import annotations

import os
import signal

from minirun.engine import signals


def test_they_wait_until_they_are_released():
    taken = []
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: taken.append(number))
    try:
        with signals.held() as waiting:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert taken == []
            waiting.release()
            assert taken == [signal.SIGUSR1]
        with signals.held():
            os.kill(os.getpid(), signal.SIGUSR1)
        assert taken == [signal.SIGUSR1] * 2
    finally:
        signal.signal(signal.SIGUSR1, before)
