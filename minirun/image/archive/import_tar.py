"""`docker import`: a tar of a root file system becomes an image of one layer (see `writer` for how it comes in)."""

from __future__ import annotations

import errno
import os

from minirun import jsoncodec, timestamps
from minirun.errors import ClientError, EngineError
from minirun.image import platforms
from minirun.image.content.image_writer import ImageWriter
from minirun.image.dockerfile import change as change_words
from minirun.image.images import Images, parse_tag
from minirun.image.progress import ProgressBar
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.image.archive.import_url import UrlSource


def import_tar(  # noqa: PLR0913 (the words of a command line)
    images: Images,
    source: str | UrlSource,
    reference: str = "",
    message: str = "",
    changes: Sequence[str] = (),
    platform: str = "",
) -> str:
    """Make an image of one layer from a tar of a root file system.

    Arguments: images, where to; source, a path, "-" for stdin, or a URL (see `fetch`): a tar, plain or compressed;
    reference (str), its name, "" for none; message (str), its comment, if empty "Imported from -" or from the URL;
    changes, Dockerfile instructions that say how it is to be run (see minirun.image.dockerfile.change); platform (str),
    "linux/arm64", "" for this machine's.
    Returns: the image's id, "sha256:...".
    Errors: ClientError for a source that cannot be opened or a bad name; EngineError for a bad tar or change;
    KernelError for a full disk. Nothing is left behind then.
    """
    name = parse_tag(reference) if reference else None
    settings = change_words.apply({}, changes)
    runs_on = platforms.parse(platform)
    if runs_on.os != "linux":
        raise EngineError("operating system is not supported")
    archive = _File(source) if isinstance(source, str) else source
    with archive, ImageWriter(images.layout) as writer, ProgressBar("Importing", archive.fd) as on_read:
        try:
            writer.add_layer(archive.fd, on_read=on_read)
        except EngineError:
            archive.check()  # which may know better why the archive is damaged
            raise
        archive.check()
        config = _config(settings, runs_on, writer.diff_ids[0], message or f"Imported from {archive.source}")
        return writer.commit(jsoncodec.dumps(config).encode(), [name])


class _File:
    """A file, or standard input ("-"): what `fetch.Fetched` is for a URL."""

    source = "-"  # of a file, too: Docker's daemon knows no more of it than that the client has sent it

    def __init__(self, path: str) -> None:
        self.path, self.fd = path, -1

    def __enter__(self) -> _File:
        self.fd = _open(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        if self.fd:
            os.close(self.fd)

    def check(self) -> None:
        """A file ends where it ends."""


def _open(source: str) -> int:
    """Open what is to be read. Errors: ClientError in the words of Docker's client."""
    if source == "-":
        return 0
    try:
        return os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as reason:
        raise ClientError(f"open {source}: {os.strerror(reason.errno or errno.EIO).lower()}") from None


def _config(settings: dict, runs_on: platforms.Platform, diff_id: str, comment: str) -> dict:
    """The OCI image config: from its digest the image has its id (OCI image-spec, config.md)."""
    created = timestamps.now()
    variant = {"variant": runs_on.variant} if runs_on.variant else {}
    return {
        "created": created,
        "architecture": runs_on.architecture,
        "os": runs_on.os,
        **variant,
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": created, "comment": comment.encode("utf-8", "replace").decode()}],
    }
