"""`docker push`: an image is copied to a registry, first the missing layers and the config, the manifest last.

The blobs are sent as they are stored (those of an image that was made here are compressed first, see
minirun.image.transfer.compress_layer), and so is the manifest: the image has the same digest there as here.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from minirun.image import reference
from minirun.image.content import layout as oci
from minirun.image.tags import PULLED, full_name
from minirun.image.transfer.compress_layer import ensure_compressed
from minirun.image.transfer.upload import ProgressFile, Upload
from minirun.light import TYPE_CHECKING
from minirun.trace import step

if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.image.images import Image, Images
    from minirun.image.progress import Progress
    from minirun.image.reference import Reference
    from minirun.image.registry.client import Registry
    from minirun.image.transfer.mirrors import RegistryHosts

#: Uploads at the same time, as in dockerd (max-concurrent-uploads).
THREADS = 5


def push(images: Images, image: Image, hosts: RegistryHosts, name: Reference, progress: Progress) -> None:
    """Push an image to the registry in `name`.

    Errors: EngineError with Docker's message; the registry garbage-collects the blobs that were uploaded by then.
    """
    for diff_id in reversed(image.diff_ids):
        progress.update(diff_id, "Preparing")
    for diff_id in list(reversed(image.diff_ids))[THREADS:]:
        progress.update(diff_id, "Waiting")
    registry = hosts.registries(name, "pull,push")[-1]
    with step("see whether the registry is there"):
        registry.ping()
    image = ensure_compressed(images, image)
    layers = dict(zip(image.diff_ids, image.manifest["layers"], strict=True))
    mount_from = _mount_candidates(images, name)

    def push_layer(diff_id: str) -> None:
        progress.update(
            diff_id,
            _push_blob(
                registry,
                image,
                layers[diff_id],
                mount_from,
                lambda have: progress.transferred(diff_id, have, layers[diff_id]["size"]),
            ),
        )

    pool, wait = ThreadPoolExecutor(THREADS, "upload"), True
    with step("bring the layers that the registry does not have, and the config"):
        try:
            list(pool.map(push_layer, reversed(layers)))
        except KeyboardInterrupt:
            wait = False  # after Ctrl-C do not wait for a registry that does not respond
            raise
        finally:
            pool.shutdown(wait=wait, cancel_futures=True)
        _push_blob(registry, image, image.manifest["config"], {}, lambda _: None)
    with step("bring the manifest"), open(image.layout.blob(image.digest), "rb") as file:
        data = file.read()
        registry.put_manifest(name.tag, data, image.manifest.get("mediaType") or oci.MANIFEST)
    _record_digest(image, name)
    progress.message(f"{name.tag}: digest: {image.digest} size: {len(data)}")


def _push_blob(
    registry: Registry, image: Image, descriptor: dict, mount_from: dict[str, str], on_read: Callable[[int], None]
) -> str:
    """Push a blob, unless the registry has it. Returns: Docker's word for how it got there."""
    digest = descriptor["digest"]
    if registry.has_blob(digest):
        return "Layer already exists"
    path = image.layout.blob(digest)
    mounted = Upload(registry, descriptor, lambda: ProgressFile(path, on_read), mount_from.get(digest, "")).run()
    return f"Mounted from {mounted}" if mounted else "Pushed"


def _mount_candidates(images: Images, name: Reference) -> dict[str, str]:
    """For cross-repository mounts: layer digest → another repository of the same registry that should have it."""
    found: dict[str, str] = {}
    for entry in images.layout.index():
        full, seen = full_name(entry), (entry.get("annotations") or {}).get(PULLED)
        if full and seen and (other := reference.parse(full)).domain == name.domain and other.path != name.path:
            found |= {layer["digest"]: other.path for layer in images.layout.read(entry["digest"])["layers"]}
    return found


def _record_digest(image: Image, name: Reference) -> None:
    """Note the digest that the image has in the registry now: `images --digests` shows it, as after a pull."""
    with image.layout.lock():
        image.layout.replace_index(
            [
                {**entry, "annotations": {**(entry.get("annotations") or {}), PULLED: image.digest}}
                if entry["digest"] == image.digest and full_name(entry) == name.full
                else entry
                for entry in image.layout.index()
            ]
        )
