"""`docker import`: a tar of a root file system becomes an image of one layer.

What arrives is unpacked and digested in one pass in a draft, out of sight. Then, under the lock, the layer's directory
and its blob are renamed to where they belong, config and manifest are written, and as the last step the index is
replaced: from then on the image exists. Whatever ends the import earlier leaves a draft that nobody lists.
"""

from __future__ import annotations

import errno
import os
import time

from minirun import store
from minirun.errors import ClientError, EngineError, KernelError
from minirun.image import changes as change_words
from minirun.image import layers, overlay
from minirun.image import layout as oci
from minirun.image.digests import chain_ids
from minirun.image.names import named, with_entry
from minirun.image.progress import progress
from minirun.image.store import Images, parse_tag
from minirun.image.stream import Stream
from minirun.kernel import process
from minirun.trace import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minirun.image.reference import Reference

#: The OCI's (Go's) names of what uname(2) calls the machine.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i686": "386", "i386": "386"}


def import_tar(images: Images, source: str, reference: str = "", message: str = "",
               changes: Sequence[str] = ()) -> str:
    """Make an image of one layer from a tar of a root file system.

    Arguments: images, where to; source (str), a path, or "-" for stdin: a tar, plain or gzip, xz, bzip2; reference
    (str), its name, "" for none; message (str), its comment, Docker's "Imported from -" if empty; changes, Dockerfile
    instructions that say how it is to be run (see minirun.image.changes).
    Returns: the image's id, "sha256:...".
    Errors: ClientError for a source that cannot be opened or a bad name; EngineError for a bad tar or change;
    KernelError for a full disk. Nothing is left behind then.
    """
    name = parse_tag(reference) if reference else None
    settings = change_words.apply({}, changes)
    fd = _open(source)
    try:
        with step("unpack the layer"), images.layout.draft() as draft, progress("Importing", fd) as passed:
            layer = _receive(fd, draft, passed=passed)
            config = _config(settings, layer.diff_id, message or "Imported from -")
            with images.layout.lock():
                return _commit(images.layout, draft, layer, config, name)
    finally:
        if source != "-":
            os.close(fd)


def unpack_blobs(layout: oci.Layout, manifest: dict, diff_ids: Sequence[str]) -> None:
    """Unpack the layers of an image that another tool put into the layout; those that are unpacked stay.

    Arguments: manifest (dict), the image's; diff_ids, from its config, lowest first.
    Errors: EngineError when a blob is not what its digest or the config says.
    """
    if len(diff_ids) != len(manifest["layers"]):
        raise EngineError("invalid image: its config and its manifest do not have the same number of layers")
    chains = chain_ids(list(diff_ids))
    directories = [layout.layer(chain) for chain in chains]
    for number, descriptor in enumerate(manifest["layers"]):
        if os.path.isdir(directories[number]):
            continue
        fd = _open(layout.blob(descriptor["digest"]))
        try:
            with step("unpack the layer"), layout.draft() as draft, progress("Unpacking", fd) as passed:
                layer = _receive(fd, draft, directories[:number][::-1], passed, keep_blob=False)
                if (layer.diff_id, layer.digest) != (diff_ids[number], descriptor["digest"]):
                    raise EngineError(f"layer {descriptor['digest']} is damaged: its content does not match its digest")
                with layout.lock():
                    layout.adopt_layer(f"{draft}/tree", chains[number], layer.facts)
        finally:
            os.close(fd)


class _Layer:
    """An unpacked layer in a draft: its two digests, `facts` for the store, `descriptor` of its blob."""

    def __init__(self, stream: Stream, size: int) -> None:
        self.diff_id = stream.diff_id
        self.digest = stream.digest
        self.facts = {"diff_id": stream.diff_id, "size": size}
        self.descriptor = {"mediaType": stream.media_type, "digest": stream.digest, "size": stream.size}


def _open(source: str) -> int:
    """Open what is to be read. Errors: ClientError in the words of Docker's client."""
    if source == "-":
        return 0
    try:
        return os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as reason:
        raise ClientError(f"open {source}: {os.strerror(reason.errno or errno.EIO).lower()}") from None


def _receive(fd: int, draft: str, below: Sequence[str] = (), passed: Callable[[int], None] | None = None,
             keep_blob: bool = True) -> _Layer:
    """Unpack an archive into draft/tree and, if wished, keep it as draft/blob. `below`: see `layers.unpack`."""
    try:
        store.make_directory(f"{draft}/tree", 0o755)
        blob = os.open(f"{draft}/blob", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644) if keep_blob else -1
        try:
            stream = Stream(fd, blob, passed)
            size = layers.unpack(stream.entries(), f"{draft}/tree", below)
            stream.drain()
            # A rename may reach the disk before the files it is about (ext4 writes contents late): after a power cut
            # there would be a layer of empty files under a name that says it is whole.
            process.run(["sync", "-f", draft])
        finally:
            if keep_blob:
                os.close(blob)
    except OSError as reason:
        raise KernelError("import", reason.errno or errno.EIO, hint=store.disk_hint(reason)) from None
    return _Layer(stream, size)


def _config(settings: dict, diff_id: str, comment: str) -> dict:
    """The OCI image config: from its digest the image has its id (OCI image-spec, config.md)."""
    seconds, ns = divmod(time.time_ns(), 1_000_000_000)
    created = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{ns:09d}Z"
    machine = os.uname().machine
    return {"created": created, "architecture": ARCHITECTURES.get(machine, machine), "os": "linux", "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created": created, "comment": comment.encode("utf-8", "replace").decode()}]}


def _commit(layout: oci.Layout, draft: str, layer: _Layer, config: dict, name: Reference | None) -> str:
    """Put a finished draft where it belongs, the index last. Call it with the lock held. Returns: the image's id."""
    chain = layer.diff_id
    try:
        layout.adopt_blob(f"{draft}/blob", layer.digest)
        layout.adopt_layer(f"{draft}/tree", chain, layer.facts)
        overlay.ensure_init_layer([layout.layer(chain)])
        image = layout.write(config, oci.CONFIG)
        manifest = {"schemaVersion": 2, "mediaType": oci.MANIFEST, "config": image, "layers": [layer.descriptor]}
        entry = layout.write(manifest, oci.MANIFEST)
        entry["platform"] = {"architecture": config["architecture"], "os": config["os"]}
        layout.replace_index(with_entry(layout.index(), named(entry, name)))
    except OSError as reason:
        raise KernelError("import", reason.errno or errno.EIO, hint=store.disk_hint(reason)) from None
    return image["digest"]
