"""Garbage collection of the content store: removes what a `kill -9`, a crash or a full disk left behind.

Garbage is never listed and never mounted; it only takes room. The roots are the images of index.json and the leases of
the ingests that are alive (`Layout.in_use`). An ingest is alive while its process holds the flock(2) on it.
"""

from __future__ import annotations

import os
import time

from minirun import rmtree, store
from minirun.image.content.layout import DOWNLOAD, LAYER_LOCK
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from minirun.image.content.layout import Layout

#: An unreferenced blob is kept for this long: another tool may be about to write the index entry for it.
GRACE_SECONDS = 3600
#: An interrupted download is kept for this long: the next pull resumes it.
RESUME_SECONDS = 24 * 3600


def orphans(layout: Layout, kept_layers: Iterable[str]) -> list[str]:
    """The paths of the stale ingests and of the unreferenced layers and blobs. The caller holds the lock.

    Arguments: kept_layers, chain ids that are needed although no image has them: those of containers whose image was
    removed with --force.
    """
    blobs, chains = layout.in_use()
    kept = {os.path.basename(layout.layer(chain)) for chain in {*chains, *kept_layers}}
    found = _stale_ingests(layout) + _stale_downloads(layout)
    found += [
        f"{layout.root}/layers/{name}"
        for name in os.listdir(f"{layout.root}/layers")
        if name.removesuffix(".json").removesuffix("-init") not in kept
    ]
    oldest_kept = time.time() - GRACE_SECONDS
    if len(layout.raw_index()["manifests"]) != len(layout.index()):
        return found  # another tool has put a multi-platform index here; only that tool knows which blobs it needs
    for name in os.listdir(f"{layout.root}/blobs/sha256"):
        path = f"{layout.root}/blobs/sha256/{name}"
        if f"sha256:{name}" not in blobs and os.stat(path).st_mtime < oldest_kept:
            found.append(path)
    return found


def remove_stale_ingests(layout: Layout) -> None:
    """Remove the ingests of killed processes, and their downloads that are too old to resume.

    The caller holds the lock.
    """
    oldest_kept = time.time() - RESUME_SECONDS
    downloads = [path for path in _stale_downloads(layout) if os.stat(path).st_mtime < oldest_kept]
    for path in _stale_ingests(layout) + downloads:
        rmtree.remove_tree(path)


def _stale_downloads(layout: Layout) -> list[str]:
    return [path for path in layout.temporary(DOWNLOAD) if store.is_unlocked(path)]


def _stale_ingests(layout: Layout) -> list[str]:
    return [path for path in layout.ingests() + layout.temporary(LAYER_LOCK) if store.is_unlocked(path)]
