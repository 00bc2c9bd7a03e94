"""Two hosts, one with a real dockerd and one with minirun: a scenario is done in both at the same time and compared."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Callable

from harness.twin.canonical import WORDS, canonical
from harness.twin.differences import Difference, differences
from harness.twin.engines import Docker, Done, Minirun, Twin, begin, finish
from harness.twin.network_state import Section, begin_look, finish_look
from harness.twin.scenario import RESTART, Scenario

#: Seconds that the kernel and the engines have to come to rest before a look counts.
PATIENCE = 4


class HostPair:
    """The two hosts, and what has happened in them in this scenario."""

    def __init__(self, docker: Twin, minirun: Twin) -> None:
        self.twins = (docker, minirun)
        self.transcripts: tuple[list[Section], list[Section]] = ([], [])

    def run(self, scenario: Scenario) -> list[str]:
        """Do all steps. Returns: what differs and is not meant to."""
        self.transcripts = ([], [])
        for number, step in enumerate(scenario.lines(), 1):
            if step.startswith("look"):
                self.look(f"look {number}", scenario.meant, ordered=step == "look")
            elif step == RESTART:
                for twin in self.twins:
                    twin.restart()
            else:
                self.both(f"{number} $ {step}", lambda twin, step=step: self.command(twin, step))
        return self.compare(scenario.meant)

    def look(self, title: str, meant: tuple[Difference, ...] = (), *, ordered: bool = True) -> None:
        """Look at both hosts, again and again for a while if they differ: the kernel takes things down at leisure."""
        deadline, tries, starts = time.monotonic() + PATIENCE, 0, [len(sections) for sections in self.transcripts]
        while True:
            begun = [begin_look(twin, title) for twin in self.twins]
            for sections, start, one in zip(self.transcripts, starts, begun, strict=True):
                seen = finish_look(one)
                sections[start:] = seen if ordered else map(without_order, seen)
            tries += 1
            if not self.compare(meant, starts) or (time.monotonic() > deadline and tries > 3):
                return
            time.sleep(0.1)

    def compare(self, meant: tuple[Difference, ...] = (), starts: list[int] | None = None) -> list[str]:
        """What differs in all that has been said and seen so far, or from these two sections on."""
        words = [WORDS if isinstance(twin, Docker) else () for twin in self.twins]
        docker, minirun = map(canonical, self.transcripts, words, starts or (0, 0))
        return differences(docker, minirun, meant, all_of_it=not starts)

    def both(self, title: str, start: Callable[[Twin], subprocess.Popen]) -> None:
        """Begin a command on both sides, wait for both, and write down what they said."""
        for sections, process in zip(self.transcripts, [start(twin) for twin in self.twins], strict=True):
            sections += said(title, finish(process))

    def command(self, twin: Twin, step: str) -> subprocess.Popen:
        """Begin the command of one step in one host."""
        place, dollar, script = step.partition(" $ ")
        if not dollar:
            return begin(twin, *twin.words, *shlex.split(step))
        if isinstance(twin, Minirun):
            script = in_our_words(script)
        if place == "host":
            return begin(twin, "sh", "-c", script)
        find = (
            "cat /run/outside.pid"
            if place == "outside"
            else (f"{shlex.join(twin.words)} inspect -f '{{{{.State.Pid}}}}' {place}")
        )
        return begin(twin, "sh", "-c", f'exec nsenter --net=/proc/$({find})/ns/net sh -c "$0"', script)


def without_order(section: Section) -> Section:
    """The section; if it is a list of rules, one whose order does not count."""
    return section._replace(form="set") if "tables -t " in section.title else section


def said(title: str, done: Done) -> list[Section]:
    """What a command has said, as sections of a transcript."""
    return [
        Section(f"{title}: exit code", "lines", str(done.code)),
        Section(f"{title}: output", "lines", done.out),
        Section(f"{title}: errors", "lines", done.err),
    ]


def in_our_words(script: str) -> str:
    """A shell script in which docker0 and DOCKER's chains have the names that minirun gives them."""
    for pattern, ours in WORDS:
        script = re.sub(pattern, ours, script)
    return script
