"""What nobody needs any more is found and removed: the rest of what a `kill -9`, a crash or a full disk cut short.

Nothing of this is listed or mounted; it takes room, no more. What is being made at this moment is known by the flock(2)
that its maker holds, what is needed by what `Layout.in_use` says.
"""

from __future__ import annotations

import os
import time

from minirun import rmtree, store
from minirun.image.content.layout import DOWNLOAD, TURN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from minirun.image.content.layout import Layout

#: A blob that no image mentions is left alone for this long: another tool may be about to mention it.
GRACE_SECONDS = 3600
#: And half a download for so long: whoever pulls again has fetched the beginning already.
RESUME_SECONDS = 24 * 3600


def sweep(layout: Layout, kept_layers: Iterable[str] = ()) -> list[str]:
    """Remove all orphans. Returns: their paths."""
    with layout.lock():
        found = orphans(layout, kept_layers)
        for path in found:
            rmtree.remove_tree(path)
        return found


def orphans(layout: Layout, kept_layers: Iterable[str]) -> list[str]:
    """The paths of drafts, layers and blobs that belong to nobody (any more); call it with the lock held.

    Arguments: kept_layers, chain ids that are needed although no image has them (containers whose image was
    removed by force).
    """
    blobs, chains = layout.in_use()
    kept = {os.path.basename(layout.layer(chain)) for chain in {*chains, *kept_layers}}
    found = _dead_drafts(layout) + _dead_downloads(layout)
    found += [
        f"{layout.root}/layers/{name}"
        for name in os.listdir(f"{layout.root}/layers")
        if name.removesuffix(".json").removesuffix("-init") not in kept
    ]
    longest_ago = time.time() - GRACE_SECONDS
    if len(layout.whole_index()["manifests"]) != len(layout.index()):
        return found  # another tool's index for many platforms: what it leads to, only that tool can tell
    for name in os.listdir(f"{layout.root}/blobs/sha256"):
        path = f"{layout.root}/blobs/sha256/{name}"
        if f"sha256:{name}" not in blobs and os.stat(path).st_mtime < longest_ago:
            found.append(path)
    return found


def clear_ingests(layout: Layout) -> None:
    """Remove what makers who were killed left behind; call it with the lock held."""
    longest_ago = time.time() - RESUME_SECONDS
    for path in _dead_drafts(layout) + [
        path for path in _dead_downloads(layout) if os.stat(path).st_mtime < longest_ago
    ]:
        rmtree.remove_tree(path)


def _dead_downloads(layout: Layout) -> list[str]:
    return [path for path in layout.unfinished(DOWNLOAD) if store.is_unlocked(path)]


def _dead_drafts(layout: Layout) -> list[str]:
    return [path for path in layout.ingests() + layout.unfinished(TURN) if store.is_unlocked(path)]
