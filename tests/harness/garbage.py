"""Garbage collection of the content store, all at once; `system check --repair` removes one path at a time."""

from __future__ import annotations

from collections.abc import Iterable

from minirun import rmtree
from minirun.image.content import gc
from minirun.image.content.layout import Layout


def sweep(layout: Layout, kept_layers: Iterable[str] = ()) -> list[str]:
    """Remove all orphans. Returns: their paths."""
    with layout.lock():
        found = gc.orphans(layout, kept_layers)
        for path in found:
            rmtree.remove_tree(path)
        return found
