"""The court of the twin test: a host with a real dockerd and one with minirun, kept from scenario to scenario."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from court import Court, Scenario
from engines import Docker, Minirun, begin, missing


class Courts:
    """Opens courts: `opened(scenario)`. The last one serves the next scenario, cleared, if that wants no other."""

    def __init__(self, scratch: Path, archive: Path, store: Path, program: list[str]) -> None:
        self.scratch, self.archive, self.store, self.program = scratch, archive, store, program
        self.court: Court | None = None
        self.number = 0
        self.hosts = contextlib.ExitStack()

    @contextlib.contextmanager
    def opened(self, scenario: Scenario) -> Iterator[Court]:
        """The two hosts for a scenario. When it fails they are closed: what they are in by then is nobody's affair."""
        own = bool(scenario.fresh or scenario.before or scenario.settings)
        if own or self.court is None:
            self.close()
            self.court = self._open(scenario.settings or {}, scenario.before)
        if not own and not self.court.used:
            self.court.both("the first start", lambda twin: begin(twin, *twin.words, "run", "--rm", "alpine", "true"))
        try:
            yield self.court
            if own:
                self.close()
            else:
                for twin in self.court.twins:
                    twin.clear()
        except BaseException:
            self.close()
            raise

    def _open(self, settings: dict, before: str) -> Court:
        self.number += 1
        docker = Docker(self.scratch / "docker", self.archive, settings, before)
        minirun = Minirun(self.program, self.scratch / f"minirun-{self.number}", self.store, settings, before)
        return Court(self.hosts.enter_context(docker), self.hosts.enter_context(minirun))

    def close(self) -> None:
        """End both hosts, with all that is in them."""
        self.court = None
        self.hosts.close()


@pytest.fixture(scope="session")
def courts(_scratch: Path, alpine_tar: Path, image_store: Path, minirun_command: list[str]) -> Iterator[Courts]:
    """The courts of this run."""
    if missing():
        pytest.skip(f"needs {missing()}: apt-get install docker.io")
    opened = Courts(_scratch, alpine_tar, image_store, minirun_command)
    yield opened
    opened.close()
