"""Writes one image into the content store: layer by layer, then the commit, which makes the image visible.

Each layer is unpacked and digested in one pass over its bytes, in an ingest. When it is complete, its directory and
its blob are renamed into the store, where the next attempt, or another image with the same layer, finds them. Until
the commit no image refers to them, so a lease protects them from garbage collection (`Layout.lease`). The commit is the
rename of index.json.
"""

from __future__ import annotations

import os
import stat

from minirun import jsoncodec, rmtree, store
from minirun.errors import EngineError
from minirun.image.config import check as check_config
from minirun.image.content import layout as oci
from minirun.image.content.ingest import Ingest
from minirun.image.content.layer_lock import LayerLock
from minirun.image.digest import chain_ids
from minirun.image.layer import apply
from minirun.image.layer.tar_stream import LayerReader
from minirun.image.snapshot import overlayfs
from minirun.image.tags import CREATED, ID, SIZE, ZERO_TIME, named, with_entry
from minirun.kernel import process
from minirun.light import TYPE_CHECKING
from minirun.trace import step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from io import RawIOBase

    from minirun.image.reference import Reference


class ImageWriter:
    """Writes one image: `with ImageWriter(layout) as writer: writer.add_layer(...); writer.commit(...)`.

    Arguments: layout, the store; keep_layers (bool), complete layers stay when the rest fails, for the next attempt.
    Attributes: ingest (str), a directory for temporary files, removed at the end; diff_ids and descriptors (lists), of
    the layers added so far, lowest first; annotations (dict), for the image's entry in the index; quota, counts what
    the image takes.
    """

    def __init__(self, layout: oci.Layout, *, keep_layers: bool = False) -> None:
        self.layout, self.keep_layers = layout, keep_layers
        self._new_layers: list[str] = []
        self._new_blobs: list[str] = []
        self.diff_ids: list[str] = []
        self.descriptors: list[dict] = []
        self.annotations: dict[str, str] = {}
        self._extra_blobs: list[str] = []
        self._ingest = Ingest(layout)

    def __enter__(self) -> ImageWriter:
        self.ingest = self._ingest.begin()
        self.quota = self.layout.quota()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._ingest.end()
        if kind and not self.keep_layers:
            self._roll_back()

    def _roll_back(self) -> None:
        """Remove the layers and blobs that were added, except those that another image needs by now."""
        with self.layout.lock():
            blobs, chains = self.layout.in_use()
            for chain in reversed(self._new_layers):
                if chain not in chains:
                    self.layout.discard_layer(self.layout.layer(chain))
            for digest in self._new_blobs:
                if digest not in blobs:
                    store.discard(self.layout.blob(digest))

    def has_layer(self, diff_id: str, descriptor: dict | None = None) -> bool:
        """Whether the next layer is in the store already; then it counts as added.

        Arguments: diff_id (str); descriptor, of its blob, which must be in the store too; None if no blob is needed.
        """
        chain = chain_ids([*self.diff_ids, diff_id])[-1]
        with self.layout.lock():
            if not os.path.isdir(self.layout.layer(chain)):
                return False
            if descriptor and not os.path.exists(self.layout.blob(descriptor["digest"])):
                return False
            self._append(diff_id, descriptor)
        return True

    def layer_lock(self, diff_id: str) -> LayerLock:
        """The lock on the next layer: `with writer.layer_lock(diff_id):`, then `has_layer` or `add_layer`."""
        return LayerLock(self.layout, chain_ids([*self.diff_ids, diff_id])[-1])

    def stored_blob(self, diff_id: str) -> dict | None:
        """The descriptor of the blob that the next layer was unpacked from; None without such a layer or blob."""
        return self.layout.layer_info(chain_ids([*self.diff_ids, diff_id])[-1]).get("blob")

    def has_blob(self, digest: str) -> bool:
        """Whether a blob is in the store already; then it is leased, and its layer is added later. Thread-safe."""
        with self.layout.lock():
            if not os.path.exists(self.layout.blob(digest)):
                return False
            self._extra_blobs.append(digest)
            self._lease()
        return True

    def add_blob(self, path: str, digest: str) -> None:
        """Move a complete file into the store as a blob, whose layer is added later. Thread-safe."""
        with self.layout.lock():
            self._extra_blobs.append(digest)
            self._lease()
            if self.layout.commit_blob(path, digest):
                self._new_blobs.append(digest)

    def add_layer(
        self,
        source: int | RawIOBase,
        *,
        diff_id: str = "",
        descriptor: dict | None = None,
        keep_blob: bool = True,
        on_read: Callable[[int], None] | None = None,
    ) -> None:
        """Unpack the next layer; the lowest comes first.

        Arguments: source, its archive, a file descriptor or an object with `readinto`; diff_id (str), the expected
        digest of the plain tar, if it is known; descriptor (dict), with the expected digest of the archive, if it is
        known; keep_blob (bool), store the archive as a blob; on_read, called with the number of bytes after each read.
        Errors: EngineError for a bad archive, or one with another digest; KernelError for a full disk.
        """
        with step("unpack the layer"):
            tree, blob = f"{self.ingest}/tree", f"{self.ingest}/blob"
            reader, size = self._unpack(source, tree, blob if keep_blob else "", on_read)
            arrived = {"mediaType": reader.media_type, "digest": reader.digest, "size": reader.size}
            self._check(arrived, reader.diff_id, diff_id, descriptor)
            with self.layout.lock():
                self._append(reader.diff_id, (descriptor or arrived) if keep_blob else None)
                if keep_blob and self.layout.commit_blob(blob, reader.digest):
                    self._new_blobs.append(reader.digest)
                chain = chain_ids(self.diff_ids)[-1]
                info = {
                    "diff_id": reader.diff_id,
                    "size": size,
                    "blob": descriptor or (arrived if keep_blob else None),
                }
                if self.layout.commit_layer(tree, chain, info):
                    self._new_layers.append(chain)
            rmtree.remove_tree(tree)  # it is still here if the layer was in the store already

    def commit(
        self,
        config: bytes,
        names: Sequence[Reference | None] = (None,),
        manifest: bytes = b"",
        media_type: str = oci.MANIFEST,
    ) -> str:
        """Add the image to the index. Returns: its id.

        Arguments: config (bytes), the image config, whose digest becomes the id; names, its tags; manifest (bytes), as
        it was received, b"" to write one for the layers that were added; media_type (str), of the manifest.
        """
        document: dict = jsoncodec.loads(config.decode())  # type: ignore[assignment]
        check_config(document)
        with self.layout.lock(), store.disk_errors("import"):
            chains = chain_ids(self.diff_ids)
            overlayfs.ensure_init_layer([self.layout.layer(chain) for chain in chains])
            image = self.layout.write_blob(config, oci.CONFIG)
            manifest = (
                manifest
                or jsoncodec.dumps(
                    {"schemaVersion": 2, "mediaType": oci.MANIFEST, "config": image, "layers": self.descriptors}
                ).encode()
            )
            entry = self.layout.write_blob(manifest, media_type)
            size = sum(self.layout.layer_info(chain)["size"] for chain in chains)
            entry["annotations"] = {
                **self.annotations,
                ID: image["digest"],
                CREATED: document.get("created") or ZERO_TIME,
                SIZE: str(size),
            }
            entry["platform"] = {key: document[key] for key in ("architecture", "os", "variant") if document.get(key)}
            entries = self.layout.index()
            for name in names:
                entries = with_entry(entries, named(entry, name))
            self.layout.replace_index(entries)
        return image["digest"]

    def _unpack(
        self, source: int | RawIOBase, tree: str, blob: str, on_read: Callable[[int], None] | None
    ) -> tuple[LayerReader, int]:
        chains = chain_ids(self.diff_ids)
        with store.disk_errors("import"):
            store.make_directory(tree, 0o755)
            copy = os.open(blob, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644) if blob else -1
            reader = None
            try:
                reader = LayerReader(source, copy, on_read, self.quota)
                if _is_file(source):
                    reader.read_ahead()
                size = apply.apply_layer(
                    reader.entries(), tree, [self.layout.layer(chain) for chain in reversed(chains)]
                )
                reader.drain()
                # ext4 may write the rename to disk before the contents of the files (delayed allocation): after a
                # power cut there would be a layer of empty files under the name of a complete one.
                process.run(["sync", "-f", tree])
            finally:
                if reader:
                    reader.close()
                if blob:
                    os.close(copy)
        return reader, size

    def _check(self, arrived: dict, has: str, diff_id: str, descriptor: dict | None) -> None:
        if descriptor and arrived["digest"] != descriptor["digest"]:
            raise EngineError(f"layer {descriptor['digest']} is damaged: its content does not match its digest")
        if diff_id and has != diff_id:
            raise EngineError(f"layer {arrived['digest']} is damaged: its content is not what the image's config says")

    def _append(self, diff_id: str, descriptor: dict | None) -> None:
        """Lease the layer before it is in place, where garbage collection would find it. The caller holds the lock."""
        self.diff_ids.append(diff_id)
        self.descriptors += [descriptor] if descriptor else []
        self._lease()

    def _lease(self) -> None:
        blobs = [*self._extra_blobs, *(one["digest"] for one in self.descriptors)]
        self.layout.lease(self.ingest, chain_ids(self.diff_ids), blobs)


def _is_file(source: int | RawIOBase) -> bool:
    """Whether a read never blocks for long, as on a pipe; an object with `readinto` is part of a file."""
    return not isinstance(source, int) or stat.S_ISREG(os.fstat(source).st_mode)
