"""The twin test: minirun against a real dockerd, line by line."""

from __future__ import annotations

import pytest

from harness.twin.scenarios import SCENARIOS, Scenario

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timing("both engines must say the same age in seconds, and come to rest within 4 s"),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_twins(scenario: Scenario, host_pairs) -> None:
    """The same steps, the same result."""
    if host_pairs.of_itself:
        scenario = scenario._replace(meant=())
    with host_pairs.opened(scenario) as pair:
        found = pair.run(scenario)
        assert not found, "\n" + "\n".join(found)
