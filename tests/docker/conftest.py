"""The hosts of the twin test: one with a real dockerd, one with minirun, kept from scenario to scenario."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.twin.engines import Docker, Minirun, Twin, missing
from harness.twin.host_pair import HostPair
from harness.twin.scenario import Scenario


class HostPairs:
    """Makes pairs of hosts: `opened(scenario)`. The last pair serves the next scenario, cleared, if that wants no other."""

    def __init__(self, scratch: Path, archive: Path, store: Path, program: list[str]) -> None:
        self.scratch, self.archive, self.store, self.program = scratch, archive, store, program
        self.pair: HostPair | None = None
        self.number = 0
        self.hosts = contextlib.ExitStack()
        self.of_itself = os.environ.get("MINIRUN_TWIN") == "docker"

    @contextlib.contextmanager
    def opened(self, scenario: Scenario) -> Iterator[HostPair]:
        """The two hosts for a scenario. When it fails they are closed: their state is unknown by then."""
        own = scenario.on_its_own()
        if own or self.pair is None:
            self.close()
            self.pair = self._open(scenario)
        try:
            yield self.pair
            if own:
                self.close()
            else:
                for twin in self.pair.twins:
                    twin.clear()
        except BaseException:
            self.close()
            raise

    def _open(self, scenario: Scenario) -> HostPair:
        self.number += 1
        settings = scenario.settings or {}
        # As in minirun, containers do not depend on a daemon: they live on while it is started again.
        docker = Docker(self.scratch / "docker", self.archive, {"live-restore": True, **settings}, scenario.before)
        if self.of_itself:  # Docker against itself: a difference is a mistake of the comparison, or Docker varies
            other: Twin = Docker(self.scratch / "other-docker", self.archive, docker.settings, scenario.before)
        else:
            other = Minirun(
                self.program,
                self.scratch / f"minirun-{self.number}",
                self.store,
                settings,
                scenario.before,
                untouched=scenario.first,
            )
        twins = [self.hosts.enter_context(twin) for twin in (docker, other)]
        return HostPair(*twins)

    def close(self) -> None:
        """End both hosts, with all that is in them."""
        self.pair = None
        self.hosts.close()

    @contextlib.contextmanager
    def opened_for_images(self, name: str) -> Iterator[HostPair]:
        """Two hosts of one's own, whose images nobody gets afterwards: Docker's data root goes from host to host."""
        self.close()
        try:
            with self.opened(Scenario(name, "", first=True)) as pair:
                yield pair
        finally:
            self.close()
            shutil.rmtree(self.scratch / "docker", ignore_errors=True)


@pytest.fixture(scope="session")
def host_pairs(_scratch: Path, alpine_tar: Path, image_store: Path, minirun_command: list[str]) -> Iterator[HostPairs]:
    """The pairs of hosts of this run."""
    if missing():
        pytest.skip(f"needs {missing()}: apt-get install docker.io")
    opened = HostPairs(_scratch, alpine_tar, image_store, minirun_command)
    yield opened
    opened.close()
