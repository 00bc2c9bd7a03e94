"""The image store: images are found by name or id, listed and tagged (minirun.image.content.remove removes them).

An image is its config: the id is the digest of the config, which contains the digest of every layer. A tag is a
pointer to it. So `tag` adds a pointer, `rmi NAME` removes one, and only with the last one the config is removed, with
the layers that nothing else needs. The files are described in minirun.image.content.layout.
"""

from __future__ import annotations

import os

from minirun.errors import EngineError, NoSuchImage
from minirun.image import reference
from minirun.image.content import layout as oci
from minirun.image.digest import chain_ids
from minirun.image.tags import (
    PULLED,
    ZERO_TIME,
    digests_of,
    familiar_name,
    full_name,
    named,
    names_of,
    summary_of,
    with_entry,
)
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.image.quota import Limits


class Image:
    """One image.

    Its manifest and config are read when they are first needed: a list needs only what is in index.json.

    Arguments: layout, the store it is in; entry (dict), a descriptor of its manifest; names, its familiar names
    ("alpine:latest").
    Attributes: digest (of the manifest), names, layout.
    """

    __slots__ = ("digest", "layout", "names", "_config", "_summary", "_manifest")

    def __init__(self, layout: oci.Layout, entry: dict, names: list[str]) -> None:
        self.layout, self.digest, self.names = layout, entry["digest"], names
        self._summary = summary_of(entry)
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
        return self._summary[0] if self._summary else self.manifest["config"]["digest"]

    @property
    def digests(self) -> list[str]:
        """Docker's RepoDigests, by which it was pulled: "alpine@sha256:..."."""
        return digests_of(self.layout.index(), self.digest)

    @property
    def defaults(self) -> dict:
        """The config of its containers: Env, Cmd, Entrypoint, WorkingDir, User, Volumes, ... (or {})."""
        return self.config.get("config") or {}

    @property
    def created(self) -> str:
        """When it was created (RFC 3339)."""
        return self._summary[1] if self._summary else self.config.get("created") or ZERO_TIME

    @property
    def diff_ids(self) -> list[str]:
        """The digest of each layer's plain tar, lowest first."""
        return self.config["rootfs"]["diff_ids"]

    @property
    def chain_ids(self) -> list[str]:
        """The ids of its layers in the store, lowest first."""
        return chain_ids(self.diff_ids)

    @property
    def layers(self) -> list[str]:
        """The directories of its unpacked layers, lowest first.

        They are unpacked now if another tool wrote the image into the layout.
        """
        directories = [self.layout.layer(chain) for chain in self.chain_ids]
        if not all(map(os.path.isdir, directories)):
            from minirun.image.content import unpack  # loads tarfile, which an unpacked image does not need

            unpack.unpack_blobs(self.layout, self.manifest, self.diff_ids)
        return directories

    @property
    def size(self) -> int:
        """The bytes of the files in all its layers, as `docker images` counts them."""
        if self._summary:
            return self._summary[2]
        return sum(self.layout.layer_info(chain).get("size", 0) for chain in self.chain_ids)


class Images:
    """All images of one data root. Arguments: as for `Layout`."""

    def __init__(self, root: str, limits: Callable[[], Limits] | None = None) -> None:
        self.layout = oci.Layout(root, limits)

    def find(self, word: str) -> Image:
        """The image with this reference, id, or unambiguous prefix of an id; a reference is tried first.

        Errors: NoSuchImage; ClientError for a word that cannot be a reference.
        """
        entries = self.layout.index()
        digest, _ = self.locate(entries, word)
        entry = next(entry for entry in entries if entry["digest"] == digest)
        image = Image(self.layout, entry, names_of(entries, {digest}))
        _ = image.config  # the caller is going to use the image: a damaged one fails here
        return image

    def every(self) -> list[Image]:
        """All images, newest first; a dangling one has no names."""
        images: dict[str, Image] = {}
        by_digest: dict[str, Image] = {}
        for entry in sorted(self.layout.index(), key=full_name):
            image = by_digest.get(entry["digest"])
            if image is None:
                image = Image(self.layout, entry, [])
                # one config with two manifests: the same image, compressed differently
                image = by_digest[entry["digest"]] = images.setdefault(image.id, image)
            image.names += [name] if (name := familiar_name(entry)) else []
        return sorted(images.values(), key=lambda image: image.created.rstrip("Z"), reverse=True)

    def tags(self, repository: reference.Reference) -> list[reference.Reference]:
        """All tags in a repository, sorted."""
        begin = f"{repository.name}:"
        return [
            reference.parse(name)
            for name in sorted({full_name(entry) for entry in self.layout.index()})
            if name.startswith(begin)
        ]

    def tag(self, word: str, name: str) -> None:
        """Add a tag to an image; it is removed from the image that had it.

        Arguments: word (str), the image's reference or id; name (str), the new reference.
        Errors: NoSuchImage for `word`; ClientError for an invalid `name`.
        """
        new = parse_tag(name)
        with self.layout.lock():
            entries = self.layout.index()
            digest, _ = self.locate(entries, word)
            entry = next(entry for entry in entries if entry["digest"] == digest)
            self.layout.replace_index(with_entry(entries, named(entry, new)))

    def locate(self, entries: list[dict], word: str) -> tuple[str, bool]:
        """The digest of the manifest that `word` refers to, and whether by its tag (else by an id or a digest).

        Errors: NoSuchImage; ClientError for an invalid reference.
        """
        wanted = f"sha256:{word}"
        if not reference.is_id(word):
            name = reference.parse(word).with_tag()
            wanted = name.familiar
            full, repository = name.full, f"{name.name}:"
            for entry in entries:
                digests = (entry["digest"], (entry.get("annotations") or {}).get(PULLED))
                if name.digest and name.digest in digests and full_name(entry).startswith(repository):
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
    """The reference of a new tag. Errors: ClientError with Docker's message; EngineError for one with a digest."""
    new = reference.parse(name)
    if new.digest:
        raise EngineError("refusing to create a tag with a digest reference")
    return new.with_tag()
