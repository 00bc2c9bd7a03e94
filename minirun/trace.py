"""What minirun is doing, said once: `step()` names a stage, `tell()` reports one action on the kernel.

A stage serves twice. It is a heading for whoever listens (`minirun --explain`), and it is the context of an error
that passes through it ("keep our mounts from leaking out: mount /: operation not permitted").

An action is told by the four doors to the kernel (`kernel.syscalls`, `kernel.procfs.write`, `kernel.rtnetlink`,
`kernel.process.run`) and by nobody else; with it goes the shell line that would do the same. (So is a request to a
registry, by `image.connection`, with curl's line.) With no listener attached `tell` returns at once, and nothing has
been formatted.
"""

from __future__ import annotations

from minirun.errors import MinirunError
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    #: Called as listener("step", title, "") and listener("action", call, shell line).
    Listener = Callable[[str, str, str], None]

_listeners: list[Listener] = []

#: Open files that listeners write to: a process that closes what it inherited must keep these.
descriptors: list[int] = []

#: Which side of the wall this process is on: "host", "monitor" or "container". A forked child sets its own.
side = "host"


def listen(listener: Listener, descriptor: int = -1) -> None:
    """Attach a listener; forked children inherit it, and with it the open file that it writes to."""
    _listeners.append(listener)
    if descriptor >= 0:
        descriptors.append(descriptor)


def listening() -> bool:
    """True when somebody listens (for the rare caller that must do extra work to have something to tell)."""
    return bool(_listeners)


def tell(call: str, shell: str | Callable[..., str], *values: object) -> None:
    """Report one action on the kernel.

    Arguments: call (str), the action as its man page names it, "mount(2)"; shell, the equal shell line: a
    `str.format` template for `values`, or a function of `values` where words have to be worked out first.
    """
    if not _listeners:
        return
    line = shell.format(*values) if isinstance(shell, str) else shell(*values)
    for listener in _listeners:
        listener("action", call, line)


_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-")


def quoted(word: object) -> str:
    """A word as a shell takes it for one: in quotes, if it needs them. (shlex would load `re`.)"""
    text = str(word)
    return text if text and _PLAIN.issuperset(text) else "'" + text.replace("'", "'\"'\"'") + "'"


class step:
    """Name a stage: `with step("make it our root"): ...`."""

    __slots__ = ("title",)

    def __init__(self, title: str) -> None:
        self.title = title

    def __enter__(self) -> None:
        for listener in _listeners:
            listener("step", self.title, "")

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, MinirunError):
            error.trail.insert(0, self.title)
