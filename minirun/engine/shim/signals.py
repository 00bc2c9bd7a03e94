"""Signals by name or number, as `kill -s`, `--stop-signal` and an image's STOPSIGNAL give them; signals that wait.

See signal(7).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C module alone: `signal` wraps it in enums, which costs 7 ms

from minirun.errors import BadParameter


def number(word: str) -> int:
    """The number of "TERM", "sigterm", "15" or "RTMIN+3". Errors: BadParameter in Docker's words."""
    if word.isascii() and word.isdecimal():
        value = int(word)
    else:
        name, sign, offset = word.upper().removeprefix("SIG"), "", "0"
        if name.startswith(("RTMIN+", "RTMAX-")):
            name, sign, offset = name[:5], name[5], name[6:]
        known = name.isalnum() and name.isascii() and offset.isascii() and offset.isdecimal()
        value = getattr(_signal, f"SIG{name}", 0) if known else 0
        value += int(f"{sign}{offset}") if value else 0
    if not 0 < value <= _signal.SIGRTMAX:
        raise BadParameter(f"Invalid signal: {word}")
    return value


class held:
    """Let the signals that we get wait, until `release` or the end of the block: they are meant for a container that is
    about to be, and there is nobody yet to pass them on (`with signals.held() as waiting: ... waiting.release()`).
    """

    def __enter__(self) -> held:
        self._before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
        return self

    def release(self) -> None:
        """Take them now."""
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self._before)

    def __exit__(self, *_: object) -> None:
        self.release()
