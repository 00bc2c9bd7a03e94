"""A scenario of the twin test: the steps that are done in both hosts, as text.

One step in a line, in Docker's words:

    run -d --name c1 alpine sleep 600    a command of the engine; exit code, output and errors are compared
    host $ iptables -S DOCKER-USER       a command of a shell on the host; docker0 and DOCKER... mean ours as well
    outside $ talk 203.0.113.1 8080      likewise, in the outside world; talk is one of our tools
    c1 $ ping -c 1 172.17.0.1            likewise, in the network namespace of a container, with the host's tools
    look                                 everything is compared: see `network_state`
    look at rules in any order           likewise, where Docker itself makes them once in this, once in that order
    restart the engine                   dockerd is stopped and started again; minirun reloads its networks

At the end of each scenario stands a look, whether it is written there or not.
"""

from __future__ import annotations

from typing import NamedTuple

from harness.twin.differences import Difference

RESTART = "restart the engine"


class Scenario(NamedTuple):
    """What is done in both hosts; `meant`, the differences that have a reason.

    On hosts of its own: `first` (bool), dockerd was just started, and minirun was not used at all; `before`, a shell
    script for a host that is to be found in another state; `settings` (dict) of the engine itself, with the keys of
    dockerd's daemon.json.
    """

    name: str
    steps: str
    meant: tuple[Difference, ...] = ()
    first: bool = False
    before: str = ""
    settings: dict | None = None

    def on_its_own(self) -> bool:
        """Whether it wants hosts of its own: it finds them or leaves them in another state than the next one wants."""
        return bool(self.first or self.before or self.settings or RESTART in self.lines())

    def lines(self) -> list[str]:
        """The steps, the last of which is a look."""
        steps = [line.strip() for line in self.steps.replace("\\\n", " ").strip().splitlines()]
        steps = [step for step in steps if step and not step.startswith("#")]
        return steps if steps[-1].startswith("look") else [*steps, "look"]
