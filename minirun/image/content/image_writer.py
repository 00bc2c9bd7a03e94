"""An image on its way in: layer by layer, and then, from one moment to the next, it is there.

Each layer is unpacked and digested in one pass over its bytes, in an ingest that nobody lists. When it is whole, its
directory and its blob are renamed to where layers and blobs are; an image that comes again, after an interruption or
under another name, finds them there. Until the image itself exists they belong to nobody, so the ingest says that
somebody needs them (`Layout.needed`). The last step is the index: from then on the image exists.
"""

from __future__ import annotations

import errno
import os
import stat

from minirun import jsoncodec, rmtree, store
from minirun.errors import EngineError, KernelError
from minirun.image.config import check as check_config
from minirun.image.content import layout as oci
from minirun.image.content.ingest import Ingest
from minirun.image.content.layer_lock import LayerLock
from minirun.image.digest import chain_ids
from minirun.image.layer import apply
from minirun.image.layer.tar_stream import Stream
from minirun.image.snapshot import overlayfs
from minirun.image.tags import CREATED, ID, NEVER, SIZE, named, with_entry
from minirun.kernel import process
from minirun.trace import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from io import RawIOBase

    from minirun.image.reference import Reference


class ImageWriter:
    """Takes one image in: `with ImageWriter(layout) as writer: writer.add(...); writer.finish(...)`.

    Arguments: layout, where to; lasting (bool), layers that have come stay when the rest fails, for the next attempt.
    Attributes: ingest (str), a directory to put things into on their way, gone at the end; diff_ids and descriptors
    (lists), of the layers that have come so far, lowest first; notes (dict), annotations for the image's entry in the
    index; allowance, what it may still take (see `limits`).
    """

    def __init__(self, layout: oci.Layout, *, lasting: bool = False) -> None:
        self.layout, self.lasting = layout, lasting
        self._new_layers: list[str] = []
        self._new_blobs: list[str] = []
        self.diff_ids: list[str] = []
        self.descriptors: list[dict] = []
        self.notes: dict[str, str] = {}
        self._adopted: list[str] = []
        self._ingest = Ingest(layout)

    def __enter__(self) -> ImageWriter:
        self.ingest = self._ingest.begin()
        self.allowance = self.layout.allowance()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._ingest.end()
        if kind and not self.lasting:
            self._take_back()

    def _take_back(self) -> None:
        """Remove what came with an image that did not, but for what another one needs by now."""
        with self.layout.lock():
            blobs, chains = self.layout.in_use()
            for chain in reversed(self._new_layers):
                if chain not in chains:
                    self.layout.discard_layer(self.layout.layer(chain))
            for digest in self._new_blobs:
                if digest not in blobs:
                    store.discard(self.layout.blob(digest))

    def has(self, diff_id: str, descriptor: dict | None = None) -> bool:
        """Whether the next layer, known by its diff id, is here already; then it counts as come.

        Arguments: descriptor, of its blob, which must be here as well; None if the blob is not wanted.
        """
        chain = chain_ids([*self.diff_ids, diff_id])[-1]
        with self.layout.lock():
            if not os.path.isdir(self.layout.layer(chain)):
                return False
            if descriptor and not os.path.exists(self.layout.blob(descriptor["digest"])):
                return False
            self._came(diff_id, descriptor)
        return True

    def layer_lock(self, diff_id: str) -> LayerLock:
        """The lock on the next layer: `with writer.layer_lock(diff_id):`, and `has` or `add` while it is held."""
        return LayerLock(self.layout, chain_ids([*self.diff_ids, diff_id])[-1])

    def blob_of(self, diff_id: str) -> dict | None:
        """The descriptor of the blob with which the next layer came here, None if it is not here or came without."""
        return self.layout.layer_facts(chain_ids([*self.diff_ids, diff_id])[-1]).get("blob")

    def has_blob(self, digest: str) -> bool:
        """Whether a blob whose layer comes later is here already; then it stays. Other threads may be at work here."""
        with self.layout.lock():
            if not os.path.exists(self.layout.blob(digest)):
                return False
            self._adopted.append(digest)
            self._need()
        return True

    def adopt(self, path: str, digest: str) -> None:
        """Take a finished file in as a blob; its layer comes later. Other threads may be at work here."""
        with self.layout.lock():
            self._adopted.append(digest)
            self._need()
            if self.layout.adopt_blob(path, digest):
                self._new_blobs.append(digest)

    def add(
        self,
        source: int | RawIOBase,
        *,
        diff_id: str = "",
        descriptor: dict | None = None,
        keep_blob: bool = True,
        passed: Callable[[int], None] | None = None,
    ) -> None:
        """Unpack the next layer, lowest first.

        Arguments: source, its archive, a descriptor or an object with `readinto`; diff_id (str), that its tar must
        have, if that is known; descriptor (dict), whose digest its bytes must have, if that is known; keep_blob
        (bool), keep the archive as well; passed, called with the number of bytes each time some were read.
        Errors: EngineError for a bad archive, or one that is not what it should be; KernelError for a full disk.
        """
        with step("unpack the layer"):
            tree, blob = f"{self.ingest}/tree", f"{self.ingest}/blob"
            stream, size = self._unpack(source, tree, blob if keep_blob else "", passed)
            arrived = {"mediaType": stream.media_type, "digest": stream.digest, "size": stream.size}
            self._check(arrived, stream.diff_id, diff_id, descriptor)
            with self.layout.lock():
                self._came(stream.diff_id, (descriptor or arrived) if keep_blob else None)
                if keep_blob and self.layout.adopt_blob(blob, stream.digest):
                    self._new_blobs.append(stream.digest)
                chain = chain_ids(self.diff_ids)[-1]
                facts = {
                    "diff_id": stream.diff_id,
                    "size": size,
                    "blob": descriptor or (arrived if keep_blob else None),
                }
                if self.layout.adopt_layer(tree, chain, facts):
                    self._new_layers.append(chain)
            rmtree.remove_tree(tree)  # if there was one already

    def finish(
        self,
        config: bytes,
        names: Sequence[Reference | None] = (None,),
        manifest: bytes = b"",
        media_type: str = oci.MANIFEST,
    ) -> str:
        """Let the image exist. Returns: its id.

        Arguments: config (bytes), the image config as its digest wants it; names, what it is called; manifest (bytes),
        as its digest wants it; without one, it is written here for the layers that have come; media_type (str), its.
        """
        document: dict = jsoncodec.loads(config.decode())  # type: ignore[assignment]
        check_config(document)
        with self.layout.lock(), _disk():
            chains = chain_ids(self.diff_ids)
            overlayfs.ensure_init_layer([self.layout.layer(chain) for chain in chains])
            image = self.layout.put(config, oci.CONFIG)
            manifest = (
                manifest
                or jsoncodec.dumps(
                    {"schemaVersion": 2, "mediaType": oci.MANIFEST, "config": image, "layers": self.descriptors}
                ).encode()
            )
            entry = self.layout.put(manifest, media_type)
            size = sum(self.layout.layer_facts(chain)["size"] for chain in chains)
            entry["annotations"] = {
                **self.notes,
                ID: image["digest"],
                CREATED: document.get("created") or NEVER,
                SIZE: str(size),
            }
            entry["platform"] = {key: document[key] for key in ("architecture", "os", "variant") if document.get(key)}
            entries = self.layout.index()
            for name in names:
                entries = with_entry(entries, named(entry, name))
            self.layout.replace_index(entries)
        return image["digest"]

    def _unpack(
        self, source: int | RawIOBase, tree: str, blob: str, passed: Callable[[int], None] | None
    ) -> tuple[Stream, int]:
        chains = chain_ids(self.diff_ids)
        with _disk():
            store.make_directory(tree, 0o755)
            copy = os.open(blob, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644) if blob else -1
            stream = None
            try:
                stream = Stream(source, copy, passed, self.allowance)
                if _is_file(source):
                    stream.read_ahead()
                size = apply.unpack(stream.entries(), tree, [self.layout.layer(chain) for chain in reversed(chains)])
                stream.drain()
                # A rename may reach the disk before the files it is about (ext4 writes contents late): after a power
                # cut there would be a layer of empty files under a name that says it is whole.
                process.run(["sync", "-f", tree])
            finally:
                if stream:
                    stream.close()
                if blob:
                    os.close(copy)
        return stream, size

    def _check(self, arrived: dict, has: str, diff_id: str, descriptor: dict | None) -> None:
        if descriptor and arrived["digest"] != descriptor["digest"]:
            raise EngineError(f"layer {descriptor['digest']} is damaged: its content does not match its digest")
        if diff_id and has != diff_id:
            raise EngineError(f"layer {arrived['digest']} is damaged: its content is not what the image's config says")

    def _came(self, diff_id: str, descriptor: dict | None) -> None:
        """Write down that the layer is needed, before it is where a sweep could find it; the lock is held."""
        self.diff_ids.append(diff_id)
        self.descriptors += [descriptor] if descriptor else []
        self._need()

    def _need(self) -> None:
        blobs = [*self._adopted, *(one["digest"] for one in self.descriptors)]
        self.layout.need(self.ingest, chain_ids(self.diff_ids), blobs)


def _is_file(source: int | RawIOBase) -> bool:
    """Whether it never lets one wait, as a pipe does; an object is a piece of a file."""
    return not isinstance(source, int) or stat.S_ISREG(os.fstat(source).st_mode)


class _disk:
    """What the disk refuses, as one line: `with _disk(): ...`."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        if isinstance(error, OSError):
            raise KernelError("import", error.errno or errno.EIO, hint=store.disk_hint(error)) from None
