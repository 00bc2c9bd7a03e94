"""A problem that `system check` finds; and what tells stale state from work in progress: ages, locks, writers.

A process that works on something holds a lock or has its pid in a name, so a check can tell what is being made from
what was left behind, and clears nothing that is in use.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from minirun import store, stringid
from minirun.engine.container.container import LOCK, Container
from minirun.errors import MinirunError
from minirun.kernel import procfs

if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.engine.daemon import Daemon

#: Seconds for which a directory may be without its config, or a name without its owner: `create` is between two calls.
GRACE = 10


class Problem:
    """Stale state that was found.

    `.kind` (one word, see the checks in `stale_containers` and `stale_files`); `.what` (one line); `.cleared` (bool),
    whether it has been cleared; `.why` (str), why it cannot be, or could not be.
    """

    __slots__ = ("arguments", "cleared", "clearer", "kind", "what", "why")

    def __init__(
        self, kind: str, what: str, clearer: Callable[..., object] | None, *arguments: object, why: str = ""
    ) -> None:
        self.kind, self.what, self.clearer, self.arguments, self.why = kind, what, clearer, arguments, why
        self.cleared = False

    def __str__(self) -> str:
        return self.what

    def clear(self) -> None:
        """Clear it; what has gone meanwhile counts as cleared. A problem without a clearer is left alone."""
        if self.clearer is None:
            return
        try:
            self.clearer(*self.arguments)
            self.cleared = True
        except (MinirunError, OSError) as error:
            self.why = str(error)


def containers(daemon: Daemon) -> list[Container]:
    """All containers of our data root, also those without a config."""
    return [Container(daemon, name) for name in ids(f"{daemon.data_root}/containers")]


def ids(directory: str) -> list[str]:
    """The names in a directory that can be IDs of containers."""
    return [name for name in store.names(directory) if stringid.is_id(name)]


def is_new(path: str, seconds: float = 0) -> bool:
    """Whether something has been made or changed in the last seconds (GRACE if not given); so has what is gone."""
    try:
        return time.time() - os.stat(path).st_ctime < (seconds or GRACE)
    except FileNotFoundError:
        return True


def is_busy(container: Container) -> bool:
    """Whether a command is starting, stopping or removing it, and so holds `Container.lock`."""
    return not store.is_unlocked(f"{container.directory}/{LOCK}")


def writer(name: str) -> int:
    """The pid in "state.json.new4711", an unfinished write (see `store.write`); 0 when it is no such name."""
    _, dot_new, pid = name.rpartition(".new")
    return int(pid) if dot_new and pid.isdigit() else 0


def is_being_written(name: str) -> bool:
    """Whether the writer of an unfinished write is alive."""
    return bool(writer(name)) and procfs.start_time(writer(name)) is not None
