"""`docker pull`: an image is copied from a registry into the content store.

    resolve the name to a manifest            or to an index, which has a manifest for each platform
    get the config                            it has the diff ids of the layers
    download the missing layers               three at a time (minirun.image.transfer.download)
    unpack them, lowest first, and commit     minirun.image.content.image_writer

Complete layers and partial downloads stay when the rest fails, for the next attempt. The image itself is committed as a
whole or not at all.
"""

from __future__ import annotations

import os

from minirun.errors import EngineError, NoSuchImage
from minirun.image import manifests, platforms
from minirun.image.images import Images
from minirun.image.reference import Reference
from minirun.image.registry.http_errors import Unreachable
from minirun.image.registry.responses import RegistryError
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
    from minirun.image.transfer.mirrors import RegistryHosts


class PullResult:
    """The result of a pull: `.id` of the image; `.new` (bool), whether the name refers to another image than before."""

    def __init__(self, image_id: str, new: bool) -> None:
        self.id, self.new = image_id, new


def pull(images: Images, hosts: RegistryHosts, name: Reference, platform: str, progress: Progress) -> PullResult:
    """Pull an image.

    Arguments: hosts, where from; name, with a tag or a digest; platform (str), "linux/arm64", "" for this machine's;
    progress, the listener. Errors: EngineError with the message of Docker's daemon; the index is unchanged then.
    """
    return _from_first(hosts, name, progress, lambda registry: _pull_one(registry, images, name, platform, progress))


def platform_warning(images: Images, pulled: PullResult, name: Reference, platform: str) -> str:
    """Docker's warning about an image that is for another platform than the requested one; "" when it fits."""
    has, wanted = images.layout.read(pulled.id), platforms.parse(platform)
    if not platform or wanted.fits(has):
        return ""
    return (
        f"WARNING: image with reference {name.familiar} was found but does not match the specified platform: "
        f"wanted {wanted}, actual: {platforms.of(has)}"
    )


def pull_all(images: Images, hosts: RegistryHosts, name: Reference, platform: str, progress: Progress) -> PullResult:
    """Pull all tags of a repository. Arguments and errors: as for `pull`, but `name` has no tag.

    Returns: the last of them, new if one of them was.
    """

    def pull_tags(registry: Registry) -> PullResult:
        registry.ping()
        try:
            tags = registry.tags()
        except RegistryError as error:
            raise _docker_error(error, name) from None
        result = PullResult("", new=False)
        for tag in tags:
            pulled = _pull_one(registry, images, Reference(name.domain, name.path, tag), platform, progress)
            result = PullResult(pulled.id, result.new or pulled.new)
        return result

    return _from_first(hosts, name, progress, pull_tags)


def _from_first(
    hosts: RegistryHosts, name: Reference, progress: Progress, take: Callable[[Registry], PullResult]
) -> PullResult:
    """Try the registries in order until one has the image."""
    registries = hosts.registries(name)
    for registry in registries:
        try:
            pulled = take(registry)
        except (RegistryError, Unreachable):
            if registry is registries[-1]:
                raise
            continue
        progress.message(
            f"Status: {'Downloaded newer image' if pulled.new else 'Image is up to date'} for {name.familiar}"
        )
        return pulled
    raise AssertionError("unreachable")


def _pull_one(registry: Registry, images: Images, name: Reference, platform: str, progress: Progress) -> PullResult:
    wanted = platforms.parse(platform)
    before = _id(images, name)
    with step("ask the registry which image this is"):
        registry.ping()
        try:
            # HEAD first: Docker Hub's rate limit counts GET, which is not needed for an image that is here.
            digest = name.digest or registry.resolve(name.tag)
            known = up_to_date.find_by_digest(images.layout.index(), digest, wanted) if digest else None
            if known is None:
                data, media_type, digest = registry.manifest(digest or name.tag)
        except RegistryError as error:
            raise _docker_error(error, name) from None
    progress.message(f"{name.full if name.digest else name.tag}: Pulling from {name.path}")
    progress.started = True
    if known is not None:
        image_id = images.layout.read(known["digest"])["config"]["digest"]
        if before != image_id:
            _add_tag(images, known, name, digest)
    else:
        manifest = _for_platform(registry, data, media_type, wanted, name)
        image_id = _Puller(registry, images, progress).take(manifest, name, digest)
    progress.message(f"Digest: {digest}")
    return PullResult(image_id, before != image_id)


