"""`docker rmi`: a name is taken away, and with the last one the image; what others need stays (moby, image_delete.go).

First the image vanishes from the list, in one rename; then its layers and blobs go, those that no other image has, and
no container stands on, and no image that is on its way in needs. Whoever is killed in between leaves orphans, which
`sweeping` finds.
"""

from __future__ import annotations

from minirun import store
from minirun.errors import EngineError
from minirun.image import reference
from minirun.image.digest import chain_ids
from minirun.image.tags import digests_of, names_of, without_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minirun.image.content.layout import Layout
    from minirun.image.images import Image, Images


class User:
    """A container, as far as images go: what `remove` must know in order not to pull the floor away.

    Attributes: container (str, its id), image (str, image id), running (bool), layers (chain ids it stands on).
    """

    __slots__ = ("container", "image", "running", "layers")

    def __init__(self, container: str, image: str, running: bool, layers: Sequence[str] = ()) -> None:
        self.container = container
        self.image = image
        self.running = running
        self.layers = layers


def remove(images: Images, word: str, force: bool = False, users: Sequence[User] = ()) -> list[str]:
    """Take a name away, or remove the image when it was the last one (moby, daemon/images/image_delete.go).

    Arguments: word (str), a reference or an id; force (bool), Docker's -f; users, all containers.
    Returns: Docker's lines: "Untagged: x", "Deleted: sha256:...".
    Errors: NoSuchImage; EngineError "conflict: ..." when a container uses it, or an id has many names.
    """
    layout = images.layout
    with layout.lock():
        entries = layout.index()
        digest, by_name = images.locate(entries, word)
        image_id = layout.read(digest)["config"]["digest"]
        # A name that the id begins with as well ("b") counts as the id, as in Docker (isImageIDPrefix).
        by_name = by_name and not any(whole.startswith(word) for whole in (image_id, image_id.removeprefix("sha256:")))
        same = {entry["digest"] for entry in entries if layout.read(entry["digest"])["config"]["digest"] == image_id}
        names = names_of(entries, same)
        lines: list[str] = []
        if by_name:
            _refuse_last_name(word, image_id, names, () if force else users)
            name = reference.parse(word).with_tag()
            pulled = _pulled(entries, same)
            entries = without_name(entries, name)
            names = names_of(entries, same)
            gone = dict.fromkeys((name.familiar, *sorted(pulled - _pulled(entries, same))))
            lines = [f"Untagged: {one}" for one in gone]
        conflict = _conflict(image_id, names, force, users)
        if by_name and (names or conflict):  # the name is gone; that the image stays is not worth an error
            layout.replace_index(entries)
            return lines
        if conflict:
            raise EngineError(conflict)
        refs = sorted({*names, *_pulled(entries, same)}, key=lambda name: reference.parse(name).full)
        return lines + [f"Untagged: {name}" for name in refs] + _delete(layout, entries, same, image_id, users)


def prune(
    images: Images,
    users: Callable[[], Sequence[User]],
    *,
    everything: bool = False,
    wanted: Callable[[Image], bool] = lambda image: True,
) -> tuple[list[str], int]:
    """`docker image prune`: remove dangling images, those without a tag; with -a, all from which no container was made.

    Each goes by `remove`, which looks again with the lock held: a container that is made meanwhile keeps its image.

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
                gone = remove(images, word, users=users())
            except EngineError:  # somebody needs it now, or has removed it
                continue
            lines += [line[0].lower() + line[1:] for line in gone]
            freed += sum(sizes.get(line.removeprefix("Deleted: "), 0) for line in gone)
    return lines, freed


def _delete(layout: Layout, entries: list[dict], gone: set[str], image_id: str, users: Sequence[User]) -> list[str]:
    """Remove an image and what nobody else needs: first from the list, then from the disk."""
    rest = [entry for entry in entries if entry["digest"] not in gone]
    blobs, _ = layout.mentioned([{"digest": digest} for digest in gone])
    chains = chain_ids(layout.read(image_id)["rootfs"]["diff_ids"])
    layout.replace_index(rest)
    kept_blobs, kept_chains = layout.in_use()  # also by an image that is on its way in, or out
    for user in users:
        kept_chains |= set(chains if user.image == image_id else user.layers)
    lines = [f"Deleted: {image_id}"]
    for chain in reversed(chains):
        if chain not in kept_chains:
            layout.discard_layer(layout.layer(chain))
            lines.append(f"Deleted: {chain}")
    for blob in blobs - kept_blobs:
        store.discard(layout.blob(blob))
    return lines


def _pulled(entries: list[dict], manifests: set[str]) -> set[str]:
    """By which digests an image was pulled: such a name goes with the last tag of its repository."""
    return {name for manifest in manifests for name in digests_of(entries, manifest)}


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


def _refuse_last_name(word: str, image_id: str, names: list[str], users: Sequence[User]) -> None:
    """Docker does not let the only name of an image go as long as a container, even a stopped one, was made from it."""
    user = next((user for user in users if user.image == image_id), None)
    if user and len(names) <= 1:
        raise EngineError(
            f'conflict: unable to remove repository reference "{word}" (must force) - container '
            f"{_short(user.container)} is using its referenced image {_short(image_id)}"
        )


def _conflict(image_id: str, names: list[str], force: bool, users: Sequence[User]) -> str:
    """Why an image cannot be removed, in Docker's words and order; "" when nothing speaks against it."""
    head = f"conflict: unable to delete {_short(image_id)}"
    mine = [user for user in users if user.image == image_id]
    for user in mine:
        if user.running:
            return f"{head} (cannot be forced) - image is being used by running container {_short(user.container)}"
    if force:
        return ""
    if len(names) > 1:
        return f"{head} (must be forced) - image is referenced in multiple repositories"
    for user in mine:
        return f"{head} (must be forced) - image is being used by stopped container {_short(user.container)}"
    return ""
