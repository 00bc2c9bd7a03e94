"""The verdict: two canonical transcripts, line by line, and the differences that are known and meant."""

from __future__ import annotations

import difflib
import re
from typing import NamedTuple

Canonical = list[tuple[str, list[str]]]


class Difference(NamedTuple):
    """A difference that is meant: lines of Docker's that stand where lines of ours stand.

    where, docker, minirun: regular expressions for the title of the section, and for each whole line on each side (""
    for a side that has no such line); why, the reason, for the page that a user reads.
    """

    where: str
    docker: str
    minirun: str
    why: str

    def covers(self, title: str, docker: list[str], minirun: list[str]) -> bool:
        """Whether this is the whole difference between the lines of one place."""
        return bool(re.search(self.where, title)) and all(
            bool(lines) == bool(pattern) and all(re.fullmatch(pattern, line) for line in lines)
            for pattern, lines in ((self.docker, docker), (self.minirun, minirun)))


def differences(docker: Canonical, minirun: Canonical, meant: tuple[Difference, ...] = ()) -> list[str]:
    """What differs and is not meant to, as lines to read; empty when the two are equal.

    A difference that is meant and was not found is one too: the list of them would be out of date.
    """
    found: list[str] = []
    seen: set[Difference] = set()
    if [title for title, _ in docker] != [title for title, _ in minirun]:
        return ["not the same sections:", *_diff([title for title, _ in docker], [title for title, _ in minirun])]
    for (title, theirs), (_, ours) in zip(docker, minirun, strict=True):
        for left, right in _hunks(theirs, ours):
            covering = next((one for one in meant if one.covers(title, left, right)), None)
            if covering:
                seen.add(covering)
            else:
                found += [f"== {title}", *(f"- {line}" for line in left), *(f"+ {line}" for line in right)]
    return found + [f"meant, but not found: {one}" for one in meant if one not in seen]


def _hunks(left: list[str], right: list[str]) -> list[tuple[list[str], list[str]]]:
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    return [(left[a:b], right[c:d]) for tag, a, b, c, d in matcher.get_opcodes() if tag != "equal"]


def _diff(left: list[str], right: list[str]) -> list[str]:
    return list(difflib.unified_diff(left, right, "docker", "minirun", lineterm="", n=1))
