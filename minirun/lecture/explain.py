"""`minirun --explain VERB ...`: what is done, stage by stage, with the shell line that would do the same.

A listener on `trace`, inherited by all processes that take part. Each line is one write(2) to the same open file, so
the lines of several processes stand in the order in which things happened, and none is broken by another. In front of
each stands the side of the wall on which it happens:

    host        the command that was typed
    monitor     the process that stays with the container, still on the host
    container   the container's own process, from its first breath to execve
"""

from __future__ import annotations

import os

from minirun import trace


def attach(fd: int = 2) -> None:
    """Print to `fd` what is done from now on, by this process and by those that it begins."""
    copy = os.dup(fd)  # close-on-exec; and the container's own standard error will soon be another
    colour = os.isatty(copy)

    def listener(kind: str, text: str, line: str) -> None:
        if kind == "step":
            shown = f"\033[1m{text}\033[0m" if colour else text
            os.write(copy, f"{trace.side:<10}{shown}\n".encode("utf-8", "surrogateescape"))
        else:
            comment = f"\033[2m# {text}\033[0m" if colour else f"# {text}"
            os.write(copy, f"{trace.side:<10}    {line}   {comment}\n".encode("utf-8", "surrogateescape"))

    trace.listen(listener, copy)
