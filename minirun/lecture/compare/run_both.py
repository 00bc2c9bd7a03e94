"""`compare --run`: the same container from two engines, one after the other, and nothing of either left behind.

One after the other, so that each finds the machine alone: the same port can be published, the same name be given, and
the first free address is the first for both. Both containers carry a label that names this process. By it they are
found again and removed, whatever happens: after an error, after ctrl-C in the middle of Docker's answer, and, if this
process was killed, by the next comparison.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from minirun.errors import MinirunError, NoSuchImage
from minirun.kernel import procfs
from minirun.lecture.compare import target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from minirun.engine.daemon import Daemon
    from minirun.engine.options import CreateOptions
    from minirun.kernel.process import Result
    from minirun.lecture.compare.snapshot import Observation

LABEL = "minirun.compare"
#: What ends a command: ctrl-C, kill(1), a terminal that is closed.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def observe_both(
    daemon: Daemon, words: list[str], options: CreateOptions, topics: list[str]
) -> tuple[Observation, Observation]:
    """Start `words` with Docker and with minirun, look at both, remove both.

    Arguments: words, what follows `run`; options, the same as minirun has read them. Returns: Docker's observation and
    ours. Errors: MinirunError, for an image that one of the two has not and for whatever each of them refuses.
    """
    from minirun.lecture.compare.snapshot import observe

    _clear_dead(daemon)
    _ensure_images(daemon, options.image)
    label = f"{LABEL}={os.getpid()}:{procfs.start_time(os.getpid())}"
    with _until_removed(daemon, label) as until_removed:
        docker = observe(_start_docker(daemon, words, label), topics)
        _remove(daemon, label)
        with until_removed.start():
            container = _start_minirun(daemon, options, label)
        ours = observe(_running(daemon, f"minirun:{container}"), topics)
    docker["about"]["word"], ours["about"]["word"] = "docker", "minirun"
    return docker, ours


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


def _start_docker(daemon: Daemon, words: list[str], label: str) -> target.Subject:
    result = _ask_docker("run", "--detach", "--label", label, *words)
    if result.code:
        raise MinirunError(f"docker: {target.first_line(result.err)}")
    return _running(daemon, f"docker:{result.out.strip()}")


def _start_minirun(daemon: Daemon, options: CreateOptions, label: str) -> str:
    from minirun.engine.create import create
    from minirun.engine.start import start

    container = create(daemon, options.replace(detach=True, label=[*options.label, label]))
    start(container)
    return container.id


def _running(daemon: Daemon, word: str) -> target.Subject:
    try:
        return target.find(daemon, word)
    except MinirunError as error:
        engine, _, _ = word.partition(":")
        raise MinirunError(
            f"{engine}: the container ended before it could be looked at",
            hint="give it a command that stays, such as `sleep 60`",
        ) from error


def _remove(daemon: Daemon, label: str) -> None:
    """Remove the containers with a label from both engines; fine when there are none."""
    from minirun.engine.container import index
    from minirun.engine.remove import remove

    name, _, value = label.partition("=")
    for container in index.every(daemon):
        if container.record["Config"]["Labels"].get(name) == value:
            remove(container, force=True, volumes=True)
    found = _ask_docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={label}")
    if found.out.split():
        removed = _ask_docker("rm", "--force", "--volumes", *found.out.split())
        if removed.code and "o such container" not in removed.err:  # with --rm it may be faster than we are
            raise MinirunError(f"docker: {target.first_line(removed.err)}")


class _until_removed:
    """Remove the labelled containers at the end, whatever it is. A signal that would end us becomes an exception, but
    not in the middle of a start: half a container is hard to remove. While we clean up, signals are ignored."""

    def __init__(self, daemon: Daemon, label: str) -> None:
        self.daemon, self.label = daemon, label
        self.starting = self.interrupted = False

    def __enter__(self) -> _until_removed:
        self.before = {number: signal.signal(number, self._interrupt) for number in ENDING}
        return self

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self.interrupted = True
        if not self.starting:
            raise KeyboardInterrupt

    @contextmanager
    def start(self) -> Iterator[None]:
        """A time in which signals wait."""
        self.starting = True
        try:
            yield
        finally:
            self.starting = False
        if self.interrupted:
            raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)  # Docker's client is our child and inherits this
        try:
            _remove(self.daemon, self.label)
        finally:
            for number, handler in self.before.items():
                signal.signal(number, handler)


def _ask_docker(*words: str) -> Result:
    """Docker's client to its end: for so long the signals wait that would end it or us (it inherits the mask)."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        return target.ask_docker(*words)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def _clear_dead(daemon: Daemon) -> None:
    """Remove what comparisons have left that were killed."""
    from minirun.engine.container import index

    labels = {container.record["Config"]["Labels"].get(LABEL, "") for container in index.every(daemon)}
    found = _ask_docker("ps", "--all", "--filter", f"label={LABEL}", "--format", f'{{{{.Label "{LABEL}"}}}}')
    for value in {*labels, *found.out.split()} - {""}:
        pid, _, start = value.partition(":")
        if not (pid.isdigit() and str(procfs.start_time(int(pid))) == start):
            _remove(daemon, f"{LABEL}={value}")
