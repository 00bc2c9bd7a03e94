"""`docker push`: an image goes to a registry. First the layers and the config that it does not have, the manifest last.

The blobs lie in the store as they are sent (those of an image that was made here are packed first, see `packing`), and
the manifest is sent byte by byte as it is stored: so the image has the same digest there as here.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from minirun.errors import EngineError
from minirun.image import layout as oci
from minirun.image.names import PULLED, full_name
from minirun.image.packing import ensure_packed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.image.pull import Source, Witness
    from minirun.image.reference import Reference
    from minirun.image.store import Image, Images

#: How many layers go at the same time.
THREADS = 3


def push(images: Images, image: Image, source: Source, name: Reference, witness: Witness) -> None:
    """Bring an image to the registry that its name says.

    Errors: EngineError in Docker's words; blobs that have arrived by then are the registry's to clear.
    """
    for diff_id in reversed(image.diff_ids):
        witness.layer(diff_id, "Preparing")
    registry = source.registries(name, "pull,push")[-1]
    registry.ping()
    image = ensure_packed(images, image)
    layers = dict(zip(image.diff_ids, image.manifest["layers"], strict=True))

    def bring(diff_id: str) -> None:
        descriptor = layers[diff_id]
        if registry.has(descriptor["digest"]):
            witness.layer(diff_id, "Layer already exists")
            return
        registry.upload(descriptor, lambda: _open(image.layout, descriptor["digest"]))
        witness.layer(diff_id, "Pushed")

    pool = ThreadPoolExecutor(THREADS, "upload")
    try:
        list(pool.map(bring, reversed(layers)))
    finally:
        pool.shutdown(cancel_futures=True)
    config = image.manifest["config"]
    if not registry.has(config["digest"]):
        registry.upload(config, lambda: _open(image.layout, config["digest"]))
    data = _open(image.layout, image.digest).read()
    registry.put_manifest(name.tag, data, image.manifest.get("mediaType") or oci.MANIFEST)
    _note(image, name)
    witness.say(f"{name.tag}: digest: {image.digest} size: {len(data)}")


def _note(image: Image, name: Reference) -> None:
    """Write down by which digest the registry has the image now: `images --digests` shows it, as after a pull."""
    with image.layout.lock():
        image.layout.replace_index([
            {**entry, "annotations": {**(entry.get("annotations") or {}), PULLED: image.digest}}
            if entry["digest"] == image.digest and full_name(entry) == name.full else entry
            for entry in image.layout.index()])


def _open(layout: oci.Layout, digest: str) -> Any:
    try:
        return open(layout.blob(digest), "rb")
    except OSError as reason:
        raise EngineError(f"blob {digest}: {os.strerror(reason.errno or 0).lower()}") from None


