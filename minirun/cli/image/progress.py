"""How a pull or a push goes on: a bar for each layer on a terminal, Docker's plain lines in a pipe."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from minirun.image.progress import Progress

if TYPE_CHECKING:
    from typing import TextIO

    from rich.progress import TaskID


class Quiet(Progress):
    """Tells nothing: `with Quiet() as told: ...`."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Lines(Quiet):
    """Docker's lines: "6859bb690a8f: Pull complete". Arguments: to, the stream that they go to."""

    def __init__(self, to: TextIO) -> None:
        self.to = to
        self._lock = threading.Lock()

    def message(self, line: str) -> None:
        with self._lock:
            print(line, file=self.to, flush=True)

    def update(self, digest: str, action: str) -> None:
        self.message(f"{short(digest)}: {action}")


class Bars(Lines):
    """A line for each layer, with a bar while it moves; the lines stay when all is over.

    Arguments: to, see `Lines`; moving (str), what a layer does meanwhile: "Downloading".
    """

    def __init__(self, to: TextIO, moving: str) -> None:
        super().__init__(to)
        self.moving = moving

    def __enter__(self) -> Progress:
        # 60 ms of imports that a pipe need not pay
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}: {task.fields[word]}"),
            BarColumn(bar_width=30),
            DownloadColumn(),
            console=Console(file=self.to),
        )
        self._tasks: dict[str, TaskID] = {}
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def message(self, line: str) -> None:
        if self._tasks:
            self._progress.stop()  # the bars stay above what is said now
            self._tasks = {}
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def update(self, digest: str, action: str) -> None:
        self._progress.update(self._task(digest), word=action)

    def transferred(self, digest: str, count: int, total: int) -> None:
        self._progress.update(self._task(digest), completed=count, total=total, word=self.moving)

    def _task(self, digest: str) -> TaskID:
        with self._lock:
            if digest not in self._tasks:
                self._tasks[digest] = self._progress.add_task(short(digest), word="", total=None)
            return self._tasks[digest]


def progress(to: TextIO, moving: str = "Downloading") -> Quiet:
    """The one that fits the stream: bars on a terminal, else lines. Arguments: moving (str), see `Bars`."""
    return Bars(to, moving) if to.isatty() else Lines(to)


def short(digest: str) -> str:
    """A digest as Docker shows it: the first twelve digits."""
    return digest.partition(":")[2][:12]
