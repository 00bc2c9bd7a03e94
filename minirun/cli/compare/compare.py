"""`compare`: two containers side by side, as the kernel sees them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from minirun.cli import commands
from minirun.cli.compare import text
from minirun.cli.format.json import pretty
from minirun.cli.parser.grammar import Option, Options, ValueType, Verb
from minirun.cli.parser.types import BOOL
from minirun.cli.run import run
from minirun.errors import UsageError

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon

#: In the order of `minirun.lecture.compare.snapshot.TOPICS`, which takes long to load.
TOPICS = (
    "links",
    "addresses",
    "routes",
    "neighbours",
    "ports",
    "rules",
    "sysctls",
    "files",
    "namespaces",
    "mounts",
    "rights",
    "limits",
)


def topics(value: str) -> list[str]:
    """ "links,rules" as a list."""
    words = value.split(",")
    for word in words:
        if word not in TOPICS:
            raise ValueError(f"no such topic: expected some of {', '.join(TOPICS)}")
    return words


def compare(daemon: Daemon, options: Options) -> int:
    """Take a snapshot of two targets, compare them and print the result. Returns: 0 when all is equal, else 1."""
    chosen = options.words("only") or list(TOPICS)
    if options.flag("run"):
        a, b = _twins(daemon, options.words("words"), chosen)
    else:
        if len(options.words("words")) != 2:
            raise UsageError(f'"minirun compare" requires two things to compare, not {len(options.words("words"))}')
        from minirun.lecture.compare import snapshot, target

        targets = [target.find(daemon, word) for word in options.words("words")]
        a, b = (snapshot.take(one, chosen) for one in targets)
    return show(a, b, options)


def show(a: dict, b: dict, options: Options) -> int:
    """Compare two snapshots and print the result: as JSON, as tables on a terminal, as text in a pipe."""
    from minirun.lecture.compare import diff as lecture

    found = lecture.compare(a, b)
    equal = lecture.are_equal(found)
    words = (a["about"]["word"], b["about"]["word"])
    if options.flag("json"):
        print(pretty(text.as_data(words, found, everything=options.flag("all"))))
    elif sys.stdout.isatty():
        from minirun.cli.compare import table

        table.show(words, found, everything=options.flag("all"))
    else:
        print("\n".join(text.lines(words, found, everything=options.flag("all"))))
    return 0 if equal else 1


def _twins(daemon: Daemon, words: list[str], chosen: list[str]) -> tuple[dict, dict]:
    from minirun.cli.parser import click_adapter, grammar
    from minirun.lecture.compare import run_both

    verb = commands.load("run")
    options = grammar.read(verb, words) or click_adapter.read_verb(verb, words)  # which finds words for what is wrong
    return run_both.snapshot_both(daemon, words, run.create_options(options), chosen)


HELP = """\
Show what is different in two containers, as the kernel has them, and why

A and B are minirun:NAME, docker:NAME, pid:N or host. Names that must differ
are taken for equal: ids, the cable, docker0 and minirun0, the subnet.

With --run the same container is started with Docker and with minirun, one
after the other, and removed again. The words after it are those of `run`.

The exit code is 0 when nothing is different, 1 when something is, and 125
when one of the two could not be looked at."""
TOPIC_LIST = ValueType("list", topics, empty=list, gather=list.extend, choices=TOPICS)
#: A switch that ends compare's own options: what follows belongs to `run`.
RUN = ValueType("", BOOL.read, empty=bool, ends_options=True)
VERBS = {
    "compare": Verb(
        "compare",
        "Show what is different in two containers, and why",
        "[OPTIONS] A B\n        minirun compare [OPTIONS] --run [RUN OPTIONS] IMAGE [COMMAND] [ARG...]",
        compare,
        takes=("words*",),
        help=HELP,
        options=(
            Option("all", BOOL, "Show what is the same too", short="a"),
            Option("json", BOOL, "Print the result as JSON"),
            Option("only", TOPIC_LIST, f"Compare some topics only, with commas between: {', '.join(TOPICS)}"),
            Option("run", RUN, "Start the same container with Docker and with minirun"),
        ),
    ),
}
