"""Manifests and indexes, parsed and validated (OCI image-spec, manifest.md and image-index.md).

    index (OCI), manifest list (Docker)     platform → digest of a manifest
    manifest (OCI), schema 2 (Docker)       digest of the config, digests of the layers, lowest first

They are untrusted input. The type of a document follows from its `mediaType`, from the registry's header and from its
fields, and these three must agree (CVE-2021-41190): a document that one tool reads as a manifest and another as an
index would be two images with one digest.
"""

from __future__ import annotations

from minirun import jsoncodec
from minirun.errors import EngineError, MinirunError
from minirun.image import reference
from minirun.image.content import layout as oci
from minirun.image.sanitize import printable
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from minirun.image.platforms import Platform

INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
#: The header Accept of a request for a manifest.
ACCEPTED = ", ".join((*oci.MANIFESTS, *INDEXES))
#: The most bytes of a manifest or a config; distribution-spec lets a registry refuse larger manifests.
MAX_DOCUMENT = 4 * 1024 * 1024


def read(data: bytes, media_type: str) -> tuple[dict, str]:
    """Parse a manifest or an index.

    Arguments: data, its bytes; media_type (str), of the header Content-Type, "" for none.
    Returns: the document and its media type. Errors: EngineError for what is neither, or both.
    """
    document = _object(data, "manifest")
    document_type = document.get("mediaType") or ""
    header_type = media_type.partition(";")[0].strip().lower()
    if header_type not in (*oci.MANIFESTS, *INDEXES):
        header_type = document_type  # a plain web server, whose Content-Type says nothing
    kind = document_type or header_type
    if kind != header_type:
        raise EngineError(
            f"invalid manifest: it says that it is {printable(document_type)}, "
            f"and the registry that it is {printable(header_type)}"
        )
    if document.get("schemaVersion") == 1 or "fsLayers" in document:
        raise EngineError(
            "[DEPRECATION NOTICE] Docker Image Format v1 and Docker Image manifest version 2, schema 1 "
            "are not supported"
        )
    if document.get("schemaVersion") != 2 or kind not in (*oci.MANIFESTS, *INDEXES):
        raise EngineError(f"unsupported manifest format: {printable(kind or 'no media type')}")
    wanted, other = ("manifests", "layers") if kind in INDEXES else ("layers", "manifests")
    if other in document or ("config" in document) != (kind not in INDEXES):
        raise EngineError(f"invalid manifest: a {kind} with '{other if other in document else 'config'}'")
    if not isinstance(document.get(wanted), list):
        raise EngineError(f"invalid manifest: '{wanted}' is not a list")
    for descriptor in (*document[wanted], *([document["config"]] if wanted == "layers" else [])):
        check_descriptor(descriptor)
    return document, kind


def choose(index: dict, wanted: Platform, name: str) -> dict:
    """The descriptor of the manifest for a platform in an index, or of a nested index without a platform.

    Errors: EngineError with Docker's message when there is none.
    """
    ranks = [(wanted.rank(descriptor.get("platform") or {}), descriptor) for descriptor in index["manifests"]]
    fitting = [
        (rank, descriptor)
        for rank, descriptor in ranks
        if rank is not None and descriptor.get("mediaType") in (*oci.MANIFESTS, *INDEXES)
    ]
    if fitting:
        return min(fitting, key=lambda one: one[0])[1]
    for descriptor in index["manifests"]:
        if not descriptor.get("platform") and descriptor.get("mediaType") in INDEXES:
            return descriptor
    raise EngineError(
        f"no matching manifest for {wanted} in the manifest list entries",
        hint=f"{name} is there for " + ", ".join(_platforms(index) or ["no platform"]),
    )


def check_descriptor(descriptor: object) -> None:
    """Refuse an invalid descriptor (OCI image-spec, descriptor.md). Errors: EngineError."""
    if not isinstance(descriptor, dict) or not isinstance(descriptor.get("digest"), str):
        raise EngineError("invalid manifest: a descriptor without a digest")
    try:
        reference.check_digest(descriptor["digest"])
    except MinirunError as error:
        raise EngineError(f"invalid manifest: {error.message}") from None
    size = descriptor.get("size")
    if not descriptor["digest"].startswith("sha256:"):
        raise EngineError(f"unsupported digest algorithm: {descriptor['digest'].partition(':')[0]}")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise EngineError(f"invalid manifest: the size of {descriptor['digest']} is not a number of bytes")
    if not isinstance(descriptor.get("platform") or {}, dict):
        raise EngineError("invalid manifest: a platform that is none")


def read_config(data: bytes, manifest: dict) -> dict:
    """Parse an image config and check it against its manifest. Errors: EngineError."""
    config = _object(data, "image config")
    rootfs = config.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or not all(isinstance(one, str) for one in diff_ids):
        raise EngineError("invalid image config: no list of layers")
    if len(diff_ids) != len(manifest["layers"]):
        raise EngineError("invalid image: its config and its manifest do not have the same number of layers")
    for diff_id in diff_ids:
        check_descriptor({"digest": diff_id, "size": 0})
    if not isinstance(config.get("config") or {}, dict):
        raise EngineError("invalid image config: 'config' is not an object")
    system = config.get("os") or "linux"
    if system != "linux":
        raise EngineError(f'image operating system "{printable(system)}" cannot be used on this platform')
    return config


def _object(data: bytes, what: str) -> dict:
    try:
        document = jsoncodec.loads(data.decode())
        jsoncodec.dumps(document).encode()  # "\\ud800" is valid JSON, but cannot be encoded again
    except (ValueError, RecursionError):
        raise EngineError(f"invalid {what}: it is not JSON") from None
    if not isinstance(document, dict):
        raise EngineError(f"invalid {what}: it is not an object")
    return document


def _platforms(index: dict) -> list[str]:
    found = []
    for descriptor in index["manifests"]:
        known = descriptor.get("platform") or {}
        words = [known.get(key) for key in ("os", "architecture", "variant")]
        if words[0] not in (None, "unknown"):
            found.append("/".join(printable(word) for word in words if word))
    return found
