"""`docker load`: the images in an archive that `docker save`, skopeo or another tool wrote.

    docker-archive     manifest.json: [{"Config": name, "RepoTags": [...], "Layers": [names, lowest first]}]
    oci-archive        index.json: descriptors of manifests, which have descriptors of config and layers; all of them
                       blobs/<algorithm>/<digest>

An archive may be both (Docker writes such since version 25); then manifest.json counts, as for every Docker. All
documents are checked before the first layer is unpacked; each image is then committed as a whole.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field

from minirun import jsoncodec
from minirun.errors import ClientError, EngineError, NoSuchImage
from minirun.image import manifests, platforms, reference, tags
from minirun.image.archive.index import ArchiveIndex
from minirun.image.config import check as check_config
from minirun.image.content import layout as oci
from minirun.image.content.image_writer import ImageWriter
from minirun.image.content.ingest import Ingest
from minirun.image.digest import sha256
from minirun.image.progress import ProgressBar
from minirun.image.sanitize import printable
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from minirun.image.images import Image, Images
    from minirun.image.reference import Reference

#: The media types of an image config; anything else is an artifact, which cannot be run.
CONFIG_TYPES = (oci.CONFIG, "application/vnd.docker.container.image.v1+json")
NO_IMAGE = "the archive holds no image: it has neither a manifest.json nor an index.json"


@dataclass
class ArchivedImage:
    """An image in an archive.

    Attributes: config; diff_ids, names; members, the names of the archive's members with the layers, lowest first;
    descriptors of the layers and manifest with its media_type, empty for a docker-archive.
    """

    config: bytes
    diff_ids: list[str]
    names: list[Reference]
    members: list[str]
    descriptors: list[dict] = field(default_factory=list)
    manifest: bytes = b""
    media_type: str = oci.MANIFEST


def load(images: Images, source: str, report: Callable[[str], None], *, quiet: bool = False) -> None:
    """Load all images of an archive.

    Arguments: images, where to; source (str), a path, or "-" for stdin: a tar, plain or gzip, xz, bzip2, zstd; report,
    called with each of Docker's lines ("Loaded image: alpine:latest"); quiet (bool), no progress bar.
    Errors: ClientError, EngineError and KernelError for an image that cannot be read; it is not loaded then, those
    before it are.
    """
    fd = _open(source)
    try:
        with Ingest(images.layout) as ingest:
            with ProgressBar("Reading", fd, hidden=quiet) as on_read:
                archive = ArchiveIndex(fd, ingest, images.layout.quota(), on_read)
            try:
                is_docker = "manifest.json" in archive
                found = list(_read_docker_archive(archive) if is_docker else _read_oci_archive(archive))
                untagged = []
                for image in found:
                    with ProgressBar("Loading", fd, hidden=quiet) as on_read:
                        image_id = _load_image(images, archive, image, report, on_read)
                    untagged += [] if image.names else [image_id]
                if len(untagged) == len(found):
                    for image_id in untagged:
                        report(f"Loaded image ID: {image_id}")
            finally:
                archive.close()
    finally:
        if source != "-":
            os.close(fd)


def _open(source: str) -> int:
    if source == "-":
        return 0
    try:
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        if os.path.isdir(fd):
            os.close(fd)
            raise ClientError(f"read {source}: is a directory", exit_code=1)
    except OSError as reason:
        raise ClientError(f"open {source}: {os.strerror(reason.errno or errno.EIO).lower()}", exit_code=1) from None
    return fd


# ---- parsing the archive -------------------------------------------------------------------------------------------


def _read_docker_archive(archive: ArchiveIndex) -> Iterator[ArchivedImage]:
    """The images of a docker-archive (moby, image/tarexport)."""
    try:
        items = jsoncodec.loads(archive.read("manifest.json").decode())
    except (ValueError, RecursionError):
        raise EngineError("invalid manifest.json: it is not JSON") from None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise EngineError("invalid manifest.json: it is not a list of images")
    if not items:
        raise EngineError("the archive holds no image: its manifest.json is empty")
    for item in items:
        name, tags, members = item.get("Config"), item.get("RepoTags") or [], item.get("Layers") or []
        if not isinstance(name, str) or not _is_string_list(tags) or not _is_string_list(members):
            raise EngineError("invalid manifest.json: Config, RepoTags or Layers is not what it should be")
        config = archive.read(name)
        digest = name.rpartition("/")[2].removesuffix(".json")
        if reference.is_id(digest) and sha256(config) != f"sha256:{digest}":
            raise EngineError(f"config sha256:{digest} is damaged: its content does not match its digest")
        document = manifests.read_config(config, {"layers": members})
        check_config(document)
        yield ArchivedImage(config, document["rootfs"]["diff_ids"], [_tag(tag) for tag in tags], members)


def _is_string_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _tag(word: str) -> Reference:
    name = reference.parse(word)
    if not name.tag or name.digest:
        raise EngineError(f'invalid tag "{printable(word)}"')
    return name


def _read_oci_archive(archive: ArchiveIndex) -> Iterator[ArchivedImage]:
    """The images of an OCI layout (OCI image-spec, image-layout.md)."""
    if "index.json" not in archive:
        raise EngineError(NO_IMAGE)
    index, _ = manifests.read(archive.read("index.json"), manifests.INDEXES[0])
    for entry in _for_this_platform(index):
        descriptor = entry
        while descriptor["mediaType"] in manifests.INDEXES:  # by digest, so there can be no cycle
            inner, _ = manifests.read(archive.blob(descriptor), descriptor["mediaType"])
            descriptor = manifests.choose(inner, platforms.parse(), tags.archived_name(entry) or "the image")
        data = archive.blob(descriptor)
        manifest, media_type = manifests.read(data, descriptor["mediaType"])
        if manifest["config"].get("mediaType") not in CONFIG_TYPES:
            raise EngineError(f"unsupported image config: {printable(manifest['config'].get('mediaType'))}")
        config = archive.blob(manifest["config"])
        document = manifests.read_config(config, manifest)
        check_config(document)
        name = tags.archived_name(entry)
        yield ArchivedImage(
            config,
            document["rootfs"]["diff_ids"],
            [reference.parse(name)] if name else [],
            [archive.name_of(layer) for layer in manifest["layers"]],
            manifest["layers"],
            data,
            media_type,
        )


def _for_this_platform(index: dict) -> list[dict]:
    """The entries of an index without those for other platforms; a single entry may be for any platform."""
    entries = [entry for entry in index["manifests"] if entry.get("mediaType") in (*oci.MANIFESTS, *manifests.INDEXES)]
    here = platforms.parse()
    fitting = [entry for entry in entries if not entry.get("platform") or here.fits(entry["platform"])]
    for entry in entries:
        if not isinstance(entry.get("annotations") or {}, dict) or not all(
            isinstance(note, str) for note in (entry.get("annotations") or {}).values()
        ):
            raise EngineError("invalid index: annotations that are none")
    if not entries:
        raise EngineError("the archive holds no image: its index is empty")
    if not fitting and len(entries) > 1:
        manifests.choose(index, here, "the archive")  # whose error lists the platforms
    return fitting or entries


# ---- importing the images ------------------------------------------------------------------------------------------


def _load_image(
    images: Images,
    archive: ArchiveIndex,
    image: ArchivedImage,
    report: Callable[[str], None],
    on_read: Callable[[int], None] | None,
) -> str:
    """Unpack the layers that are not in the store, and commit the image. Returns: its id."""
    image_id = sha256(image.config)
    known, manifest, media_type = _known_blobs(images.every(), image_id)
    if image.manifest:
        known = dict(zip(image.diff_ids, image.descriptors))
        manifest, media_type = image.manifest, image.media_type
    with ImageWriter(images.layout) as writer:
        for number, (diff_id, member) in enumerate(zip(image.diff_ids, image.members)):
            layer = archive.member(member)
            descriptor = image.descriptors[number] if image.descriptors else None
            if descriptor and layer.size != descriptor["size"]:
                raise EngineError(f"layer {descriptor['digest']} is damaged: it does not have the size it should have")
            plain = {"mediaType": oci.LAYER, "digest": diff_id, "size": layer.size}
            with writer.layer_lock(diff_id):
                if not writer.has_layer(diff_id, known.get(diff_id) or writer.stored_blob(diff_id) or plain):
                    writer.add_layer(layer, diff_id=diff_id, descriptor=descriptor, on_read=on_read)
        for name in image.names:
            _report_replaced(images, name, image_id, report)
        writer.commit(image.config, image.names or [None], manifest, media_type)
    for name in image.names:
        report(f"Loaded image: {name.familiar}")
    return image_id


def _known_blobs(images: list[Image], image_id: str) -> tuple[dict[str, dict], bytes, str]:
    """The blobs in the store, diff id → descriptor; and the manifest of the image, if it is here, with its media type.

    So an image that was pulled, and is loaded from an archive, keeps its compressed layers and its digest.
    """
    known: dict[str, dict] = {}
    for image in images:
        found = dict(zip(image.diff_ids, image.manifest["layers"]))
        if image.id == image_id and set(image.diff_ids) == set(found):
            with open(image.layout.blob(image.digest), "rb") as file:
                return found, file.read(), image.manifest.get("mediaType") or oci.MANIFEST
        known |= found
    return known, b"", oci.MANIFEST


def _report_replaced(images: Images, name: Reference, image_id: str, report: Callable[[str], None]) -> None:
    try:
        old = images.find(name.familiar).id
    except NoSuchImage:
        return
    if old != image_id:
        report(f"The image {name.familiar} already exists, renaming the old one with ID {old} to empty string")
