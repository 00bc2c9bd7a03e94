"""docs/glossary.md: every row has its four cells, every module that it names exists, and no term stands there twice."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in GLOSSARY.splitlines()
    if line.startswith("| ") and not line.startswith(("| term", "| ---"))
]


def test_every_row_has_a_term_a_line_a_source_and_a_module() -> None:
    assert len(ROWS) > 60
    assert [row for row in ROWS if len(row) != 4 or not all(row)] == []


def test_the_modules_exist() -> None:
    named = {row[0]: re.fullmatch(r"`([\w/]+\.py)`", row[3]) for row in ROWS}
    assert [term for term, match in named.items() if not match or not (ROOT / "minirun" / match[1]).is_file()] == []


def test_no_term_twice() -> None:
    terms = [row[0].lower() for row in ROWS]
    assert sorted(terms) == sorted(set(terms))
