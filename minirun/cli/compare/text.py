"""The result of a comparison as plain text, a line for each finding, and as data for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minirun.lecture.compare.finding import DIFFERENT, ONLY_A, ONLY_B, SAME

if TYPE_CHECKING:
    from minirun.lecture.compare.finding import Finding

#: How a verdict begins its line, as in diff --side-by-side.
MARKS = {SAME: "=", DIFFERENT: "|", ONLY_A: "<", ONLY_B: ">"}
LONGEST = 160  # characters of a text
WIDEST = 44  # characters of a column; what is longer pushes the rest to the right


def counts(findings: list[Finding]) -> dict[str, int]:
    """Verdict → how many."""
    return {verdict: sum(finding.verdict == verdict for finding in findings) for verdict in MARKS}


def tally(findings: list[Finding], words: tuple[str, str]) -> str:
    """The counts in words: "12 the same, 1 different, 2 only in docker:web"."""
    names = {SAME: "the same", DIFFERENT: "different", ONLY_A: f"only in {words[0]}", ONLY_B: f"only in {words[1]}"}
    numbers = counts(findings)
    return ", ".join(f"{numbers[verdict]} {name}" for verdict, name in names.items() if numbers[verdict]) or "nothing"


def subject_of(finding: Finding) -> str:
    """What a line is about: "eth0 mtu"."""
    return f"{finding.name} {finding.aspect}".strip().removesuffix(" =").removesuffix(" is")


def shown(findings: list[Finding], everything: bool) -> list[Finding]:
    """The findings that are worth a line."""
    return [finding for finding in findings if everything or finding.verdict != SAME]


def short(text: str, everything: bool) -> str:
    """A link that is on one side only has forty properties: the first of them will do, unless all was asked for."""
    return text if everything or len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def lines(words: tuple[str, str], found: dict[str, list[Finding]], *, everything: bool) -> list[str]:
    """The page. Arguments: words, A and B as they were typed; everything (bool), also what is the same."""
    page = [f"A = {words[0]}", f"B = {words[1]}"]
    for topic, findings in found.items():
        page.append(f"{topic}: {tally(findings, words)}")
        rows = [
            (
                MARKS[finding.verdict],
                subject_of(finding),
                short(finding.a, everything) or "-",
                short(finding.b, everything) or "-",
                f"# {finding.reason}" if finding.reason else "",
            )
            for finding in shown(findings, everything)
        ]
        widths = [min(WIDEST, max(len(row[column]) for row in rows)) for column in range(4)] if rows else []
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths)]
            page.append(f"  {cells[0]} {'  '.join(cells[1:])}  {row[4]}".rstrip())
    page.append(summary(words, found))
    return page


def summary(words: tuple[str, str], found: dict[str, list[Finding]]) -> str:
    """The last line."""
    everything = [finding for findings in found.values() for finding in findings]
    equal = all(finding.verdict == SAME for finding in everything)
    return f"{'equal' if equal else 'not equal'}: {tally(everything, words)}"


def as_data(words: tuple[str, str], found: dict[str, list[Finding]], *, everything: bool) -> dict:
    """For JSON: {"A", "B", "equal", "topics": {topic: {"same": 40, "findings": [...]}}}."""
    return {
        "A": words[0],
        "B": words[1],
        "equal": all(finding.verdict == SAME for findings in found.values() for finding in findings),
        "topics": {
            topic: {
                "same": counts(findings)[SAME],
                "findings": [finding.as_data() for finding in shown(findings, everything)],
            }
            for topic, findings in found.items()
        },
    }
