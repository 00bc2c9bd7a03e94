"""`docker import`: makes an image of one layer from a tar of a root file system."""

from __future__ import annotations

import errno
import os

from minirun import jsoncodec, timestamps
from minirun.errors import ClientError, EngineError
from minirun.image import platforms
from minirun.image.content.image_writer import ImageWriter
from minirun.image.dockerfile import change as dockerfile
from minirun.image.images import Images, parse_tag
from minirun.image.progress import ProgressBar
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.image.archive.import_url import UrlSource


def import_tar(  # noqa: PLR0913 (the options of a command)
    images: Images,
    source: str | UrlSource,
    reference: str = "",
    message: str = "",
    changes: Sequence[str] = (),
    platform: str = "",
) -> str:
    """Make an image of one layer from a tar of a root file system.

    Arguments: images, where to; source, a path, "-" for stdin, or a UrlSource: a tar, plain or compressed; reference
    (str), its name, "" for none; message (str), its comment, by default "Imported from -" or from the URL; changes,
    Dockerfile instructions for its config (minirun.image.dockerfile.change); platform (str), "linux/arm64", "" for this
    machine's.
    Returns: the image's id, "sha256:...".
    Errors: ClientError for a source that cannot be opened or a bad name; EngineError for a bad tar or change;
    KernelError for a full disk. Nothing is changed then.
    """
    name = parse_tag(reference) if reference else None
    container_config = dockerfile.apply({}, changes)
    target = platforms.parse(platform)
    if target.os != "linux":
        raise EngineError("operating system is not supported")
    archive = _FileSource(source) if isinstance(source, str) else source
    with archive, ImageWriter(images.layout) as writer, ProgressBar("Importing", archive.fd) as on_read:
        try:
            writer.add_layer(archive.fd, on_read=on_read)
        except EngineError:
            archive.check()  # a broken connection is the better explanation of a damaged archive
            raise
        archive.check()
        config = _config(container_config, target, writer.diff_ids[0], message or f"Imported from {archive.source}")
        return writer.commit(jsoncodec.dumps(config).encode(), [name])


class _FileSource:
    """A file, or standard input ("-"); the counterpart of import_url.UrlSource."""

    source = "-"  # for a file as well: Docker's client sends it to the daemon, which does not know its name

    def __init__(self, path: str) -> None:
        self.path, self.fd = path, -1

    def __enter__(self) -> _FileSource:
        self.fd = _open(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        if self.fd:
            os.close(self.fd)

    def check(self) -> None:
        """Nothing to check: the end of a file is its end."""


def _open(source: str) -> int:
    """Open the source for reading. Errors: ClientError with the message of Docker's client."""
    if source == "-":
        return 0
    try:
        return os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as reason:
        raise ClientError(f"open {source}: {os.strerror(reason.errno or errno.EIO).lower()}") from None


def _config(container_config: dict, target: platforms.Platform, diff_id: str, comment: str) -> dict:
    """The OCI image config, whose digest becomes the image's id (OCI image-spec, config.md)."""
    created = timestamps.now()
    variant = {"variant": target.variant} if target.variant else {}
    return {
        "created": created,
        "architecture": target.architecture,
        "os": target.os,
        **variant,
        "config": container_config,
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": created, "comment": comment.encode("utf-8", "replace").decode()}],
    }
