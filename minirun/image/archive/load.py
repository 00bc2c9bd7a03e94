"""`docker load`: the images in an archive that `docker save`, skopeo or another tool wrote.

    docker-archive     manifest.json: [{"Config": name, "RepoTags": [...], "Layers": [names, lowest first]}]
    oci-archive        index.json: descriptors of manifests, which have descriptors of config and layers; all of them
                       blobs/<algorithm>/<digest>

An archive may be both (Docker does that since version 25); then manifest.json counts, as for every Docker. All that
names the images is checked before the first layer is unpacked; each image then comes in as one (see `writer`).
"""

from __future__ import annotations

import errno
import os

from minirun import jsoncodec
from minirun.errors import ClientError, EngineError, NoSuchImage
from minirun.image import manifests, platforms, reference, tags
from minirun.image.archive.index import Bundle
from minirun.image.config import check as check_config
from minirun.image.content import layout as oci
from minirun.image.content.image_writer import ImageWriter
from minirun.image.content.ingest import Ingest
from minirun.image.digest import sha256
from minirun.image.progress import ProgressBar
from minirun.image.sanitize import shown
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from minirun.image.images import Image, Images
    from minirun.image.reference import Reference

#: What the config of an image may be called; anything else is an artifact that nobody can run.
CONFIGS = (oci.CONFIG, "application/vnd.docker.container.image.v1+json")
NO_IMAGE = "the archive holds no image: it has neither a manifest.json nor an index.json"


class Packed:
    """An image in an archive.

    Attributes: config (bytes), diff_ids (list of str), names (list of Reference), parts (list of str, the members that
    are its layers, lowest first); descriptors (list of dict, of the layers) and manifest (bytes) with its media_type,
    empty for a docker-archive.
    """

    def __init__(self, config: bytes, diff_ids: list[str], names: list[Reference], parts: list[str]) -> None:
        self.config, self.diff_ids, self.names, self.parts = config, diff_ids, names, parts
        self.descriptors: list[dict] = []
        self.manifest, self.media_type = b"", oci.MANIFEST


def load(images: Images, source: str, report: Callable[[str], None], *, quiet: bool = False) -> None:
    """Take in all images of an archive.

    Arguments: images, where to; source (str), a path, or "-" for stdin: a tar, plain or gzip, xz, bzip2, zstd; report,
    called with each of Docker's lines ("Loaded image: alpine:latest"); quiet (bool), no progress bar.
    Errors: ClientError, EngineError and KernelError for what cannot be read; the image in question is not there then,
    those before it are.
    """
    fd = _open(source)
    try:
        with Ingest(images.layout) as ingest:
            with ProgressBar("Reading", fd, hidden=quiet) as on_read:
                bundle = Bundle(fd, ingest, images.layout.quota(), on_read)
            try:
                packed = list(_docker(bundle) if "manifest.json" in bundle else _oci(bundle))
                nameless = []
                for one in packed:
                    with ProgressBar("Loading", fd, hidden=quiet) as on_read:
                        image_id = _take_in(images, bundle, one, report, on_read)
                    nameless += [] if one.names else [image_id]
                if not any(one.names for one in packed):
                    for image_id in nameless:
                        report(f"Loaded image ID: {image_id}")
            finally:
                bundle.close()
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


# ---- what the archive says -----------------------------------------------------------------------------------------


def _docker(bundle: Bundle) -> Iterator[Packed]:
    """The images of a docker-archive (moby, image/tarexport)."""
    try:
        items = jsoncodec.loads(bundle.read("manifest.json").decode())
    except (ValueError, RecursionError):
        raise EngineError("invalid manifest.json: it is not JSON") from None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise EngineError("invalid manifest.json: it is not a list of images")
    if not items:
        raise EngineError("the archive holds no image: its manifest.json is empty")
    for item in items:
        name, tags, parts = item.get("Config"), item.get("RepoTags") or [], item.get("Layers") or []
        if not isinstance(name, str) or not _are_words(tags) or not _are_words(parts):
            raise EngineError("invalid manifest.json: Config, RepoTags or Layers is not what it should be")
        config = bundle.read(name)
        digest = name.rpartition("/")[2].removesuffix(".json")
        if reference.is_id(digest) and sha256(config) != f"sha256:{digest}":
            raise EngineError(f"config sha256:{digest} is damaged: its content does not match its digest")
        document = manifests.read_config(config, {"layers": parts})
        check_config(document)
        yield Packed(config, document["rootfs"]["diff_ids"], [_tag(tag) for tag in tags], parts)


