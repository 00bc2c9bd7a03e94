"""Compresses the layers of an image before a push, as `docker push` does.

A layer that was pulled is stored as it was received. One that `commit` or `import` made is a plain tar; the first push
compresses it, and the image gets a new manifest with the compressed layers, here as in the registry. Its id stays the
same, because the config has only the digests of the plain tars (`diff_ids`):

    config    diff_ids [sha256:<plain tar>, ...]                          the image's id is this file's digest
    manifest  layers   [sha256:<plain tar>, ...]       before the push
    manifest  layers   [sha256:<the gzip of it>, ...]  after it

The same tar gives the same gzip, whose header has no name and no time. So a second push has nothing to upload, and
images share compressed layers.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from concurrent.futures import ThreadPoolExecutor

from minirun import jsoncodec, store
from minirun.errors import EngineError, KernelError
from minirun.image.content import layout as oci
from minirun.image.content.ingest import Ingest
from minirun.image.layer.tee_reader import CHUNK
from minirun.image.tags import PULLED
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from minirun.image.images import Image, Images

#: The media type of a plain layer → of a compressed one: OCI's, and Docker's for images from other tools.
COMPRESSED_TYPE = {
    oci.LAYER: oci.LAYER_GZIP,
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.docker.image.rootfs.diff.tar.gzip",
}
#: zlib's compression level, as in Docker.
LEVEL = 6
_GZIP = 16 + zlib.MAX_WBITS
THREADS = 2


def ensure_compressed(images: Images, image: Image) -> Image:
    """The image with all its layers compressed; one that was pulled stays as it is.

    Errors: EngineError for a layer that is damaged; KernelError for a full disk. Nothing is changed then.
    """
    layers = image.manifest["layers"]
    pulled = any(
        entry["digest"] == image.digest and PULLED in (entry.get("annotations") or {})
        for entry in images.layout.index()
    )
    if pulled or not any(layer["mediaType"] in COMPRESSED_TYPE for layer in layers):
        return image
    with Ingest(images.layout) as ingest:
        return _Compressor(images, image, ingest).image()


class _Compressor:
    """Compresses the layers of one image. Arguments: ingest (str), a directory for temporary files."""

    def __init__(self, images: Images, image: Image, ingest: str) -> None:
        self._layout, self._image, self._ingest = images.layout, image, ingest
        self._layers: dict[str, dict] = dict(zip(image.diff_ids, image.manifest["layers"], strict=True))
        with self._layout.lock():  # the lease: `rmi` must not remove what we read
            self._known = _compressed_blobs(images.every())
            needed = [layer["digest"] for layer in (*self._layers.values(), *self._known.values())]
            self._layout.lease(ingest, image.chain_ids, [image.digest, image.id, *needed])

    def image(self) -> Image:
        """Compress the plain layers and replace the image's manifest. Returns: the image with the new one."""
        with ThreadPoolExecutor(THREADS, "pack") as pool:  # zlib releases the interpreter's lock
            compressed = dict(zip(self._layers, pool.map(self._layer, self._layers), strict=True))
        document = {**self._image.manifest, "layers": [compressed[diff_id] for diff_id in self._image.diff_ids]}
        with self._layout.lock():
            for layer in compressed.values():
                path = self._path(layer["digest"])
                if os.path.exists(path):
                    self._layout.commit_blob(path, layer["digest"])
            manifest = self._layout.write_blob(
                jsoncodec.dumps(document).encode(), document.get("mediaType") or oci.MANIFEST
            )
            self._replace(manifest)
        return type(self._image)(self._layout, manifest, self._image.names)

    def _layer(self, diff_id: str) -> dict:
        """The descriptor of a compressed layer, which is then in the store or in the ingest."""
        layer = self._layers[diff_id]
        if layer["mediaType"] not in COMPRESSED_TYPE:
            return layer
        return self._known.get(diff_id) or self._compress(diff_id, layer)

    def _compress(self, diff_id: str, layer: dict) -> dict:
        plain, compressed, size = hashlib.sha256(), hashlib.sha256(), 0
        gzip = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)
        target = self._path(diff_id)
        try:
            with open(self._layout.blob(layer["digest"]), "rb") as source, open(target, "xb") as file:
                while data := source.read(CHUNK):
                    plain.update(data)
                    file.write(piece := gzip.compress(data))
                    compressed.update(piece)
                file.write(piece := gzip.flush())
                compressed.update(piece)
                size = file.tell()
                file.flush()
                os.fsync(file.fileno())
        except OSError as reason:
            raise KernelError(f"pack layer {diff_id}", reason.errno or 0, hint=store.disk_hint(reason)) from None
        if f"sha256:{plain.hexdigest()}" != diff_id:
            raise EngineError(f"layer {diff_id} is damaged: its content does not match its digest")
        digest = f"sha256:{compressed.hexdigest()}"
        os.rename(target, self._path(digest))
        return {"mediaType": COMPRESSED_TYPE[layer["mediaType"]], "digest": digest, "size": size}

    def _path(self, digest: str) -> str:
        return f"{self._ingest}/{digest.partition(':')[2]}"

    def _replace(self, manifest: dict) -> None:
        """Replace the manifest in the index, and remove the blobs that only the old one needed. Holds the lock."""
        old = self._image.digest
        self._layout.replace_index(
            [{**entry, **manifest} if entry["digest"] == old else entry for entry in self._layout.index()]
        )
        gone, _ = self._layout.reachable([{"digest": old}])
        self._layout.lease(self._ingest, [], [])
        kept, _ = self._layout.in_use()
        for blob in gone - kept:
            store.discard(self._layout.blob(blob))


def _compressed_blobs(images: list[Image]) -> dict[str, dict]:
    """The compressed layers of all images: diff id → descriptor."""
    return {
        diff_id: layer
        for image in images
        for diff_id, layer in zip(image.diff_ids, image.manifest["layers"], strict=True)
        if layer["mediaType"] in COMPRESSED_TYPE.values() and os.path.exists(image.layout.blob(layer["digest"]))
    }