def _for_platform(
    registry: Registry, data: bytes, media_type: str, wanted: Platform, name: Reference
) -> tuple[bytes, dict, str]:
    """The manifest itself, or if it is an index, the manifest for the platform.

    Returns: its bytes, the parsed document, its media type.
    """
    document, kind = manifests.read(data, media_type)
    while kind in manifests.INDEXES:  # by digest, so there can be no cycle
        chosen = manifests.choose(document, wanted, name.familiar)
        data, media_type, _ = registry.manifest(chosen["digest"])
        document, kind = manifests.read(data, media_type or chosen["mediaType"])
    return data, document, kind


class _Puller:
    """Pulls one image whose manifest is known."""

    def __init__(self, registry: Registry, images: Images, progress: Progress) -> None:
        self.registry, self.images, self.progress = registry, images, progress

    def take(self, manifest: tuple[bytes, dict, str], name: Reference, digest: str) -> str:
        """Download, unpack and commit the image. Returns: its id."""
        # 40 ms to import, which an image that is up to date does not need
        from minirun.image.content.image_writer import ImageWriter
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
        downloads_by_digest = {}
        for _, descriptor in layers:
            self.progress.update(descriptor["digest"], "Pulling fs layer")
        for place, (_, descriptor) in enumerate(layers):
            digest = descriptor["digest"]
            if place >= 3:
                self.progress.update(digest, "Waiting")
            if digest not in downloads_by_digest:  # two layers may be the same blob
                downloads_by_digest[digest] = downloads.start(descriptor)
        for diff_id, descriptor in layers:
            path = downloads_by_digest[descriptor["digest"]].result()
            with writer.layer_lock(diff_id):
                if not writer.has_layer(diff_id, descriptor):  # another process may have unpacked it meanwhile
                    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                    try:
                        writer.add_layer(fd, diff_id=diff_id, descriptor=descriptor, keep_blob=False)
                    finally:
                        os.close(fd)
            self.progress.update(descriptor["digest"], "Pull complete")

    def _config(self, descriptor: dict) -> bytes:
        if descriptor["size"] > manifests.MAX_DOCUMENT:
            raise EngineError(f"the image's config is larger than {manifests.MAX_DOCUMENT} bytes")
        return self.registry.blob_bytes(descriptor)


def _add_tag(images: Images, entry: dict, name: Reference, digest: str) -> None:
    """Add the name to an image that is here already."""
    with images.layout.lock():
        entries = images.layout.index()
        if not any(other["digest"] == entry["digest"] for other in entries):
            raise NoSuchImage(name.familiar)  # removed by another process meanwhile
        new = named(entry, name)
        new["annotations"][PULLED] = digest
        images.layout.replace_index(with_entry(entries, new))


def _id(images: Images, name: Reference) -> str:
    """The id of the image with this name or digest; "" if there is none."""
    try:
        return images.find(name.full).id
    except NoSuchImage:
        return ""


def _docker_error(error: RegistryError, name: Reference) -> EngineError:
    """Docker's daemon's own messages for an image that does not exist, or is not accessible."""
    messages = {
        "DENIED": f"pull access denied for {name.familiar_name}, repository does not exist or may require 'docker "
        "login'",
        "MANIFEST_UNKNOWN": f"manifest for {name.familiar} not found",
        "NAME_UNKNOWN": f"repository {name.familiar_name} not found",
    }
    if error.code in messages and not error.at:
        return RegistryError(f"{messages[error.code]}: {error.message}", error.status, error.code)
    if error.status == 404 and not (error.code or error.at):  # a plain web server that serves files
        return RegistryError(
            f"{messages['MANIFEST_UNKNOWN']}: manifest unknown: manifest unknown", 404, "MANIFEST_UNKNOWN"
        )
    return error
