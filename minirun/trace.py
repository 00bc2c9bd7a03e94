"""Tracing: `step()` names a stage, `tell()` reports one action on the kernel with the equal shell line.

A stage is a heading for a listener (`minirun --explain`) and the context of an error that passes through it ("keep our
mounts from leaking out: mount /: operation not permitted").

Only the four doors to the kernel report actions (`kernel.syscalls`, `kernel.procfs.write`, `kernel.netlink.socket`,
`kernel.process.run`), and `image.registry.http` the requests to a registry, with curl's line. Without a listener `tell`
returns at once, before anything is formatted.
"""

from __future__ import annotations

from minirun.errors import MinirunError
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    #: Called as listener("step", title, "") and listener("action", call, shell line).
    Listener = Callable[[str, str, str], None]

_listeners: list[Listener] = []

#: Descriptors that listeners write to: a process that closes what it has inherited keeps these.
descriptors: list[int] = []

#: The side of this process: "host" (the command), "monitor" (the shim) or "container"; a forked child sets its own.
side = "host"


def listen(listener: Listener, descriptor: int = -1) -> None:
    """Attach a listener, which forked children inherit. Arguments: descriptor (int), what it writes to, kept open."""
    _listeners.append(listener)
    if descriptor >= 0:
        descriptors.append(descriptor)


def listening() -> bool:
    """Whether a listener is attached, for a caller that must do extra work to have something to report."""
    return bool(_listeners)


def tell(call: str, shell: str | Callable[..., str], *values: object) -> None:
    """Report one action on the kernel.

    Arguments: call (str), the man page of the action, "mount(2)"; shell, the equal shell line: a `str.format` template
    for `values`, or a function of `values`.
    """
    if not _listeners:
        return
    line = shell.format(*values) if isinstance(shell, str) else shell(*values)
    for listener in _listeners:
        listener("action", call, line)


_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-")


def quoted(word: object) -> str:
    """A word quoted for a shell, if it needs quotes (shlex.quote, which would load `re`)."""
    text = str(word)
    return text if text and _PLAIN.issuperset(text) else "'" + text.replace("'", "'\"'\"'") + "'"


class step:
    """Name a stage: `with step("make it our root"): ...`. An error that passes through has the title in its trail."""

    __slots__ = ("title",)

    def __init__(self, title: str) -> None:
        self.title = title

    def __enter__(self) -> None:
        for listener in _listeners:
            listener("step", self.title, "")

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, MinirunError):
            error.trail.insert(0, self.title)
