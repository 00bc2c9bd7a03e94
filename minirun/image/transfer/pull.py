"""`docker pull`: from a name to an image that is here.

    ask the registry what the name points at      a manifest, or an index of one manifest for each platform
    read the config                               it says which layers the image has, as tars
    fetch the layers that are not here            three at a time (`download`)
    unpack them, lowest first, and let it exist   `writer`

Whatever has come stays, even if the rest fails: the next attempt goes on from there. The image itself is there as a
whole or not at all.
"""

from __future__ import annotations

import os

from minirun.errors import EngineError, NoSuchImage
from minirun.image import manifests, platforms
from minirun.image.images import Images
from minirun.image.reference import Reference
from minirun.image.registry.http_errors import Unreachable
from minirun.image.registry.responses import Denied
from minirun.image.tags import PULLED, named, with_entry
from minirun.image.transfer import up_to_date
from minirun.light import TYPE_CHECKING
from minirun.trace import step

if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.image.content.image_writer import ImageWriter
    from minirun.image.platforms import Platform
    from minirun.image.progress import Progress
    from minirun.image.registry.client import Registry
    from minirun.image.transfer.download import Downloads
    from minirun.image.transfer.mirrors import Source


class Pulled:
    """What came of it: `.id`, the image; `.new` (bool), whether the name points at another image than before."""

    def __init__(self, image_id: str, new: bool) -> None:
        self.id, self.new = image_id, new


def pull(images: Images, source: Source, name: Reference, platform: str, progress: Progress) -> Pulled:
    """Have an image come.

    Arguments: name, with a tag or a digest; platform (str), "linux/arm64", "" for this machine's. Errors: EngineError
    in the words of Docker's daemon; nothing new is listed then.
    """
    return _from_somebody(
        source, name, progress, lambda registry: _pull_from(registry, images, name, platform, progress)
    )


def remark(images: Images, pulled: Pulled, name: Reference, platform: str) -> str:
    """What there is to say about an image that came though it is for another platform than the wanted one, or ""."""
    has, wanted = images.layout.read(pulled.id), platforms.parse(platform)
    if not platform or wanted.fits(has):
        return ""
    return (
        f"WARNING: image with reference {name.familiar} was found but does not match the specified platform: "
        f"wanted {wanted}, actual: {platforms.of(has)}"
    )


def pull_all(images: Images, source: Source, name: Reference, platform: str, progress: Progress) -> Pulled:
    """Have all images of a repository come, one for each tag. Arguments and errors: as for `pull`, name without a tag.

    Returns: the last of them, new if one of them was.
    """

    def from_one(registry: Registry) -> Pulled:
        registry.ping()
        try:
            tags = registry.tags()
        except Denied as error:
            raise _worded(error, name) from None
        last = Pulled("", new=False)
        for tag in tags:
            came = _pull_from(registry, images, Reference(name.domain, name.path, tag), platform, progress)
            last = Pulled(came.id, last.new or came.new)
        return last

    return _from_somebody(source, name, progress, from_one)


def _from_somebody(source: Source, name: Reference, progress: Progress, take: Callable[[Registry], Pulled]) -> Pulled:
    """Ask one registry after the other until one of them has it."""
    registries = source.registries(name)
    for registry in registries:
        try:
            pulled = take(registry)
        except (Denied, Unreachable):
            if registry is registries[-1]:
                raise
            continue
        progress.message(
            f"Status: {'Downloaded newer image' if pulled.new else 'Image is up to date'} for {name.familiar}"
        )
        return pulled
    raise AssertionError("unreachable")


def _pull_from(registry: Registry, images: Images, name: Reference, platform: str, progress: Progress) -> Pulled:
    wanted = platforms.parse(platform)
    before = _id(images, name)
    with step("ask the registry which image this is"):
        registry.ping()
        try:
            # HEAD first: Docker Hub counts what is got, and what we have by this digest need not come again.
            digest = name.digest or registry.digest(name.tag)
            known = up_to_date.known(images.layout.index(), digest, wanted) if digest else None
            if known is None:
                data, media_type, digest = registry.manifest(digest or name.tag)
        except Denied as error:
            raise _worded(error, name) from None
    progress.message(f"{name.full if name.digest else name.tag}: Pulling from {name.path}")
    progress.started = True
    if known is not None:
        image_id = images.layout.read(known["digest"])["config"]["digest"]
        if before != image_id:
            _give_name(images, known, name, digest)
    else:
        manifest = _for_platform(registry, data, media_type, wanted, name)
        image_id = _Coming(registry, images, progress).take(manifest, name, digest)
    progress.message(f"Digest: {digest}")
    return Pulled(image_id, before != image_id)


