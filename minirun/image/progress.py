"""Progress of transfers: the listener of pull and push, and the progress bar of import and load."""

from __future__ import annotations

import os
import stat
import sys

from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress as RichProgress


class Progress:
    """The listener of a pull or a push; this one prints nothing. Its methods are called from several threads.

    Attribute: started (bool), whether a registry that has the image was found.
    """

    started = False

    def message(self, line: str) -> None:
        """Print one of Docker's lines, "Status: Image is up to date for alpine:latest"."""

    def update(self, digest: str, action: str) -> None:
        """The state of a layer has changed: "Pulling fs layer", "Pull complete" ..."""

    def transferred(self, digest: str, count: int, total: int) -> None:
        """`count` of `total` bytes of a layer have been transferred."""


class ProgressBar:
    """A progress bar on stderr: `with ProgressBar("Importing", fd) as on_read: ... on_read(4096)`.

    Arguments: title (str); fd (int), the source: the size of a regular file is the total; hidden (bool), show nothing.
    Nothing is shown either when stderr is not a terminal.
    """

    def __init__(self, title: str, fd: int, *, hidden: bool = False) -> None:
        self.title, self.hidden = title, hidden
        status = os.fstat(fd)
        self.total = status.st_size if stat.S_ISREG(status.st_mode) else None
        self._bar: RichProgress | None = None

    def __enter__(self) -> Callable[[int], None] | None:
        if self.hidden or not sys.stderr.isatty():
            return None
        # 60 ms to import, only for a terminal
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
