"""`docker image prune`: what nobody needs any more, and how much room that gives.

Nobody needs an image without a tag (*dangling*: its tag went to a newer one); with -a, nobody needs an image from
which no container was made. Each one goes by `Images.remove`, which looks again, with the lock held: a container that
is made meanwhile keeps its image.
"""

from __future__ import annotations

from minirun.errors import EngineError
from minirun.image.content import remove

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minirun.image.content.remove import User
    from minirun.image.images import Image, Images


def prune(
    images: Images,
    users: Callable[[], Sequence[User]],
    *,
    everything: bool = False,
    wanted: Callable[[Image], bool] = lambda image: True,
) -> tuple[list[str], int]:
    """Remove the images that nobody needs.

    Arguments: users, asked for all containers before each removal; everything (bool), Docker's -a: also those with a
    name; wanted, says of an image whether it may go.
    Returns: Docker's lines ("untagged: x", "deleted: sha256:..."), and how many bytes of files went with the layers.
    """
    lines: list[str] = []
    freed = 0
    used = {user.image for user in users()}
    for image in images.every():
        tagged = any("@" not in name for name in image.names)
        if image.id in used or tagged and not everything or not wanted(image):
            continue
        sizes = {chain: images.layout.layer_facts(chain).get("size", 0) for chain in image.chain_ids}
        # Tags first: a name that is a digest takes the image with it, if no tag is left to keep it.
        for word in sorted(image.names, key=lambda name: "@" in name) or [image.id]:
            try:
                gone = remove.remove(images, word, users=users())
            except EngineError:  # somebody needs it now, or has removed it
                continue
            lines += [line[0].lower() + line[1:] for line in gone]
            freed += sum(sizes.get(line.removeprefix("Deleted: "), 0) for line in gone)
    return lines, freed
