"""The result of a comparison on a terminal: A on the left, B on the right, as wide as the terminal is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minirun.cli.compare.text import MARKS, short, shown, subject_of, summary, tally
from minirun.lecture.compare.finding import DIFFERENT, ONLY_A, ONLY_B, SAME

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from minirun.lecture.compare.finding import Finding

STYLES = {SAME: "dim", DIFFERENT: "bold yellow", ONLY_A: "bold red", ONLY_B: "bold green"}


def show(
    words: tuple[str, str], found: dict[str, list[Finding]], *, everything: bool, console: Console | None = None
) -> None:
    """Print the tables, one for each topic that has something to show, and the last line."""
    from rich.console import Console

    console = console or Console(highlight=False)
    for topic, findings in found.items():
        chosen = shown(findings, everything)
        console.print(f"[bold]{topic}[/bold]: ", end="")
        console.print(tally(findings, words), markup=False)
        if chosen:
            console.print(table(words, chosen, everything=everything))
    console.print(summary(words, found), markup=False, style="bold")


def table(words: tuple[str, str], findings: list[Finding], *, everything: bool) -> Table:
    """One topic side by side; content of a container's files is shown as text, never read as rich's markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False)
    grid.add_column("")
    grid.add_column("", ratio=3)
    grid.add_column(Text(words[0]), ratio=4)
    grid.add_column(Text(words[1]), ratio=4)
    grid.add_column("why", ratio=4, style="dim")
    for finding in findings:
        style = STYLES[finding.verdict]
        cells = [
            Text(text, style)
            for text in (
                MARKS[finding.verdict],
                subject_of(finding),
                short(finding.a, everything),
                short(finding.b, everything),
            )
        ]
        grid.add_row(*cells, Text(finding.reason))
    return grid
