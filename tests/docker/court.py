"""One scenario, done in both hosts at the same time; what was said and seen, from both.

A scenario is text, one step in a line, in Docker's words:

    run -d --name c1 alpine sleep 600    a command of the engine; exit code, output and errors are compared
    host $ iptables -S DOCKER-USER       a command of a shell on the host; docker0 and DOCKER... mean ours as well
    outside $ nc -z 203.0.113.1 8080     likewise, in the outside world
    c1 $ ping -c 1 172.17.0.1            likewise, in the network namespace of a container, with the host's tools
    look                                 everything is compared: see `looking`
    restart the engine                   dockerd is stopped and started again; minirun reloads its networks

At the end of each scenario stands a look, whether it is written there or not.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Callable
from typing import NamedTuple

from canonical import WORDS, canonical
from engines import Docker, Done, Minirun, Twin, begin, finish
from looking import Section, begin_look, finish_look
from verdict import Canonical, Difference, differences

#: Seconds that the kernel and the engines have to come to rest before a look counts.
PATIENCE = 4


class Scenario(NamedTuple):
    """What is done in both hosts; `meant`, the differences that have a reason; `waits`, for what minirun lacks yet.

    On hosts of its own, on which no engine has ever been: `fresh` (bool); `before`, a shell script for a host that is
    to be found in another state; `settings` (dict) of the engine itself, with the keys of dockerd's daemon.json.
    """

    name: str
    steps: str
    meant: tuple[Difference, ...] = ()
    fresh: bool = False
    before: str = ""
    settings: dict | None = None
    waits: str = ""

    def lines(self) -> list[str]:
        """The steps, the last of which is a look."""
        steps = [line.strip() for line in self.steps.replace("\\\n", " ").strip().splitlines()]
        steps = [step for step in steps if step and not step.startswith("#")]
        return steps if steps[-1] == "look" else [*steps, "look"]


class Court:
    """The two hosts, and what has happened in them in this scenario."""

    def __init__(self, docker: Docker, minirun: Minirun) -> None:
        self.twins: tuple[Twin, Twin] = (docker, minirun)
        self.transcripts: tuple[list[Section], list[Section]] = ([], [])
        self.used = False  # whether there has been a scenario before

    def hear(self, scenario: Scenario) -> list[str]:
        """Do all steps. Returns: what differs and is not meant to."""
        self.transcripts, self.used = ([], []), True
        for number, step in enumerate(scenario.lines(), 1):
            if step == "look":
                found = self.look(f"look {number}", scenario.meant)
            elif step == "restart the engine":
                for twin in self.twins:
                    twin.restart()
            else:
                self.both(f"{number} $ {step}", lambda twin, step=step: self.command(twin, step))
        return found

    def look(self, title: str, meant: tuple[Difference, ...] = ()) -> list[str]:
        """Look at both hosts, again and again for a while if they differ: the kernel takes things down at leisure."""
        deadline = time.monotonic() + PATIENCE
        before = tuple(map(list, self.transcripts))
        while True:
            for twin_sections, old, begun in zip(
                    self.transcripts, before, [begin_look(twin, title) for twin in self.twins], strict=True):
                twin_sections[:] = [*old, *finish_look(begun)]
            found = self.compare(meant)
            here = [line for line in found if not line.startswith("meant,")]
            if not here or time.monotonic() > deadline:
                return found
            time.sleep(0.1)

    def compare(self, meant: tuple[Difference, ...] = ()) -> list[str]:
        """What differs in all that has been said and seen so far."""
        return differences(*self.canonical(), meant)

    def canonical(self) -> tuple[Canonical, Canonical]:
        """Both transcripts, made comparable."""
        docker, minirun = self.transcripts
        return canonical(docker, WORDS), canonical(minirun)

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
        if place == "outside":
            pid = twin.sh("cat /run/outside.pid")
        else:
            pid = twin.sh(f"{' '.join(twin.words)} inspect -f '{{{{.State.Pid}}}}' {place}").strip()
        return begin(twin, "nsenter", f"--net=/proc/{pid}/ns/net", "sh", "-c", script)


def said(title: str, done: Done) -> list[Section]:
    """What a command has said, as sections of a transcript."""
    return [Section(f"{title}: exit code", "lines", str(done.code)), Section(f"{title}: output", "lines", done.out),
            Section(f"{title}: errors", "lines", done.err)]


def in_our_words(script: str) -> str:
    """A shell script in which docker0 and DOCKER's chains have the names that minirun gives them."""
    for pattern, ours in WORDS:
        script = re.sub(pattern, ours, script)
    return script