def _are_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _tag(word: str) -> Reference:
    name = reference.parse(word)
    if not name.tag or name.digest:
        raise EngineError(f'invalid tag "{shown(word)}"')
    return name


def _oci(bundle: Bundle) -> Iterator[Packed]:
    """The images of an OCI layout (OCI image-spec, image-layout.md)."""
    if "index.json" not in bundle:
        raise EngineError(NO_IMAGE)
    index, _ = manifests.read(bundle.read("index.json"), manifests.INDEXES[0])
    for entry in _for_us(index):
        descriptor = entry
        while descriptor["mediaType"] in manifests.INDEXES:  # each names the next by its digest: there is no circle
            inner, _ = manifests.read(bundle.blob(descriptor), descriptor["mediaType"])
            descriptor = manifests.choose(inner, platforms.parse(), tags.archived_name(entry) or "the image")
        data = bundle.blob(descriptor)
        manifest, media_type = manifests.read(data, descriptor["mediaType"])
        if manifest["config"].get("mediaType") not in CONFIGS:
            raise EngineError(f"unsupported image config: {shown(manifest['config'].get('mediaType'))}")
        config = bundle.blob(manifest["config"])
        document = manifests.read_config(config, manifest)
        check_config(document)
        name = tags.archived_name(entry)
        packed = Packed(
            config,
            document["rootfs"]["diff_ids"],
            [reference.parse(name)] if name else [],
            [bundle.name_of(layer) for layer in manifest["layers"]],
        )
        packed.descriptors, packed.manifest, packed.media_type = manifest["layers"], data, media_type
        yield packed


def _for_us(index: dict) -> list[dict]:
    """Its images, without those that say they are for another platform; one that is alone may be for any."""
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
        manifests.choose(index, here, "the archive")  # which says what there is
    return fitting or entries


# ---- and how it gets in --------------------------------------------------------------------------------------------


def _take_in(
    images: Images, bundle: Bundle, packed: Packed, report: Callable[[str], None], on_read: Callable[[int], None] | None
) -> str:
    """Unpack the layers that are not here yet, and let the image exist. Returns: its id."""
    image_id = sha256(packed.config)
    known, manifest, media_type = _known(images.every(), image_id)
    if packed.manifest:
        known = dict(zip(packed.diff_ids, packed.descriptors))
        manifest, media_type = packed.manifest, packed.media_type
    with ImageWriter(images.layout) as writer:
        for place, (diff_id, member) in enumerate(zip(packed.diff_ids, packed.parts)):
            part = bundle.part(member)
            descriptor = packed.descriptors[place] if packed.descriptors else None
            if descriptor and part.size != descriptor["size"]:
                raise EngineError(f"layer {descriptor['digest']} is damaged: it does not have the size it should have")
            plain = {"mediaType": oci.LAYER, "digest": diff_id, "size": part.size}
            with writer.layer_lock(diff_id):
                if not writer.has_layer(diff_id, known.get(diff_id) or writer.stored_blob(diff_id) or plain):
                    writer.add_layer(part, diff_id=diff_id, descriptor=descriptor, on_read=on_read)
        for name in packed.names:
            _tell_of_the_old_one(images, name, image_id, report)
        writer.commit(packed.config, packed.names or [None], manifest, media_type)
    for name in packed.names:
        report(f"Loaded image: {name.familiar}")
    return image_id


def _known(images: list[Image], image_id: str) -> tuple[dict[str, dict], bytes, str]:
    """What is here already: diff id → descriptor of a blob; and the manifest of the very same image.

    So an image that was pulled, and comes again from an archive, keeps its compressed layers and its digest.
    """
    known: dict[str, dict] = {}
    for image in images:
        found = dict(zip(image.diff_ids, image.manifest["layers"]))
        if image.id == image_id and set(image.diff_ids) == set(found):
            with open(image.layout.blob(image.digest), "rb") as file:
                return found, file.read(), image.manifest.get("mediaType") or oci.MANIFEST
        known |= found
    return known, b"", oci.MANIFEST


def _tell_of_the_old_one(images: Images, name: Reference, image_id: str, report: Callable[[str], None]) -> None:
    try:
        old = images.find(name.familiar).id
    except NoSuchImage:
        return
    if old != image_id:
        report(f"The image {name.familiar} already exists, renaming the old one with ID {old} to empty string")
