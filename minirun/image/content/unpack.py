"""Unpacks the layers of an image that another tool wrote into the layout: `skopeo copy docker://alpine oci:DIR:alpine`
brings only blobs. It is done when the first container of the image is made."""

from __future__ import annotations

import os

from minirun.errors import EngineError
from minirun.image.content import layout as oci
from minirun.image.content.image_writer import ImageWriter
from minirun.image.progress import ProgressBar
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def unpack_blobs(layout: oci.Layout, manifest: dict, diff_ids: Sequence[str]) -> None:
    """Unpack the layers of an image; those that are unpacked already stay as they are.

    Arguments: manifest (dict), the image's; diff_ids, from its config, lowest first.
    Errors: EngineError when a blob does not match its digest, or the config.
    """
    if len(diff_ids) != len(manifest["layers"]):
        raise EngineError("invalid image: its config and its manifest do not have the same number of layers")
    with ImageWriter(layout) as writer:
        for diff_id, descriptor in zip(diff_ids, manifest["layers"], strict=True):
            with writer.layer_lock(diff_id):
                if not writer.has_layer(diff_id):
                    _unpack(writer, diff_id, descriptor)


def _unpack(writer: ImageWriter, diff_id: str, descriptor: dict) -> None:
    fd = _open(writer.layout, descriptor["digest"])
    try:
        with ProgressBar("Unpacking", fd) as on_read:
            writer.add_layer(fd, diff_id=diff_id, descriptor=descriptor, keep_blob=False, on_read=on_read)
    finally:
        os.close(fd)


def _open(layout: oci.Layout, digest: str) -> int:
    try:
        return os.open(layout.blob(digest), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as reason:
        raise EngineError(f"blob {digest}: {os.strerror(reason.errno or 0).lower()}") from None
