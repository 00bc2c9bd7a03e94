"""Images as Docker's user knows them: found by name or id, listed, tagged; `removal` takes them away.

An image *is* its config: the id is the digest of the config file, which in turn names the digest of every layer.
A name is only a pointer to it. So `tag` copies a pointer, `rmi NAME` takes one away, and only when the last one is
gone are the config and the layers that nobody else needs removed. The files are `minirun.image.content.layout`'s.
"""

from __future__ import annotations

import os

from minirun.errors import EngineError, NoSuchImage
from minirun.image import reference
from minirun.image.content import layout as oci
from minirun.image.digest import chain_ids
from minirun.image.tags import (
    NEVER,
    PULLED,
    digests_of,
    facts_of,
    familiar_name,
    full_name,
    named,
    names_of,
    with_entry,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.image.quota import Limits


class Image:
    """One image.

    What index.json says of it is known at once, its files are read when they are asked for: a list needs none of them.

    Arguments: names, the familiar ones ("alpine:latest"); entry (dict), a descriptor of its manifest.
    Attributes: digest (of the manifest), names, layout.
    """

    __slots__ = ("digest", "layout", "names", "_config", "_facts", "_manifest")

    def __init__(self, layout: oci.Layout, entry: dict, names: list[str]) -> None:
        self.layout, self.digest, self.names = layout, entry["digest"], names
        self._facts = facts_of(entry)
        self._manifest: dict | None = None
        self._config: dict | None = None

    @property
    def manifest(self) -> dict:
        """The OCI manifest."""
        if self._manifest is None:
            self._manifest = self.layout.read(self.digest)
        return self._manifest

    @property
    def config(self) -> dict:
        """The OCI image config, the whole document."""
        if self._config is None:
            self._config = self.layout.read(self.manifest["config"]["digest"])
        return self._config

    @property
    def id(self) -> str:
        """The digest of its config: "sha256:..."."""
        return self._facts[0] if self._facts else self.manifest["config"]["digest"]

    @property
    def digests(self) -> list[str]:
        """By which digests it was pulled, and from where: "alpine@sha256:..."."""
        return digests_of(self.layout.index(), self.digest)

    @property
    def defaults(self) -> dict:
        """What the image says about its containers: Env, Cmd, Entrypoint, WorkingDir, User, Volumes, ... (or {})."""
        return self.config.get("config") or {}

    @property
    def created(self) -> str:
        """When it was made (RFC 3339)."""
        return self._facts[1] if self._facts else self.config.get("created") or NEVER

    @property
    def diff_ids(self) -> list[str]:
        """The digest of each layer's plain tar, lowest first."""
        return self.config["rootfs"]["diff_ids"]

    @property
    def chain_ids(self) -> list[str]:
        """By what its layers are known in the store, lowest first."""
        return chain_ids(self.diff_ids)

    @property
    def layers(self) -> list[str]:
        """The directories of its unpacked layers, lowest first.

        They are unpacked here and now if another tool put the image into the layout.
        """
        directories = [self.layout.layer(chain) for chain in self.chain_ids]
        if not all(map(os.path.isdir, directories)):
            from minirun.image.content import unpack  # reads tars, which an image that is unpacked need not pay for

            unpack.unpack_blobs(self.layout, self.manifest, self.diff_ids)
        return directories

    @property
    def size(self) -> int:
        """The bytes of all its files, layer by layer, as `docker images` counts them."""
        if self._facts:
            return self._facts[2]
        return sum(self.layout.layer_facts(chain).get("size", 0) for chain in self.chain_ids)


class Images:
    """All images of one data root. Arguments: root (str), the directory of the OCI image layout; limits, see there."""

    def __init__(self, root: str, limits: Callable[[], Limits] | None = None) -> None:
        self.layout = oci.Layout(root, limits)

    def find(self, word: str) -> Image:
        """The image with this reference, id, or unambiguous beginning of an id; a reference is tried first.

        Errors: NoSuchImage; ClientError for a word that cannot be a reference.
        """
        entries = self.layout.index()
        digest, _ = self.locate(entries, word)
        entry = next(entry for entry in entries if entry["digest"] == digest)
        image = Image(self.layout, entry, names_of(entries, {digest}))
        _ = image.config  # who looks for one image wants to do something with it: what is damaged is said here
        return image

    def every(self) -> list[Image]:
        """All images, newest first; one that lost its names to another has none."""
        images: dict[str, Image] = {}
        by_digest: dict[str, Image] = {}
        for entry in sorted(self.layout.index(), key=full_name):
            image = by_digest.get(entry["digest"])
            if image is None:
                image = Image(self.layout, entry, [])
                # one config, two manifests: the same image, packed in two ways
                image = by_digest[entry["digest"]] = images.setdefault(image.id, image)
            image.names += [name] if (name := familiar_name(entry)) else []
        return sorted(images.values(), key=lambda image: image.created.rstrip("Z"), reverse=True)

    def tags(self, repository: reference.Reference) -> list[reference.Reference]:
        """All names that images have in a repository, in order."""
        begin = f"{repository.name}:"
        return [
            reference.parse(name)
            for name in sorted({full_name(entry) for entry in self.layout.index()})
            if name.startswith(begin)
        ]

    def tag(self, word: str, name: str) -> None:
        """Point one more name at an image; if another image has it, that one loses it.

        Errors: NoSuchImage for `word`; ClientError for a `name` that cannot be one.
        """
        new = parse_tag(name)
        with self.layout.lock():
            entries = self.layout.index()
            digest, _ = self.locate(entries, word)
            entry = next(entry for entry in entries if entry["digest"] == digest)
            self.layout.replace_index(with_entry(entries, named(entry, new)))

    def locate(self, entries: list[dict], word: str) -> tuple[str, bool]:
        """The digest of the manifest that a word means, and whether a name led to it (else an id or a digest)."""
        wanted = f"sha256:{word}"
        if not reference.is_id(word):
            name = reference.parse(word).with_tag()
            wanted = name.familiar
            full, repository = name.full, f"{name.name}:"
            for entry in entries:
                came_by = (entry["digest"], (entry.get("annotations") or {}).get(PULLED))
                if name.digest and name.digest in came_by and full_name(entry).startswith(repository):
                    return entry["digest"], False
                if full_name(entry) == full:
                    return entry["digest"], True
        if reference.is_id_prefix(word):
            prefix = f"sha256:{word.removeprefix('sha256:')}"
            found = {}
            for digest in {entry["digest"] for entry in entries}:
                image_id = self.layout.read(digest)["config"]["digest"]
                if image_id.startswith(prefix):
                    found[image_id] = digest
            if len(found) == 1:
                return found.popitem()[1], False
        raise NoSuchImage(wanted)


def parse_tag(name: str) -> reference.Reference:
    """A name to give to an image. Errors: ClientError in Docker's words; a digest cannot be given, only computed."""
    new = reference.parse(name)
    if new.digest:
        raise EngineError("refusing to create a tag with a digest reference")
    return new.with_tag()
