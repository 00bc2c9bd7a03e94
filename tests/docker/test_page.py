"""docs/twin.md says what the twin test does."""

from __future__ import annotations

from pathlib import Path

from harness.twin.docs_page import page


def test_the_page_is_made_of_the_scenarios():
    where = Path(__file__).parents[2] / "docs" / "twin.md"
    assert where.read_text() == page(), "make twin-page"
