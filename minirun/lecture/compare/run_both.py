"""`compare --run`: start the same container with Docker and with minirun, snapshot both, remove both.

One after the other, so that each finds the same host: the same port can be published, the same name be given, and the
first free address is the same. Both containers get a label that names this process, by which they are found and removed
in any case: after an error, after ctrl-C while Docker's client runs, and, if this process is killed, by the next
`compare --run`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from minirun.engine.container import index
from minirun.engine.create import create
from minirun.engine.remove import remove
from minirun.engine.start import start
from minirun.errors import MinirunError, NoSuchImage
from minirun.kernel import procfs
from minirun.lecture.compare import snapshot, target

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon
    from minirun.engine.options import CreateOptions
    from minirun.kernel.process import Result
    from minirun.lecture.compare.snapshot import Snapshot

LABEL = "minirun.compare"
#: Signals that end a command: ctrl-C, kill(1), a closed terminal.
FATAL_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def snapshot_both(
    daemon: Daemon, words: list[str], options: CreateOptions, topics: list[str]
) -> tuple[Snapshot, Snapshot]:
    """Start a container with Docker and with minirun, snapshot both, remove both.

    Arguments: words, the command line after `run`; options, the same, parsed. Returns: Docker's snapshot and minirun's.
    Errors: MinirunError, for an image that one of the two does not have and for what one of them refuses.
    """
    _remove_stale(daemon)
    _ensure_images(daemon, options.image)
    label = f"{LABEL}={os.getpid()}:{procfs.start_time(os.getpid())}"
    with _removed_at_end(daemon, label) as guard:
        docker = snapshot.take(_start_docker(daemon, words, label), topics)
        _remove(daemon, label)
        with guard.start():
            container = _start_minirun(daemon, options, label)
        minirun = snapshot.take(_running(daemon, f"minirun:{container}"), topics)
    docker["about"]["word"], minirun["about"]["word"] = "docker", "minirun"
    return docker, minirun


def _ensure_images(daemon: Daemon, image: str) -> None:
    if target.ask_docker("version", "--format", "{{.Server.Version}}").code:
        raise MinirunError("docker: " + target.first_line(target.ask_docker("version").err))
    if target.ask_docker("image", "inspect", image).code:
        raise MinirunError(
            f"docker has no image {image}", hint=f"`docker pull {image}`, or `docker import FILE {image}`"
        )
    try:
        daemon.images.find(image)
    except NoSuchImage:
        raise MinirunError(
            f"minirun has no image {image}",
            hint=f"`docker create --name x {image}; docker export x "
            f"> x.tar; docker rm x; minirun import x.tar {image}`",
        ) from None


def _start_docker(daemon: Daemon, words: list[str], label: str) -> target.Target:
    result = _ask_docker("run", "--detach", "--label", label, *words)
    if result.code:
        raise MinirunError(f"docker: {target.first_line(result.err)}")
    return _running(daemon, f"docker:{result.out.strip()}")


def _start_minirun(daemon: Daemon, options: CreateOptions, label: str) -> str:
    container = create(daemon, options.replace(detach=True, label=[*options.label, label]))
    start(container)
    return container.id


def _running(daemon: Daemon, word: str) -> target.Target:
    try:
        return target.find(daemon, word)
    except MinirunError as error:
        engine, _, _ = word.partition(":")
        raise MinirunError(
            f"{engine}: the container ended before it could be looked at",
            hint="give it a command that stays, such as `sleep 60`",
        ) from error


def _remove(daemon: Daemon, label: str) -> None:
    """Remove the containers with a label from both engines, if there are any."""
    name, _, value = label.partition("=")
    for container in index.every(daemon):
        if container.record["Config"]["Labels"].get(name) == value:
            remove(container, force=True, volumes=True)
    found = _ask_docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={label}")
    if found.out.split():
        removed = _ask_docker("rm", "--force", "--volumes", *found.out.split())
        if removed.code and "o such container" not in removed.err:  # with --rm Docker may have removed it already
            raise MinirunError(f"docker: {target.first_line(removed.err)}")


class _removed_at_end:
    """Remove the labelled containers at the end of the `with` block, however it ends.

    A fatal signal raises KeyboardInterrupt, but not during a start: half a container is hard to remove. During the
    removal such signals are ignored.
    """

    def __init__(self, daemon: Daemon, label: str) -> None:
        self.daemon, self.label = daemon, label
        self.starting = self.interrupted = False

    def __enter__(self) -> _removed_at_end:
        self.before = {number: signal.signal(number, self._interrupt) for number in FATAL_SIGNALS}
        return self

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self.interrupted = True
        if not self.starting:
            raise KeyboardInterrupt

    @contextmanager
    def start(self) -> Iterator[None]:
        """Put off signals until the end of this block."""
        self.starting = True
        try:
            yield
        finally:
            self.starting = False
        if self.interrupted:
            raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        for number in FATAL_SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # inherited by Docker's client
        try:
            _remove(self.daemon, self.label)
        finally:
            for number, handler in self.before.items():
                signal.signal(number, handler)


def _ask_docker(*words: str) -> Result:
    """Run Docker's client with the fatal signals blocked, for itself too, because it inherits the mask."""
    signal.pthread_sigmask(signal.SIG_BLOCK, FATAL_SIGNALS)
    try:
        return target.ask_docker(*words)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FATAL_SIGNALS)


def _remove_stale(daemon: Daemon) -> None:
    """Remove the containers of comparisons that were killed."""
    labels = {container.record["Config"]["Labels"].get(LABEL, "") for container in index.every(daemon)}
    found = _ask_docker("ps", "--all", "--filter", f"label={LABEL}", "--format", f'{{{{.Label "{LABEL}"}}}}')
    for value in {*labels, *found.out.split()} - {""}:
        pid, _, start = value.partition(":")
        if not (pid.isdigit() and str(procfs.start_time(int(pid))) == start):
            _remove(daemon, f"{LABEL}={value}")
