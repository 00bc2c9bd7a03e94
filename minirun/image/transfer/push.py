"""`docker push`: an image goes to a registry. First the layers and the config that it does not have, the manifest last.

The blobs lie in the store as they are sent (those of an image that was made here are packed first, see `packing`), and
the manifest is sent byte by byte as it is stored: so the image has the same digest there as here.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from minirun.image import reference
from minirun.image.content import layout as oci
from minirun.image.tags import PULLED, full_name
from minirun.image.transfer.compress_layer import ensure_compressed
from minirun.image.transfer.upload import Counted, Upload
from minirun.light import TYPE_CHECKING
from minirun.trace import step

if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.image.images import Image, Images
    from minirun.image.progress import Progress
    from minirun.image.reference import Reference
    from minirun.image.registry.client import Registry
    from minirun.image.transfer.mirrors import Source

#: How many layers go at the same time, as in dockerd.
THREADS = 5


def push(images: Images, image: Image, source: Source, name: Reference, progress: Progress) -> None:
    """Bring an image to the registry that its name says.

    Errors: EngineError in Docker's words; blobs that have arrived by then are the registry's to clear.
    """
    for diff_id in reversed(image.diff_ids):
        progress.update(diff_id, "Preparing")
    for diff_id in list(reversed(image.diff_ids))[THREADS:]:
        progress.update(diff_id, "Waiting")
    registry = source.registries(name, "pull,push")[-1]
    with step("see whether the registry is there"):
        registry.ping()
    image = ensure_compressed(images, image)
    layers = dict(zip(image.diff_ids, image.manifest["layers"], strict=True))
    near = _elsewhere(images, name)

    def bring(diff_id: str) -> None:
        progress.update(
            diff_id,
            _bring(
                registry,
                image,
                layers[diff_id],
                near,
                lambda have: progress.transferred(diff_id, have, layers[diff_id]["size"]),
            ),
        )

    pool, patient = ThreadPoolExecutor(THREADS, "upload"), True
    with step("bring the layers that the registry does not have, and the config"):
        try:
            list(pool.map(bring, reversed(layers)))
        except KeyboardInterrupt:
            patient = False  # who presses Ctrl-C does not wait for a registry that does not answer
            raise
        finally:
            pool.shutdown(wait=patient, cancel_futures=True)
        _bring(registry, image, image.manifest["config"], {}, lambda _: None)
    with step("bring the manifest"), open(image.layout.blob(image.digest), "rb") as file:
        data = file.read()
        registry.put_manifest(name.tag, data, image.manifest.get("mediaType") or oci.MANIFEST)
    _note(image, name)
    progress.message(f"{name.tag}: digest: {image.digest} size: {len(data)}")


def _bring(
    registry: Registry, image: Image, descriptor: dict, near: dict[str, str], on_read: Callable[[int], None]
) -> str:
    """Have the registry have a blob. Returns: Docker's words for how it came to it."""
    digest = descriptor["digest"]
    if registry.has(digest):
        return "Layer already exists"
    path = image.layout.blob(digest)
    mounted = Upload(registry, descriptor, lambda: Counted(path, on_read), near.get(digest, "")).bring()
    return f"Mounted from {mounted}" if mounted else "Pushed"


def _elsewhere(images: Images, name: Reference) -> dict[str, str]:
    """In which other repository of the same registry a layer is, as far as we have seen it there."""
    found: dict[str, str] = {}
    for entry in images.layout.index():
        full, seen = full_name(entry), (entry.get("annotations") or {}).get(PULLED)
        if full and seen and (other := reference.parse(full)).domain == name.domain and other.path != name.path:
            found |= {layer["digest"]: other.path for layer in images.layout.read(entry["digest"])["layers"]}
    return found


def _note(image: Image, name: Reference) -> None:
    """Write down by which digest the registry has the image now: `images --digests` shows it, as after a pull."""
    with image.layout.lock():
        image.layout.replace_index(
            [
                {**entry, "annotations": {**(entry.get("annotations") or {}), PULLED: image.digest}}
                if entry["digest"] == image.digest and full_name(entry) == name.full
                else entry
                for entry in image.layout.index()
            ]
        )
