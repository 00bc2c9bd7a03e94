"""Small images of random layers: what goes into the registries of the tests."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile

#: Bytes of a layer of `layers`.
SIZE = 300_000
OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."


def digest(data: bytes) -> str:
    """The digest of some bytes, with its algorithm."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def layers(*names: str) -> list[dict[str, bytes]]:
    """A layer for each name, with a file that cannot be compressed."""
    return [{name: os.urandom(SIZE)} for name in names]


def short(blob: str) -> str:
    """A digest as Docker shows it."""
    return blob.removeprefix("sha256:")[:12]


class Image:
    """An image of small layers. `.blobs` {digest: bytes}, `.manifest` (bytes), `.digest`, `.id`, `.layers` (digests).

    Arguments: files, for each layer {name: content}; docker (bool), Docker's media types instead of the OCI's; words,
    what else is in its config.
    """

    def __init__(self, *files: dict[str, bytes], docker: bool = False, **words: object) -> None:
        tars = [_tar(layer) for layer in files]
        packed = [gzip.compress(tar, 1, mtime=0) for tar in tars]
        self.diff_ids, self.layers = [digest(tar) for tar in tars], [digest(blob) for blob in packed]
        self.config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Cmd": ["sh"]},
                "rootfs": {"type": "layers", "diff_ids": self.diff_ids},
                **words,
            }
        ).encode()
        self.id = digest(self.config)
        self.blobs = {digest(blob): blob for blob in [self.config, *packed]}
        self.type = f"{DOCKER}distribution.manifest.v2+json" if docker else f"{OCI}manifest.v1+json"
        config = f"{DOCKER}container.image.v1+json" if docker else f"{OCI}config.v1+json"
        layer = f"{DOCKER}image.rootfs.diff.tar.gzip" if docker else f"{OCI}layer.v1.tar+gzip"
        self.document = {
            "schemaVersion": 2,
            "mediaType": self.type,
            "config": {"mediaType": config, "digest": self.id, "size": len(self.config)},
            "layers": [{"mediaType": layer, "digest": digest(blob), "size": len(blob)} for blob in packed],
        }

    @property
    def manifest(self) -> bytes:
        """The manifest as it is sent."""
        return json.dumps(self.document).encode()

    @property
    def digest(self) -> str:
        """The digest of some bytes, with its algorithm."""
        return digest(self.manifest)

    def descriptor(self, architecture: str) -> dict:
        """What an index says of it."""
        return {
            "mediaType": self.type,
            "digest": self.digest,
            "size": len(self.manifest),
            "platform": {"os": "linux", "architecture": architecture},
        }


def index(*descriptors: dict, docker: bool = False) -> bytes:
    """An index of several platforms."""
    kind = f"{DOCKER}distribution.manifest.list.v2+json" if docker else f"{OCI}index.v1+json"
    return json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": list(descriptors)}).encode()


def _tar(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return data.getvalue()
