"""Two canonical transcripts compared line by line, less the differences that are known and meant."""

from __future__ import annotations

import difflib
import re
from typing import NamedTuple

Canonical = list[tuple[str, list[str]]]
MANY = 15


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
            for pattern, lines in ((self.docker, docker), (self.minirun, minirun))
        )


def differences(
    docker: Canonical, minirun: Canonical, meant: tuple[Difference, ...] = (), *, all_of_it: bool = True
) -> list[str]:
    """What differs and is not meant to, as lines to read; empty when the two are equal.

    A difference that is meant and was not found is one too if this is all of a scenario: the list is out of date.
    """
    theirs, ours = dict(docker), dict(minirun)
    assert (len(theirs), len(ours)) == (len(docker), len(minirun)), "two sections have one title"
    found = [
        f"== only on {side}: {title}"
        for side, one, other in (("docker", theirs, ours), ("minirun", ours, theirs))
        for title in one
        if title not in other
    ]
    seen: set[Difference] = set()
    for title, lines in docker:
        for left, right in _hunks(lines, ours[title]) if lines != ours.get(title, lines) else ():
            covering = next((one for one in meant if one.covers(title, left, right)), None)
            if covering:
                seen.add(covering)
            else:
                found += [f"== {title}", *_shown("-", left), *_shown("+", right)]
    return found + [f"meant, but not found: {one}" for one in meant if all_of_it and one not in seen]


def _hunks(left: list[str], right: list[str]) -> list[tuple[list[str], list[str]]]:
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    return [(left[a:b], right[c:d]) for tag, a, b, c, d in matcher.get_opcodes() if tag != "equal"]


def _shown(sign: str, lines: list[str]) -> list[str]:
    """The lines of one side, with a sign; of many only the first."""
    more = [f"{sign} ... and {len(lines) - MANY} more"] if len(lines) > MANY else []
    return [f"{sign} {line}" for line in lines[:MANY]] + more
