"""The scenarios: what is done with Docker and with minirun, in the same words, and must come out the same."""

from __future__ import annotations

from harness.twin.scenario import Scenario
from harness.twin.scenarios import bridge, mistakes, names, networks, ports, settings

GROUPS = {
    "The default bridge": bridge.SCENARIOS,
    "Published ports": ports.SCENARIOS,
    "Networks of one's own": networks.SCENARIOS,
    "Names": names.SCENARIOS,
    "Settings of the engine": settings.SCENARIOS,
    "Bad input": mistakes.SCENARIOS,
}
SCENARIOS = tuple(scenario for group in GROUPS.values() for scenario in group)
__all__ = ["GROUPS", "SCENARIOS", "Scenario"]
