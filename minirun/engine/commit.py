"""`diff`, `export`, `commit`: a container's files listed, archived, made into an image (moby, daemon/commit.go).

An image is a stack of layers and a config; a container adds a writable layer and its own Config, which is the image's
with the options of `run` over it. So for `commit` the overlay's upper directory becomes a layer, and the container's
Config becomes that of the new image.
"""

from __future__ import annotations

import contextlib
import os

from minirun import jsoncodec, store, timestamps
from minirun.engine.container.reconcile import reconciled_status
from minirun.errors import KernelError, NoSuchContainer, NoSuchImage
from minirun.image.content import layout as oci
from minirun.image.content.image_writer import ImageWriter
from minirun.image.dockerfile import change as instructions
from minirun.image.images import Images
from minirun.image.layer import diff as layer_diff
from minirun.image.layer import tar_writer
from minirun.image.snapshot import overlayfs
from minirun.light import TYPE_CHECKING
from minirun.trace import step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from minirun.engine.container.container import Container
    from minirun.engine.options import CommitOptions
    from minirun.image.images import Image


def diff(container: Container) -> Iterator[tuple[str, bytes]]:
    """The changes to a container's files since it was created (see `image.layer.diff.differences`).

    Errors: NoSuchContainer when it is removed meanwhile.
    """
    upper, *below = _layers(container)
    yield from layer_diff.changes(upper, below)
    _check_exists(container)


def export(container: Container, fd: int) -> None:
    """Write a container's root file system, without what is mounted in it, as a tar.

    Arguments: fd (int), an open file. Errors: NoSuchContainer when it is removed meanwhile; KernelError for a full
    disk.
    """
    with step("write the files of the container"), _writing("the archive"):
        tar_writer.write_tree(_layers(container), fd)
    _check_exists(container)


def commit(container: Container, options: CommitOptions) -> str:
    """Make an image of a container. Returns: the image's ID.

    Errors: NoSuchImage when the container's own image has been removed; EngineError for a bad change; KernelError for a
    full disk. Nothing is left behind then, and the container is thawed.
    """
    settings = _settings(container, options.change)
    images = container.daemon.images
    image = _image_of(images, container)
    with ImageWriter(images.layout) as writer:
        with step("find the layers of the container's image"):
            for diff_id, descriptor in zip(image.diff_ids, image.manifest["layers"], strict=True):
                if not writer.has_layer(diff_id, descriptor):
                    raise NoSuchImage(image.id)
        with step("make a layer of what the container has written"):
            written = _add_layer(writer, container, options.pause)
        config = _config(image, container, settings, writer.diff_ids)
        config["history"] += [_history(container, options, config["created"], empty=not written)]
        config |= {"author": options.author} if options.author else {}
        return writer.commit(jsoncodec.dumps(config).encode("utf-8", "replace"), [options.name])


def _add_layer(writer: ImageWriter, container: Container, pause: bool) -> bool:
    """Write the container's layer and take it in. Returns: whether there is anything in it."""
    archive = f"{writer.ingest}/layer.tar"
    with _writing(archive):
        fd = os.open(archive, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        if not _write_layer(container, pause, fd):
            return False
        size = os.lseek(fd, 0, os.SEEK_END)
        os.lseek(fd, 0, os.SEEK_SET)
        writer.add_layer(fd, keep_blob=False)
        digest = writer.diff_ids[-1]  # of a plain tar, which is its own blob
        writer.add_blob(archive, digest)
        writer.descriptors.append({"mediaType": oci.LAYER, "digest": digest, "size": size})
    finally:
        os.close(fd)
    return True


def _write_layer(container: Container, pause: bool, fd: int) -> bool:
    """Write the container's layer to a file. Returns: whether there is anything in it."""
    with container.lock():  # so that no other command starts, stops or removes it meanwhile
        still: contextlib.AbstractContextManager = contextlib.nullcontext()
        if pause and reconciled_status(container).state == "running":
            from minirun.engine.pause import paused

            still = paused(container)
        with still, _writing("the layer"):
            return tar_writer.write_layer(_layers(container)[0], fd)


def _layers(container: Container) -> list[str]:
    return overlayfs.stack(container.layers(), container.directory)


def _check_exists(container: Container) -> None:
    """Refuse what was read while the container was being removed: files may be missing. Errors: NoSuchContainer."""
    if not container.exists():
        raise NoSuchContainer(container.id)


def _settings(container: Container, changes: Sequence[str]) -> dict:
    """The container's Config after the changes; what these leave empty is kept as it was (moby, runconfig Merge)."""
    config = container.record["Config"]
    # Go's nil is None here; the instructions add to what is there.
    settings = instructions.apply({key: value for key, value in config.items() if value is not None}, changes)
    if not settings.get("Entrypoint"):
        settings["Cmd"] = settings.get("Cmd") or config["Cmd"]
        settings["Entrypoint"] = config["Entrypoint"]
    return settings


def _image_of(images: Images, container: Container) -> Image:
    image = next((image for image in images.every() if image.id == container.record["Image"]), None)
    if image is None:
        raise NoSuchImage(container.record["Image"])
    return image


def _config(image: Image, container: Container, settings: dict, diff_ids: list[str]) -> dict:
    """The OCI image config (OCI image-spec, config.md)."""
    machine = {key: image.config[key] for key in ("architecture", "os", "variant", "os.version") if key in image.config}
    return {
        "created": timestamps.now(),
        **machine,
        "config": settings,
        "container": container.id,
        "container_config": container.record["Config"],
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": list(image.config.get("history") or []),
    }


def _history(container: Container, options: CommitOptions, created: str, *, empty: bool) -> dict:
    entry = {
        "created": created,
        "author": options.author,
        "comment": options.message,
        "created_by": " ".join(container.record["Config"]["Cmd"] or []),
    }
    return {key: value for key, value in entry.items() if value} | ({"empty_layer": True} if empty else {})


class _writing:
    """Turn an OSError into a KernelError that names the target: `with _writing("the archive"): ...`. EPIPE passes."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise KernelError(f"write {self.target}", error.errno or 0, hint=store.disk_hint(error)) from None
