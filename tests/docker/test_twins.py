"""The twin test: minirun against a real dockerd, line by line."""

from __future__ import annotations

import pytest

from harness.twin.scenarios import SCENARIOS, Scenario

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timing("both hosts must have come to rest within the 4 s for which a look is repeated"),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_twins(scenario: Scenario, courts) -> None:
    """The same steps, the same result."""
    if courts.of_itself:
        scenario = scenario._replace(meant=())
    with courts.opened(scenario) as court:
        found = court.hear(scenario)
        assert not found, "\n" + "\n".join(found)
