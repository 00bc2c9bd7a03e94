"""`logs`: a container's log, its standard output to ours and its standard error to ours."""

from __future__ import annotations

import os

from minirun.cli.parser.grammar import Option, Options, Verb
from minirun.cli.parser.types import BOOL, STRING
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon


def logs(daemon: Daemon, options: Options) -> int:
    """Fetch the logs of a container."""
    from minirun.engine.container import index
    from minirun.engine.shim import logs as log

    container = index.find(daemon, options.text("container"))
    to = {"stdout": 1, "stderr": 2}
    waiting: list[bytes] = []
    before = size = 0
    config = log.ReadConfig(
        tail=options.text("tail"),
        since=options.text("since"),
        until=options.text("until"),
        timestamps=options.flag("timestamps"),
        details=options.flag("details"),
    )
    for stream, text in log.read(container, config, follow=options.flag("follow")):
        # Records go out many at a time; with --follow, which may wait for the next one, each by itself.
        if waiting and (to[stream] != before or size > 65536):
            write(before, b"".join(waiting))
            waiting, size = [], 0
        before = to[stream]
        if options.flag("follow"):
            write(before, text)
            continue
        waiting.append(text)
        size += len(text)
    write(before, b"".join(waiting))
    return 0


def write(fd: int, data: bytes) -> None:
    """Write all of `data` to a descriptor."""
    while data:
        data = data[os.write(fd, data) :]


VERBS = {
    "logs": Verb(
        "logs",
        "Fetch the logs of a container",
        "[OPTIONS] CONTAINER",
        logs,
        takes=("container",),
        options=(
            Option("details", BOOL, "Show extra details provided to logs"),
            Option("follow", BOOL, "Follow log output", short="f"),
            Option(
                "since",
                STRING,
                "Show logs since timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)",
            ),
            Option(
                "tail",
                STRING,
                "Number of lines to show from the end of the logs",
                short="n",
                default="all",
                shown='"all"',
            ),
            Option("timestamps", BOOL, "Show timestamps", short="t"),
            Option(
                "until",
                STRING,
                "Show logs before a timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)",
            ),
        ),
    ),
}
