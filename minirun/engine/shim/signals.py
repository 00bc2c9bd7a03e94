"""Signals (signal(7)): by name or number, as in `kill -s`, `--stop-signal` and an image's STOPSIGNAL; blocking them."""

from __future__ import annotations

from minirun.errors import BadParameter
from minirun.light import signal


def number(word: str) -> int:
    """The number of "TERM", "sigterm", "15" or "RTMIN+3". Errors: BadParameter, as Docker's."""
    if word.isascii() and word.isdecimal():
        value = int(word)
    else:
        name, sign, offset = word.upper().removeprefix("SIG"), "", "0"
        if name.startswith(("RTMIN+", "RTMAX-")):
            name, sign, offset = name[:5], name[5], name[6:]
        known = name.isalnum() and name.isascii() and offset.isascii() and offset.isdecimal()
        value = getattr(signal, f"SIG{name}", 0) if known else 0
        value += int(f"{sign}{offset}") if value else 0
    if not 0 < value <= signal.SIGRTMAX:
        raise BadParameter(f"Invalid signal: {word}")
    return value


class blocked:
    """Block all signals (sigprocmask(2)) until `unblock` or the end of the `with`: `with signals.blocked() as mask:`.

    For the time in which a container is being started: they are meant for it, and nothing can pass them on yet.
    """

    def __enter__(self) -> blocked:
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        return self

    def unblock(self) -> None:
        """Have the signals that have arrived delivered now."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def __exit__(self, *_: object) -> None:
        self.unblock()
