"""The differences of two snapshots: what is the same, what is different, what is on one side only.

Pure: texts in, findings out. Objects with properties are compared by name, property by property. Lines that have an
order (rules of a chain, /etc/hosts) are aligned as diff(1) would, because a rule that moved is a difference: in a chain
the first match decides. Sets have no order: shown is what one side has more than the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from minirun.lecture.compare import explanations
from minirun.lecture.compare.finding import DIFFERENT, ONLY_A, ONLY_B, SAME, Finding
from minirun.lecture.compare.normalise import Vocabulary

if TYPE_CHECKING:
    from minirun.lecture.compare.snapshot import Snapshot, Things

SEPARATOR = ", "
ALIKE = 0.5  # two lines are two versions of one when they share half of their words


def compare(a: Snapshot, b: Snapshot) -> dict[str, list[Finding]]:
    """Topic → findings, for the topics that both snapshots have."""
    engines = (a["about"]["engine"], b["about"]["engine"])
    found = {}
    for topic in a["topics"]:
        if topic in b["topics"]:
            comparison = Comparison(
                topic, Vocabulary(a["about"], b["about"], topic), Vocabulary(b["about"], a["about"], topic)
            )
            found[topic] = list(comparison.things(a["topics"][topic], b["topics"][topic]))
            for finding in found[topic]:
                if finding.verdict != SAME:
                    finding.reason = explanations.reason(finding, engines)
    return found


def are_equal(found: dict[str, list[Finding]]) -> bool:
    """Whether nothing but the same was found."""
    return all(finding.verdict == SAME for findings in found.values() for finding in findings)


class Comparison:
    """One topic; `.plain_a`, `.plain_b` replace the names that must differ."""

    def __init__(self, topic: str, plain_a: Callable[[str], str], plain_b: Callable[[str], str]) -> None:
        self.topic, self.plain_a, self.plain_b = topic, plain_a, plain_b

    def things(self, a: Things, b: Things) -> Iterator[Finding]:
        """Findings about all things, in the order of A."""
        names_a, names_b = (
            {plain(name): name for name in side} for plain, side in ((self.plain_a, a), (self.plain_b, b))
        )
        partners = {
            **{name: name for name in names_a if name in names_b},
            **_pairs(
                *(
                    [name for name, raw in names.items() if isinstance(side[raw], dict)]
                    for names, side in ((names_a, a), (names_b, b))
                )
            ),
        }
        for name, raw in names_a.items():
            if name in partners:
                raw_b = names_b[partners[name]]
                if name != partners[name]:
                    yield self._finding(*_split(raw), DIFFERENT, (_split(raw)[1], _split(raw_b)[1]))
                yield from self._one(raw if raw == raw_b else name, a[raw], b[raw_b])
            else:
                yield from self._alone(raw, a[raw], ONLY_A)
        taken = set(partners.values())
        for name, raw in names_b.items():
            if name not in taken:
                yield from self._alone(raw, b[raw], ONLY_B)

    def _one(self, name: str, a: Any, b: Any) -> Iterator[Finding]:
        if isinstance(a, list):
            yield from self._lines(name, a, b)
            return
        if isinstance(a, frozenset):
            yield from self._members(name, a, b)
            return
        for aspect in {**a, **b}:
            sides = a.get(aspect, ""), b.get(aspect, "")
            if aspect not in b:
                verdict = ONLY_A
            elif aspect not in a:
                verdict = ONLY_B
            else:
                verdict = SAME if self._means_the_same(*sides) else DIFFERENT
            yield self._finding(name, aspect, verdict, sides)

    def _means_the_same(self, a: str, b: str) -> bool:
        return a == b or self.plain_a(a) == self.plain_b(b)

    def _alone(self, name: str, thing: Any, verdict: str) -> Iterator[Finding]:
        lines = (
            thing
            if isinstance(thing, list)
            else [SEPARATOR.join(sorted(thing))]
            if isinstance(thing, frozenset)
            else [_worded(thing)]
        )
        for line in lines:
            yield self._finding(name, "", verdict, (line, "") if verdict == ONLY_A else ("", line))

    def _members(self, name: str, a: frozenset[str], b: frozenset[str]) -> Iterator[Finding]:
        plain_a, plain_b = (
            {member if member in other else plain(member): member for member in sorted(side)}
            for plain, side, other in ((self.plain_a, a, b), (self.plain_b, b, a))
        )
        for member in plain_a.keys() & plain_b.keys():
            yield self._finding(name, "", SAME, (plain_a[member], plain_b[member]))
        more = SEPARATOR.join(raw for member, raw in plain_a.items() if member not in plain_b)
        less = SEPARATOR.join(raw for member, raw in plain_b.items() if member not in plain_a)
        if more or less:
            yield self._finding(name, "", DIFFERENT if more and less else ONLY_A if more else ONLY_B, (more, less))

    def _lines(self, name: str, a: list[str], b: list[str]) -> Iterator[Finding]:
        plain_a, plain_b = (
            [line if line in other else plain(line) for line in side]
            for plain, side, other in ((self.plain_a, a, b), (self.plain_b, b, a))
        )
        matcher = SequenceMatcher(None, plain_a, plain_b, autojunk=False)
        blocks = matcher.get_opcodes()
        gone = [plain_a[place] for word, start, end, _, _ in blocks if word != "equal" for place in range(start, end)]
        come = [plain_b[place] for word, _, _, start, end in blocks if word != "equal" for place in range(start, end)]
        moved = set(gone) & set(come)
        for word, start_a, end_a, start_b, end_b in blocks:
            left, right = list(range(start_a, end_a)), list(range(start_b, end_b))
            if word == "equal":
                for one, other in zip(left, right):
                    yield self._finding(name, "", SAME, (a[one], b[other]))
                continue
            for place in [place for place in left if plain_a[place] in moved]:
                there = plain_b.index(plain_a[place])
                yield self._finding(
                    name, explanations.PLACE, DIFFERENT, (f"{place + 1}: {a[place]}", f"{there + 1}: {b[there]}")
                )
            left = [place for place in left if plain_a[place] not in moved]
            right = [place for place in right if plain_b[place] not in moved]
            while left and right and _alike(plain_a[left[0]], plain_b[right[0]]):
                yield self._finding(name, "", DIFFERENT, (a[left.pop(0)], b[right.pop(0)]))
            yield from (self._finding(name, "", ONLY_A, (a[place], "")) for place in left)
            yield from (self._finding(name, "", ONLY_B, ("", b[place])) for place in right)

    def _finding(self, name: str, aspect: str, verdict: str, sides: tuple[str, str]) -> Finding:
        return Finding(self.topic, name, aspect, verdict, sides)


def _pairs(a: list[str], b: list[str]) -> dict[str, str]:
    """Names that only their last word tells apart, if each side has one such: "eth0 inet 10.0.0.2/8" and ".../16"."""
    alone: dict[str, tuple[list[str], list[str]]] = {}
    for side, names, others in ((0, a, b), (1, b, a)):
        for name in names:
            if name not in others and " " in name:
                alone.setdefault(name.rpartition(" ")[0], ([], []))[side].append(name)
    return {left[0]: right[0] for left, right in alone.values() if len(left) == len(right) == 1}


def _split(name: str) -> tuple[str, str]:
    head, _, last = name.rpartition(" ")
    return head, last


def _worded(properties: dict[str, str]) -> str:
    return " ".join(value if aspect in ("=", "is") else f"{aspect} {value}" for aspect, value in properties.items())


def _alike(one: str, other: str) -> bool:
    words, others = one.split(), other.split()
    return 2 * len(set(words) & set(others)) >= ALIKE * (len(set(words)) + len(set(others))) and len(words) > 1