def _for_platform(
    registry: Registry, data: bytes, media_type: str, wanted: Platform, name: Reference
) -> tuple[bytes, dict, str]:
    """A manifest as it came: itself, or the one that it names for a platform if it is an index.

    Returns: its bytes, what they say, its media type.
    """
    document, kind = manifests.read(data, media_type)
    while kind in manifests.INDEXES:  # each names the next by its digest: there is no circle
        chosen = manifests.choose(document, wanted, name.familiar)
        data, media_type, _ = registry.manifest(chosen["digest"])
        document, kind = manifests.read(data, media_type or chosen["mediaType"])
    return data, document, kind


class _Coming:
    """An image on its way from a registry."""

    def __init__(self, registry: Registry, images: Images, progress: Progress) -> None:
        self.registry, self.images, self.progress = registry, images, progress

    def take(self, manifest: tuple[bytes, dict, str], name: Reference, digest: str) -> str:
        """Fetch, unpack, and let it exist. Returns: the image's id."""
        from minirun.image.content.image_writer import (
            ImageWriter,  # 40 ms, with the next, that an image that is here need not pay
        )
        from minirun.image.transfer.download import Downloads

        data, document, kind = manifest
        with step("read the image's config"):
            config_bytes = self._config(document["config"])
        config = manifests.read_config(config_bytes, document)
        with ImageWriter(self.images.layout, keep_layers=True) as writer:
            writer.annotations = {PULLED: digest}
            layers = list(zip(config["rootfs"]["diff_ids"], document["layers"], strict=True))
            while layers and writer.has_layer(*layers[0]):
                self.progress.update(layers.pop(0)[1]["digest"], "Already exists")
            writer.quota.expect(sum(size for _, size in {(one["digest"], one["size"]) for _, one in layers}))
            with (
                step("fetch the layers that are not here"),
                Downloads(self.registry, writer, self.progress) as downloads,
            ):
                self._layers(writer, downloads, layers)
            return writer.commit(config_bytes, [name], data, kind)

    def _layers(self, writer: ImageWriter, downloads: Downloads, layers: list[tuple[str, dict]]) -> None:
        promises = {}
        for _, descriptor in layers:
            self.progress.update(descriptor["digest"], "Pulling fs layer")
        for place, (_, descriptor) in enumerate(layers):
            digest = descriptor["digest"]
            if place >= 3:
                self.progress.update(digest, "Waiting")
            if digest not in promises:  # one blob may be two layers
                promises[digest] = downloads.begin(descriptor)
        for diff_id, descriptor in layers:
            path = promises[descriptor["digest"]].result()
            with writer.layer_lock(diff_id):
                if not writer.has_layer(diff_id, descriptor):  # another pull may have been quicker
                    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                    try:
                        writer.add_layer(fd, diff_id=diff_id, descriptor=descriptor, keep_blob=False)
                    finally:
                        os.close(fd)
            self.progress.update(descriptor["digest"], "Pull complete")

    def _config(self, descriptor: dict) -> bytes:
        if descriptor["size"] > manifests.LARGEST:
            raise EngineError(f"the image's config is larger than {manifests.LARGEST} bytes")
        return self.registry.blob_bytes(descriptor)


def _give_name(images: Images, entry: dict, name: Reference, digest: str) -> None:
    """Point a name at an image that is here under another one."""
    with images.layout.lock():
        entries = images.layout.index()
        if not any(other["digest"] == entry["digest"] for other in entries):
            raise NoSuchImage(name.familiar)  # removed a moment ago
        new = named(entry, name)
        new["annotations"][PULLED] = digest
        images.layout.replace_index(with_entry(entries, new))


def _id(images: Images, name: Reference) -> str:
    """The id of the image that has this name, or came by this digest; "" if none has."""
    try:
        return images.find(name.full).id
    except NoSuchImage:
        return ""


def _worded(error: Denied, name: Reference) -> EngineError:
    """Docker's daemon has words of its own for an image that is not there, or not for us."""
    whole = {
        "DENIED": f"pull access denied for {name.familiar_name}, repository does not exist or may require 'docker "
        "login'",
        "MANIFEST_UNKNOWN": f"manifest for {name.familiar} not found",
        "NAME_UNKNOWN": f"repository {name.familiar_name} not found",
    }
    if error.code in whole and not error.at:
        return Denied(f"{whole[error.code]}: {error.message}", error.status, error.code)
    if error.status == 404 and not (error.code or error.at):  # a web server that hands out files
        return Denied(f"{whole['MANIFEST_UNKNOWN']}: manifest unknown: manifest unknown", 404, "MANIFEST_UNKNOWN")
    return error
