"""Columns as Docker prints them: Go's text/tabwriter with a least width of 10, three spaces between, no lines.

A cell ends with a tab; what stands behind the last tab of a line is not padded. A column is a run of neighbouring
lines that all have a cell there: a line without one ends it, and what follows is measured anew.
"""

from __future__ import annotations

LEAST = 10
PADDING = 3


def table(rows: list[list[str]], *, least: int = LEAST, padding: int = PADDING) -> str:
    """The rows as text, a line for each.

    Arguments: rows (list of lists of str), the last cell of each is not padded; least (int), the smallest width of a
    column with its padding; padding (int), blanks between columns.
    """
    widths = [[0] * (len(row) - 1) for row in rows]
    for column in range(max(map(len, widths), default=0)):
        start = 0
        while start < len(rows):
            if len(widths[start]) <= column:
                start += 1
                continue
            end = start
            width = least
            while end < len(rows) and len(widths[end]) > column:
                width = max(width, len(rows[end][column]) + padding)
                end += 1
            for row in range(start, end):
                widths[row][column] = width
            start = end
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(row, wide)) + row[-1] + "\n" for row, wide in zip(rows, widths)
    )


def from_text(text: str) -> str:
    """The same for text with tabs in it, as a template makes it."""
    return table([line.split("\t") for line in text.removesuffix("\n").split("\n")]) if text else ""
