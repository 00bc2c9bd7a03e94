"""Words from strangers, as they may be shown.

A name in an archive, a media type in a manifest, a message from a registry: whoever wrote it may have put in what a
terminal takes for orders (an escape sequence clears the screen, or types), a second line that looks like one of ours,
or a megabyte. None of that gets into a message.
"""

from __future__ import annotations

MOST = 120  # letters


def shown(word: object) -> str:
    """A word from a stranger, fit for one line on a terminal."""
    text = "".join(letter if letter.isprintable() else _escaped(letter) for letter in str(word)[: 10 * MOST])
    return text if len(text) <= MOST else f"{text[:100]}...{text[-17:]}"


def _escaped(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # a byte that is no UTF-8, as Python keeps it in a str
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return ascii(letter)[1:-1]
