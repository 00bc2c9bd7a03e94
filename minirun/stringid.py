"""IDs of containers, networks, volumes and images: 64 hexadecimal digits, or the first of them (moby's stringid)."""

from __future__ import annotations

from minirun.light import os

_HEX_DIGITS = frozenset("0123456789abcdef")


def generate() -> str:
    """A new random ID: 256 bits, so that two machines never make the same (moby's GenerateRandomID)."""
    return os.urandom(32).hex()


def is_hex(text: str) -> bool:
    """Whether a text is of lower-case hexadecimal digits only; true for ""."""
    return _HEX_DIGITS.issuperset(text)


def is_id(text: str) -> bool:
    """Whether a text is a whole ID: 64 lower-case hexadecimal digits."""
    return len(text) == 64 and _HEX_DIGITS.issuperset(text)
