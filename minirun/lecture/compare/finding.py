"""One line of a comparison: what was compared, the verdict, and why."""

from __future__ import annotations

SAME, DIFFERENT, ONLY_A, ONLY_B = "same", "different", "only A", "only B"


class Finding:
    """One line of the comparison: `.topic`, `.name` of the thing, `.aspect` of it ("mtu"; "" for a line or the thing as
    a whole), `.verdict`, `.a` and `.b` as each side has it ("" where it has nothing), `.reason`."""

    __slots__ = ("a", "aspect", "b", "name", "reason", "topic", "verdict")

    def __init__(self, topic: str, name: str, aspect: str, verdict: str, sides: tuple[str, str]) -> None:
        self.topic, self.name, self.aspect, self.verdict = topic, name, aspect, verdict
        self.a, self.b = sides
        self.reason = ""

    def as_data(self) -> dict[str, str]:
        """For JSON."""
        return {
            "name": self.name,
            "aspect": self.aspect,
            "verdict": self.verdict,
            "A": self.a,
            "B": self.b,
            "reason": self.reason,
        }
