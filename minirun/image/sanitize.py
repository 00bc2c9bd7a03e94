"""Sanitizes untrusted text for messages.

A name in an archive, a media type in a manifest or a message from a registry may contain control characters for the
terminal (an escape sequence clears the screen, or types), a second line that looks like one of minirun's, or a
megabyte. All text from untrusted input goes through this module before it is printed.
"""

from __future__ import annotations

MAX_LENGTH = 120  # characters


def printable(untrusted: object) -> str:
    """Untrusted text as one short printable line: control characters are escaped, the middle of a long one is cut."""
    text = "".join(char if char.isprintable() else _escape(char) for char in str(untrusted)[: 10 * MAX_LENGTH])
    return text if len(text) <= MAX_LENGTH else f"{text[:100]}...{text[-17:]}"


def _escape(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # a byte that is not UTF-8, decoded with surrogateescape
        return f"\\x{ord(char) - 0xDC00:02x}"
    return ascii(char)[1:-1]
