"""The bench's results as a table with a verdict."""

from __future__ import annotations

from statistics import median


class Table:
    """The results: `add` one line, `text` all of them."""

    HEAD = ("", "minirun", "rival", "ratio", "goal", "")

    def __init__(self) -> None:
        self.lines: list[tuple[str, ...]] = [self.HEAD]
        self.notes: list[str] = []

    def add(self, what: str, ours: list[float], theirs: list[float], *, unit: str = "ms", goal: float = 0) -> None:
        """One comparison. Arguments: the measurements, paired; goal, the ratio not to be exceeded, 0 for none."""
        ratio = median(mine / other for mine, other in zip(ours, theirs, strict=True))
        cells = (f"{median(ours):.1f} {unit}", f"{median(theirs):.1f} {unit}", f"{ratio:.2f}")
        self._line(what, cells, ratio, goal, "")

    def add_rate(self, what: str, ours: list[float], theirs: list[float], *, unit: str, goal: float) -> None:
        """One comparison in which more is better: the best of each, since what else the machine does only takes away.

        Arguments: goal, the ratio that must be reached.
        """
        ratio = max(ours) / max(theirs)
        self.lines.append(
            (
                what,
                f"{max(ours):.1f} {unit}",
                f"{max(theirs):.1f} {unit}",
                f"{ratio:.2f}",
                f"≥ {goal:g}",
                "met" if ratio >= goal else "NOT MET",
            )
        )

    def add_limit(self, what: str, ours: list[float], theirs: list[float], *, unit: str, goal: float) -> None:
        """One measurement with a limit of its own, with or without a rival."""
        value = median(ours)
        rival = f"{median(theirs):.2f} {unit}" if theirs else "-"
        ratio = f"{value / median(theirs):.2f}" if theirs else "-"
        self._line(what, (f"{value:.2f} {unit}", rival, ratio), value, goal, f" {unit}")

    def _line(self, what: str, cells: tuple[str, ...], value: float, goal: float, unit: str) -> None:
        verdict = ("met" if value <= goal else "NOT MET") if goal else ""
        self.lines.append((what, *cells, f"≤ {goal:g}{unit}" if goal else "", verdict))

    def text(self) -> str:
        """The table, and what is to be said about it."""
        widths = [max(map(len, column)) for column in zip(*self.lines, strict=True)]
        rows = []
        for line in self.lines:
            cells = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
            cells[0], cells[-1] = line[0].ljust(widths[0]), line[-1]
            rows.append("  ".join(cells).rstrip())
        return "\n".join([*rows, "", *self.notes]) + "\n"
