"""Progress of transfers: the listener of pull and push, and the bar of import and load."""

from __future__ import annotations

import os
import stat
import sys

from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress as RichProgress


class Progress:
    """The listener of a pull or a push; this one prints nothing. Several threads may call it.

    Attribute: begun (bool), whether a registry was found that has the image.
    """

    started = False

    def message(self, line: str) -> None:
        """A line of Docker's."""

    def update(self, digest: str, action: str) -> None:
        """What has become of a layer: "Pulling fs layer", "Pull complete" ..."""

    def transferred(self, digest: str, count: int, total: int) -> None:
        """So many bytes of a layer are here."""


class ProgressBar:
    """Show the way of the bytes on stderr: `with ProgressBar("Importing", fd) as passed: ... passed(4096)`.

    Arguments: title (str); fd (int), what is read: if it is a file, its size is the whole; hidden (bool), show
    nothing. Nothing is shown either when stderr is not a terminal.
    """

    def __init__(self, title: str, fd: int, *, hidden: bool = False) -> None:
        self.title, self.hidden = title, hidden
        status = os.fstat(fd)
        self.total = status.st_size if stat.S_ISREG(status.st_mode) else None
        self._bar: RichProgress | None = None

    def __enter__(self) -> Callable[[int], None] | None:
        if self.hidden or not sys.stderr.isatty():
            return None
        # 60 ms of imports that a pipe need not pay
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        task = bar.add_task(self.title, total=self.total)
        bar.start()
        self._bar = bar
        return lambda count: bar.advance(task, count)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
