"""`minirun logs`: reads the log that a shim writes in the format of Docker's json-file driver (see `json_file`).

Records of both streams share one file, in the order in which they arrived. Reader and shim do not communicate: a reader
that follows a log polls the file, and asks the kernel whether the container has exited.
"""

from __future__ import annotations

import os
import time

from minirun import jsoncodec, timestamps
from minirun.errors import ClientError, EngineError, NoSuchContainer
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from minirun.engine.container.container import Container

_BLOCK = 64 * 1024
#: Seconds between two polls of a log that is followed: short while it is written to, longer while it is quiet.
_PAUSES = (0.01, 0.2)


class ReadConfig:
    """Which records to read, and how to print them (moby, daemon/logger: ReadConfig).

    Arguments: tail, how many of the last records; what is no number, such as "all", means every one; since, until: RFC
    3339, seconds since 1970, or a duration before now, "" for no limit; timestamps, details (bool): printed before each
    record. Errors: ClientError (exit code 1), as Docker's, for a time that cannot be parsed.
    """

    __slots__ = ("details", "since", "tail", "timestamps", "until")

    def __init__(
        self,
        *,
        tail: str | int = "all",
        since: str = "",
        until: str = "",
        timestamps: bool = False,
        details: bool = False,
    ) -> None:
        count = str(tail)
        self.tail = int(count) if count.isascii() and count.isdecimal() else -1  # -1: all, as in Docker
        self.since, self.until = _time("since", since), _time("until", until)
        self.timestamps, self.details = timestamps, details

    def format(self, entry: dict) -> bytes:
        """A record as it is printed: time, details, text."""
        text = entry["log"]
        if self.details:
            attributes = entry.get("attrs") or {}
            text = ",".join(f"{key}={value}" for key, value in sorted(attributes.items())) + " " + text
        if self.timestamps:
            text = timestamps.rfc3339_nano_fixed(timestamps.parse(entry["time"])) + " " + text
        return text.encode("utf-8", "replace")


def _time(name: str, text: str) -> int | None:
    """Nanoseconds since 1970, None for ""."""
    if not text:
        return None
    try:
        return timestamps.parse_since(text, time.time_ns())
    except ValueError as reason:
        raise ClientError(f'invalid value for "{name}": {reason}', exit_code=1) from None


def read(container: Container, config: ReadConfig, *, follow: bool = False) -> Iterator[tuple[str, bytes]]:
    """The log of a container: pairs of stream ("stdout", "stderr") and bytes.

    Arguments: follow (bool), go on until the container exits. Errors: EngineError when it has no log (`--log-driver
    none`).
    """
    if container.record["HostConfig"]["LogConfig"]["Type"] == "none":
        raise EngineError("configured logging driver does not support reading", exit_code=1)

    def exited() -> bool:
        try:
            return container.status().state not in ("running", "paused", "restarting")
        except NoSuchContainer:  # removed (--rm); the file is open, so the last records can still be read
            return True

    return read_file(container.log, config, exited if follow else None)


def read_file(path: str, config: ReadConfig, exited: Callable[[], bool] | None = None) -> Iterator[tuple[str, bytes]]:
    """The records of a log file as pairs of stream and bytes.

    Arguments: path (str), a missing file counts as empty; exited, called whenever there is nothing new: the log is
    followed until that returns True, and then read to its end.
    """
    fd = _open(path, exited)
    if fd < 0:
        return
    try:
        if config.tail >= 0:
            os.lseek(fd, _start_of_last(fd, config.tail), os.SEEK_SET)
        for line in _lines(fd, config.until, exited):
            try:
                entry = jsoncodec.loads(line.decode("utf-8", "replace"))
                moment = timestamps.parse(entry["time"])  # type: ignore[index]
            except (ValueError, TypeError, KeyError):
                continue  # half a line, from before a power failure: the next line is whole again
            if config.since is not None and moment < config.since:
                continue
            if config.until is not None and moment > config.until:
                return
            yield entry["stream"], config.format(entry)  # type: ignore[index, arg-type]
    finally:
        os.close(fd)


def _open(path: str, exited: Callable[[], bool] | None) -> int:
    """The opened log; -1 when there is none, nor one was created by the time the container has exited."""
    over = False
    while True:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if over or exited is None:
                return -1
            over = exited()
            time.sleep(0 if over else _PAUSES[-1])


def _start_of_last(fd: int, count: int) -> int:
    """The offset of the last `count` lines, found backwards, so that a huge log costs no more than its end."""
    position = os.fstat(fd).st_size
    left = count + 1  # one more: the \n before the first of them
    while position > 0:
        start = max(0, position - _BLOCK)
        block = os.pread(fd, position - start, start)
        end = len(block)
        while (end := block.rfind(b"\n", 0, end)) >= 0:
            left -= 1
            if not left:
                return start + end + 1
        position = start
    return 0


def _lines(fd: int, until: int | None, exited: Callable[[], bool] | None) -> Iterator[bytes]:
    """The whole lines of a file from its current offset on; with `exited`, also those that are appended later."""
    rest, over, pause = b"", exited is None, _PAUSES[0]
    while True:
        block = os.read(fd, _BLOCK)
        if block:
            pause = _PAUSES[0]
            *lines, rest = (rest + block).split(b"\n")
            yield from lines
        elif over or exited is None or (until is not None and time.time_ns() > until):
            return
        elif exited():
            over = True  # read once more: there may be output since the last read
        else:
            time.sleep(pause)
            pause = min(2 * pause, _PAUSES[-1])
