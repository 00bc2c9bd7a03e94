"""What a registry calls an image: a manifest, or an index that names one manifest for each platform.

    index (OCI), manifest list (Docker)     platform → digest of a manifest
    manifest (OCI), schema 2 (Docker)       digest of the config, digests of the layers, lowest first

All of it was written by somebody else. A document is what it says in its `mediaType`, what the registry's header
says, and what it looks like, and these three must agree: one that is read as a manifest here and as an index there
would be two images with one digest.
"""

from __future__ import annotations

import os

from minirun import store
from minirun.errors import EngineError, MinirunError
from minirun.image import layout as oci
from minirun.image import reference

#: The OCI's (Go's) names of what uname(2) calls the machine.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i686": "386", "i386": "386"}
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
#: What we can read, as the header Accept says it.
ACCEPTED = ", ".join((*oci.MANIFESTS, *INDEXES))
#: The most bytes of a manifest or a config: what the distribution specification lets a registry refuse.
LARGEST = 4 * 1024 * 1024
#: Operating systems and architectures that a platform's single word may be.
_SYSTEMS = ("linux", "windows", "darwin", "freebsd")
_SAME = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "armel": "arm", "i386": "386"}
_KNOWN = frozenset("386 amd64 arm arm64 loong64 mips mipsle mips64 mips64le ppc64 ppc64le riscv64 s390x".split())


class Platform:
    """What an image runs on: `.os`, `.architecture`, `.variant` (str; "" for any variant)."""

    def __init__(self, system: str, architecture: str, variant: str = "") -> None:
        self.os, self.architecture, self.variant = system, architecture, variant

    def __str__(self) -> str:
        return "/".join(word for word in (self.os, self.architecture, self.variant) if word)

    def fits(self, other: dict) -> bool:
        """Whether a platform in an index (OCI image-spec, image-index.md) is this one."""
        return (other.get("os"), other.get("architecture")) == (self.os, self.architecture) and (
            not self.variant or other.get("variant", "") in ("", self.variant))


def platform(word: str = "") -> Platform:
    """The platform that a word stands for, "linux/arm64/v8" or "arm64"; without a word, this machine's.

    Errors: EngineError in the words of containerd/platforms.
    """
    machine = os.uname().machine
    here = ARCHITECTURES.get(machine, machine)
    if not word:
        return Platform("linux", here)
    parts = word.lower().split("/")
    if len(parts) > 3:
        raise EngineError(f'"{word}": cannot parse platform specifier: invalid argument')
    if len(parts) == 1:
        if parts[0] in _SYSTEMS:
            return Platform(parts[0], here)
        if _SAME.get(parts[0], parts[0]) not in _KNOWN:
            raise EngineError(f'"{word}": unknown operating system or architecture: invalid argument')
        return Platform("linux", _SAME.get(parts[0], parts[0]))
    architecture, variant = _SAME.get(parts[1], parts[1]), (parts + [""])[2]
    if (architecture, variant) == ("arm64", "v8"):
        variant = ""  # the only one that there was for long: indexes leave it out, or not
    return Platform(parts[0], architecture, variant)


def read(data: bytes, media_type: str) -> tuple[dict, str]:
    """A manifest or an index, checked.

    Arguments: data, the bytes as they came; media_type (str), what the header Content-Type said, "" if nothing.
    Returns: the document and its media type. Errors: EngineError for what is neither, or both.
    """
    document = _object(data, "manifest")
    says = document.get("mediaType") or ""
    told = media_type.partition(";")[0].strip().lower()
    if told not in (*oci.MANIFESTS, *INDEXES):
        told = says  # a registry that hands out files as files
    kind = says or told
    if kind != told:
        raise EngineError(f"invalid manifest: it says that it is {says}, and the registry that it is {told}")
    if document.get("schemaVersion") == 1 or "fsLayers" in document:
        raise EngineError("[DEPRECATION NOTICE] Docker Image Format v1 and Docker Image manifest version 2, schema 1 "
                          "are not supported")
    if document.get("schemaVersion") != 2 or kind not in (*oci.MANIFESTS, *INDEXES):
        raise EngineError(f"unsupported manifest format: {kind or 'no media type'}")
    wanted, other = ("manifests", "layers") if kind in INDEXES else ("layers", "manifests")
    if other in document or ("config" in document) != (kind not in INDEXES):
        raise EngineError(f"invalid manifest: a {kind} with '{other if other in document else 'config'}'")
    if not isinstance(document.get(wanted), list):
        raise EngineError(f"invalid manifest: '{wanted}' is not a list")
    for descriptor in (*document[wanted], *([document["config"]] if wanted == "layers" else [])):
        check(descriptor)
    return document, kind


def choose(index: dict, wanted: Platform, name: str) -> dict:
    """The descriptor of the manifest for a platform. Errors: EngineError in Docker's words when there is none."""
    for descriptor in index["manifests"]:
        if wanted.fits(descriptor.get("platform") or {}) and descriptor.get("mediaType") in oci.MANIFESTS:
            return descriptor
    raise EngineError(f"no matching manifest for {wanted} in the manifest list entries",
                      hint=f"{name} is there for " + ", ".join(_platforms(index) or ["no platform"]))


def check(descriptor: object) -> None:
    """Refuse a descriptor that leads nowhere (OCI image-spec, descriptor.md). Errors: EngineError."""
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
    """An image's config, checked against its manifest. Errors: EngineError."""
    config = _object(data, "image config")
    rootfs = config.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or not all(isinstance(one, str) for one in diff_ids):
        raise EngineError("invalid image config: no list of layers")
    if len(diff_ids) != len(manifest["layers"]):
        raise EngineError("invalid image: its config and its manifest do not have the same number of layers")
    for diff_id in diff_ids:
        check({"digest": diff_id, "size": 0})
    if not isinstance(config.get("config") or {}, dict):
        raise EngineError("invalid image config: 'config' is not an object")
    system = config.get("os") or "linux"
    if system != "linux":
        raise EngineError(f'image operating system "{system}" cannot be used on this platform')
    return config


def _object(data: bytes, what: str) -> dict:
    try:
        document = store.loads(data.decode())
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
            found.append("/".join(str(word) for word in words if word))
    return found
