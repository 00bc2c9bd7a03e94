"""Signals that come while there is nobody yet to pass them on."""

from __future__ import annotations

import signal

from minirun.engine.shim import signals


def test_they_wait_until_they_are_released():
    # raise_signal: to this thread; one for the process may be taken by another one, which pytest's workers have
    taken = []
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: taken.append(number))
    try:
        with signals.blocked() as waiting:
            signal.raise_signal(signal.SIGUSR1)
            assert taken == []
            waiting.unblock()
            assert taken == [signal.SIGUSR1]
        with signals.blocked():
            signal.raise_signal(signal.SIGUSR1)
        assert taken == [signal.SIGUSR1] * 2
    finally:
        signal.signal(signal.SIGUSR1, before)
