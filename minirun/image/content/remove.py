"""`docker rmi` and `image prune`: untag an image, and remove it with its last tag (moby, image_delete.go).

First the image disappears from the index, with one rename; then those of its layers and blobs are removed that no
other image, no container and no lease needs. A process that is killed in between leaves orphans, which
minirun.image.content.gc finds.
"""

from __future__ import annotations

from minirun import store
from minirun.errors import EngineError
from minirun.image import reference
from minirun.image.digest import chain_ids
from minirun.image.tags import digests_of, names_of, without_name
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minirun.image.content.layout import Layout
    from minirun.image.images import Image, Images


class ImageUser:
    """A container, as far as images are concerned: `remove` must not take its layers away.

    Attributes: container (str, its id), image (str, image id), running (bool), layers (chain ids of its root).
    """

    __slots__ = ("container", "image", "running", "layers")

    def __init__(self, container: str, image: str, running: bool, layers: Sequence[str] = ()) -> None:
        self.container = container
        self.image = image
        self.running = running
        self.layers = layers


def remove(images: Images, word: str, force: bool = False, users: Sequence[ImageUser] = ()) -> list[str]:
    """Remove a tag; remove the image when it was the last one (moby, daemon/images/image_delete.go).

    Arguments: word (str), a reference or an id; force (bool), Docker's -f; users, all containers.
    Returns: Docker's lines: "Untagged: x", "Deleted: sha256:...".
    Errors: NoSuchImage; EngineError "conflict: ..." when a container uses it, or an id has several tags.
    """
    layout = images.layout
    with layout.lock():
        entries = layout.index()
        digest, by_name = images.locate(entries, word)
        image_id = layout.read(digest)["config"]["digest"]
        # A name that is also a prefix of the id ("b") counts as the id, as in Docker (isImageIDPrefix).
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
        if by_name and (names or conflict):  # the tag is removed; that the image stays is no error
            layout.replace_index(entries)
            return lines
        if conflict:
            raise EngineError(conflict)
        refs = sorted({*names, *_pulled(entries, same)}, key=lambda name: reference.parse(name).full)
        return lines + [f"Untagged: {name}" for name in refs] + _delete(layout, entries, same, image_id, users)


def prune(
    images: Images,
    users: Callable[[], Sequence[ImageUser]],
    *,
    everything: bool = False,
    wanted: Callable[[Image], bool] = lambda image: True,
) -> tuple[list[str], int]:
    """`docker image prune`: remove dangling images, those without a tag; with -a, all that no container uses.

    Each is removed by `remove`, which checks again with the lock held: a container that is created meanwhile keeps
    its image.

    Arguments: users, called before each removal, returns all containers; everything (bool), Docker's -a: images with a
    tag as well; wanted, a filter: whether an image may be removed.
    Returns: Docker's lines ("untagged: x", "deleted: sha256:..."), and the bytes of the removed layers' files.
    """
    lines: list[str] = []
    freed = 0
    used = {user.image for user in users()}
    for image in images.every():
        tagged = any("@" not in name for name in image.names)
        if image.id in used or tagged and not everything or not wanted(image):
            continue
        sizes = {chain: images.layout.layer_info(chain).get("size", 0) for chain in image.chain_ids}
        # Tags first: removing a digest reference removes the image, unless a tag is left.
        for word in sorted(image.names, key=lambda name: "@" in name) or [image.id]:
            try:
                gone = remove(images, word, users=users())
            except EngineError:  # a new container uses it, or another process has removed it
                continue
            lines += [line[0].lower() + line[1:] for line in gone]
            freed += sum(sizes.get(line.removeprefix("Deleted: "), 0) for line in gone)
    return lines, freed


def _delete(
    layout: Layout, entries: list[dict], gone: set[str], image_id: str, users: Sequence[ImageUser]
) -> list[str]:
    """Remove an image: first from the index, then what nothing else needs from the disk."""
    rest = [entry for entry in entries if entry["digest"] not in gone]
    blobs, _ = layout.reachable([{"digest": digest} for digest in gone])
    chains = chain_ids(layout.read(image_id)["rootfs"]["diff_ids"])
    layout.replace_index(rest)
    kept_blobs, kept_chains = layout.in_use()  # by leases as well: of an image that is being pulled or saved
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
    """The digest references of an image; such a reference is removed with the last tag of its repository."""
    return {name for manifest in manifests for name in digests_of(entries, manifest)}


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


def _refuse_last_name(word: str, image_id: str, names: list[str], users: Sequence[ImageUser]) -> None:
    """Docker does not remove the only tag of an image that a container, even a stopped one, was created from."""
    user = next((user for user in users if user.image == image_id), None)
    if user and len(names) <= 1:
        raise EngineError(
            f'conflict: unable to remove repository reference "{word}" (must force) - container '
            f"{_short(user.container)} is using its referenced image {_short(image_id)}"
        )


def _conflict(image_id: str, names: list[str], force: bool, users: Sequence[ImageUser]) -> str:
    """Docker's message why an image cannot be removed, checked in Docker's order; "" when it can."""
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
