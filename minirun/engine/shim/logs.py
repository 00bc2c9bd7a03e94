"""The log of a container, in the format of Docker's json-file driver: written by its monitor, read by `minirun logs`.

Records of both streams share one file, in the order in which they came (see `json_file` for a record).
The two sides never talk: a reader that follows a log looks at the file, and at the kernel for the container's end.
"""

from __future__ import annotations

import os
import time

from minirun import jsoncodec, timestamps
from minirun.errors import ClientError, EngineError, NoSuchContainer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from minirun.engine.container.container import Container

_BLOCK = 64 * 1024
#: Pauses (seconds) between two looks at a log that is followed: short while it is written, longer while it is quiet.
_PAUSES = (0.01, 0.2)


class Wanted:
    """Which records, and what is shown of them. All are named, all have a default:

    tail (str or int): how many of the last records; "all" or what is no number means each one
    since, until (str): RFC 3339, seconds since 1970 or how long ago; timestamps, details (bool): put before each record
    Errors: ClientError (exit code 1) for a time that is none, in the words of Docker's client.
    """

    __slots__ = ("details", "since", "tail", "timestamps", "until")

    def __init__(self, **wishes: object) -> None:
        self.tail = _count(str(wishes.pop("tail", "all")))
        self.since = _moment("since", str(wishes.pop("since", "") or ""))
        self.until = _moment("until", str(wishes.pop("until", "") or ""))
        self.timestamps = bool(wishes.pop("timestamps", False))
        self.details = bool(wishes.pop("details", False))
        if wishes:
            raise TypeError(f"no such wish for a log: {', '.join(wishes)}")

    def shown(self, entry: dict) -> bytes:
        """A record as it is printed: time, details, text."""
        text = entry["log"]
        if self.details:
            attributes = entry.get("attrs") or {}
            text = ",".join(f"{key}={value}" for key, value in sorted(attributes.items())) + " " + text
        if self.timestamps:
            text = timestamps.rfc3339_nano_fixed(timestamps.parse(entry["time"])) + " " + text
        return text.encode("utf-8", "replace")


def _count(tail: str) -> int:
    """Docker takes what is no number for "all"; so is a negative one."""
    return int(tail) if tail.isascii() and tail.isdecimal() else -1


def _moment(name: str, text: str) -> int | None:
    if not text:
        return None
    try:
        return timestamps.parse_since(text, time.time_ns())
    except ValueError as reason:
        raise ClientError(f'invalid value for "{name}": {reason}', exit_code=1) from None


def read(container: Container, follow: bool = False, **wishes: object) -> Iterator[tuple[str, bytes]]:
    """The log of a container: pairs of stream ("stdout", "stderr") and bytes.

    Arguments: follow, go on until the container has ended; wishes: see `Wanted`.
    Errors: EngineError when this container's output is not kept; ClientError, see `Wanted`.
    """
    wanted = Wanted(**wishes)
    if container.record["HostConfig"]["LogConfig"]["Type"] == "none":
        raise EngineError("configured logging driver does not support reading", exit_code=1)

    def ended() -> bool:
        try:
            return container.status().state not in ("running", "paused", "restarting")
        except NoSuchContainer:  # with --rm it goes at its end; the file is open, so its last words can be read
            return True

    return records(container.log, wanted, ended if follow else None)


def records(path: str, wanted: Wanted, ended: Callable[[], bool] | None = None) -> Iterator[tuple[str, bytes]]:
    """The records of a log file as pairs of stream and bytes.

    Arguments: path (str), a file that is not there counts as empty; ended, asked again and again while there is
    nothing new: the log is followed until it answers True, and then read to its end.
    """
    fd = _open(path, ended)
    if fd < 0:
        return
    try:
        if wanted.tail >= 0:
            os.lseek(fd, _start_of_last(fd, wanted.tail), os.SEEK_SET)
        for line in _lines(fd, wanted.until, ended):
            try:
                entry = jsoncodec.loads(line.decode("utf-8", "replace"))
                moment = timestamps.parse(entry["time"])  # type: ignore[index]
            except (ValueError, TypeError, KeyError):
                continue  # half a line, left by a machine that lost its power: the next line is whole again
            if wanted.since is not None and moment < wanted.since:
                continue
            if wanted.until is not None and moment > wanted.until:
                return
            yield entry["stream"], wanted.shown(entry)  # type: ignore[index, arg-type]
    finally:
        os.close(fd)


def _open(path: str, ended: Callable[[], bool] | None) -> int:
    """The log, opened; -1 when there is none (and, where it is followed, none has come until the container's end)."""
    over = False
    while True:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if over or ended is None:
                return -1
            over = ended()
            time.sleep(0 if over else _PAUSES[-1])


def _start_of_last(fd: int, count: int) -> int:
    """Where the last `count` lines of a file begin: read backwards, so that a huge log costs no more than its end."""
    position = os.fstat(fd).st_size
    left = count + 1  # the \n that ends the line before the first one wanted
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


def _lines(fd: int, until: int | None, ended: Callable[[], bool] | None) -> Iterator[bytes]:
    """The whole lines of a file from its current offset on; with `ended`, also those that are still to come."""
    rest, over, pause = b"", ended is None, _PAUSES[0]
    while True:
        block = os.read(fd, _BLOCK)
        if block:
            pause = _PAUSES[0]
            *lines, rest = (rest + block).split(b"\n")
            yield from lines
        elif over or ended is None or (until is not None and time.time_ns() > until):
            return
        elif ended():
            over = True  # once more round: it may have written between our last read and its end
        else:
            time.sleep(pause)
            pause = min(2 * pause, _PAUSES[-1])
