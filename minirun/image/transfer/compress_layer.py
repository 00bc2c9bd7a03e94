"""Layers travel compressed: what was made here is packed before it is sent, as `docker push` does it.

A layer that was pulled lies here as it came. One that `commit` or `import` made is a plain tar; the first push packs
it, and the image gets a new manifest that tells of the packed layers, here as in the registry. The image stays the
same: it is its config, and a config knows the plain tars only (`diff_ids`).

    config    diff_ids [sha256:<plain tar>, ...]                          the image's id is this file's digest
    manifest  layers   [sha256:<plain tar>, ...]       before the push
    manifest  layers   [sha256:<the gzip of it>, ...]  after it

The same tar gives the same gzip: its header has no name and no time. So who pushes twice sends once, and two images
share what they packed.
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

#: A plain layer's media type, and the packed one's: OCI's and, in images that other tools brought, Docker's.
PACKED = {
    oci.LAYER: oci.LAYER_GZIP,
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.docker.image.rootfs.diff.tar.gzip",
}
#: zlib's strength, as Docker has it.
LEVEL = 6
_GZIP = 16 + zlib.MAX_WBITS
THREADS = 2


def ensure_compressed(images: Images, image: Image) -> Image:
    """The image with all its layers packed; one that came from a registry is left as it came.

    Errors: EngineError for a layer that is damaged; KernelError for a full disk. Nothing is changed then.
    """
    layers = image.manifest["layers"]
    came = any(
        entry["digest"] == image.digest and PULLED in (entry.get("annotations") or {})
        for entry in images.layout.index()
    )
    if came or not any(layer["mediaType"] in PACKED for layer in layers):
        return image
    with Ingest(images.layout) as ingest:
        return _Packing(images, image, ingest).image()


class _Packing:
    """One image that is being packed; `ingest` is a directory of our own."""

    def __init__(self, images: Images, image: Image, ingest: str) -> None:
        self._layout, self._image, self._ingest = images.layout, image, ingest
        self._layers: dict[str, dict] = dict(zip(image.diff_ids, image.manifest["layers"], strict=True))
        with self._layout.lock():  # from here on `rmi` leaves us what we read, and what others have packed
            self._known = _packed_already(images.every())
            needed = [layer["digest"] for layer in (*self._layers.values(), *self._known.values())]
            self._layout.lease(ingest, image.chain_ids, [image.digest, image.id, *needed])

    def image(self) -> Image:
        """Pack what is plain, and let the image have it."""
        with ThreadPoolExecutor(THREADS, "pack") as pool:  # zlib lets other threads run meanwhile
            packed = dict(zip(self._layers, pool.map(self._layer, self._layers), strict=True))
        document = {**self._image.manifest, "layers": [packed[diff_id] for diff_id in self._image.diff_ids]}
        with self._layout.lock():
            for layer in packed.values():
                path = self._path(layer["digest"])
                if os.path.exists(path):
                    self._layout.commit_blob(path, layer["digest"])
            manifest = self._layout.write_blob(
                jsoncodec.dumps(document).encode(), document.get("mediaType") or oci.MANIFEST
            )
            self._replace(manifest)
        return type(self._image)(self._layout, manifest, self._image.names)

    def _layer(self, diff_id: str) -> dict:
        """The descriptor of a layer's packed form, which is here then: in its place or in the ingest."""
        layer = self._layers[diff_id]
        if layer["mediaType"] not in PACKED:
            return layer
        return self._known.get(diff_id) or self._pack(diff_id, layer)

    def _pack(self, diff_id: str, layer: dict) -> dict:
        plain, packed, size = hashlib.sha256(), hashlib.sha256(), 0
        gzip = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)
        target = self._path(diff_id)
        try:
            with open(self._layout.blob(layer["digest"]), "rb") as source, open(target, "xb") as file:
                while data := source.read(CHUNK):
                    plain.update(data)
                    file.write(piece := gzip.compress(data))
                    packed.update(piece)
                file.write(piece := gzip.flush())
                packed.update(piece)
                size = file.tell()
                file.flush()
                os.fsync(file.fileno())
        except OSError as reason:
            raise KernelError(f"pack layer {diff_id}", reason.errno or 0, hint=store.disk_hint(reason)) from None
        if f"sha256:{plain.hexdigest()}" != diff_id:
            raise EngineError(f"layer {diff_id} is damaged: its content does not match its digest")
        digest = f"sha256:{packed.hexdigest()}"
        os.rename(target, self._path(digest))
        return {"mediaType": PACKED[layer["mediaType"]], "digest": digest, "size": size}

    def _path(self, digest: str) -> str:
        return f"{self._ingest}/{digest.partition(':')[2]}"

    def _replace(self, manifest: dict) -> None:
        """Let the image's names point at the new manifest, and remove what only the old one needed; under the lock."""
        old = self._image.digest
        self._layout.replace_index(
            [{**entry, **manifest} if entry["digest"] == old else entry for entry in self._layout.index()]
        )
        gone, _ = self._layout.reachable([{"digest": old}])
        self._layout.lease(self._ingest, [], [])
        kept, _ = self._layout.in_use()
        for blob in gone - kept:
            store.discard(self._layout.blob(blob))


def _packed_already(images: list[Image]) -> dict[str, dict]:
    """The packed layers of all images, by their diff ids."""
    return {
        diff_id: layer
        for image in images
        for diff_id, layer in zip(image.diff_ids, image.manifest["layers"], strict=True)
        if layer["mediaType"] in PACKED.values() and os.path.exists(image.layout.blob(layer["digest"]))
    }
