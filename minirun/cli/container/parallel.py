"""One operation on several containers in parallel: a process for each, where Docker's client has a goroutine.

What a child raises comes back through a pipe as data (errors.to_data), because an exception cannot cross fork(2).
"""

from __future__ import annotations

import os

from minirun import jsoncodec
from minirun.errors import MinirunError, from_data
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: How many at once, as in Docker's client.
WIDTH = 50


def together(act: Callable[[str], object], words: list[str]) -> Iterator[object]:
    """The outcome for each word, in their order: None, or the MinirunError that `act(word)` raised."""
    for first in range(0, len(words), WIDTH):
        children = [_start(act, word) for word in words[first : first + WIDTH]]
        for pid, fd in children:
            yield _outcome(pid, fd)


def _start(act: Callable[[str], object], word: str) -> tuple[int, int]:
    reading, writing = os.pipe()  # close-on-exec, so that no program that the child starts keeps it open
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    code = 1
    try:
        os.close(reading)
        try:
            act(word)
        except MinirunError as error:
            os.write(writing, jsoncodec.dumps(error.to_data()).encode())
        except Exception as error:  # noqa: BLE001 (the last net: it is told, not swallowed)
            told = MinirunError(f"{type(error).__name__}: {error}", hint="this is a mistake in minirun itself")
            os.write(writing, jsoncodec.dumps(told.to_data()).encode())
        code = 0
    finally:
        os._exit(code)  # never back into the code of the parent, whose output is still buffered here


def _outcome(pid: int, fd: int) -> MinirunError | None:
    data = b""
    while piece := os.read(fd, 65536):
        data += piece
    os.close(fd)
    _, status = os.waitpid(pid, 0)
    if data:
        return from_data(jsoncodec.loads(data.decode()))  # type: ignore[arg-type]
    if status:
        return MinirunError(f"the helper process ended with {os.waitstatus_to_exitcode(status)}")
    return None
