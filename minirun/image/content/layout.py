"""The content store: an OCI image layout on disk, which every image tool can read (OCI image-spec, image-layout.md).

    oci-layout                 the version of the layout
    index.json                 the images: for each name a descriptor of its manifest
    blobs/sha256/<digest>      manifests, configs and layer archives, each under the digest of its content
    layers/<chain id>/         minirun's: a layer, unpacked once, read-only, shared by all images (below overlayfs)
    layers/<chain id>.json     minirun's: what is known about the layer: {"diff_id", "size", "blob"}
    layers/<chain id>-init/    minirun's: Docker's "-init" layer, see minirun.image.snapshot.overlayfs
    tmp/draft-<...>/           minirun's: an ingest, locked (flock) by its process, so that a stale one is recognised
    tmp/download-<digest>      minirun's: a blob that is being downloaded; an interrupted one is resumed within a day
    tmp/turn-<chain id>        minirun's: the lock file of a layer, see minirun.image.content.layer_lock
    lock                       minirun's: the lock (flock) of all changes of the index and of the layers

`skopeo copy oci:DIR:alpine:latest ...` reads it, and may write into it. The index is the only list of images: an image
appears with one rename of index.json, and disappears with one.
"""

from __future__ import annotations

import os

from minirun import rmtree, store
from minirun.errors import MinirunError
from minirun.image import reference
from minirun.image.digest import chain_ids, sha256
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from minirun.image.quota import Limits, Quota

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
#: The media types of a manifest, OCI's and Docker's schema 2; index.json may have descriptors of other kinds as well.
MANIFESTS = (MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")

#: The prefixes of what else there is in tmp/ than ingests.
DOWNLOAD, LAYER_LOCK = "download-", "turn-"


class Layout:
    """One image layout.

    Arguments: root (str), its directory, which is made at the first write; limits, called for each image that is
    pulled, loaded or imported: returns how large it may become.
    """

    def __init__(self, root: str, limits: Callable[[], Limits] | None = None) -> None:
        self.root, self._limits = root, limits

    def quota(self) -> Quota:
        """A new count of what one image takes, with the limits that hold for it."""
        from minirun.image.quota import Limits, Quota  # the start of a container has no use for it

        return Quota(self.root, self._limits() if self._limits else Limits())

    def blob(self, digest: str) -> str:
        """The path of a blob. Errors: ClientError for an invalid digest (it is used as a file name)."""
        reference.check_digest(digest)
        return f"{self.root}/blobs/{digest.replace(':', '/')}"

    def layer(self, chain_id: str) -> str:
        """The directory in which the layer with this chain id is unpacked."""
        reference.check_digest(chain_id)
        return f"{self.root}/layers/{chain_id.partition(':')[2]}"

    def read(self, digest: str) -> dict:
        """The JSON blob (a manifest, a config) with this digest.

        Errors: MinirunError when it is gone or damaged.
        """
        try:
            return store.read(self.blob(digest))
        except FileNotFoundError:
            raise MinirunError(
                f"blob {digest} is missing in {self.root}",
                hint="remove the image with 'minirun rmi' and import it again",
            ) from None

    def index(self) -> list[dict]:
        """The descriptors of all images, one for each name; a dangling image has one without a name."""
        return [entry for entry in self.raw_index()["manifests"] if entry.get("mediaType") in MANIFESTS]

    def raw_index(self) -> dict:
        """All of index.json, with the descriptors that are not manifests."""
        try:
            whole = store.read(f"{self.root}/index.json")
        except FileNotFoundError:
            whole = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json"}
        whole["manifests"] = whole.get("manifests") or []
        return whole

    def lock(self) -> store.lock:
        """The lock of all changes: `with layout.lock(): ...`."""
        self.ensure()
        return store.lock(f"{self.root}/lock")

    def ensure(self) -> None:
        """Make the directories that do not exist."""
        for part in ("blobs/sha256", "layers", "tmp"):
            store.make_directory(f"{self.root}/{part}")
        if not os.path.exists(f"{self.root}/oci-layout"):
            store.write(f"{self.root}/oci-layout", {"imageLayoutVersion": "1.0.0"}, mode=0o644)

    def replace_index(self, entries: list[dict]) -> None:
        """Write index.json: these are the images from now on. The caller holds the lock.

        Descriptors of other kinds (a multi-platform index that another tool has put there) are kept as they are.
        """
        whole = self.raw_index()
        foreign = [entry for entry in whole["manifests"] if entry.get("mediaType") not in MANIFESTS]
        whole["manifests"] = foreign + entries
        store.write(f"{self.root}/index.json", whole, mode=0o644, durable=True)

    def write_blob(self, data: bytes, media_type: str) -> dict:
        """Store a small blob. Returns: its descriptor."""
        digest = sha256(data)
        if not os.path.exists(self.blob(digest)):
            store.write_text(self.blob(digest), data.decode("utf-8", "surrogateescape"), mode=0o644, durable=True)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def commit_blob(self, path: str, digest: str) -> bool:
        """Move a complete file of an ingest into place as a blob; if the blob is there already, the file is removed.

        Returns: whether it was moved.
        """
        if os.path.exists(self.blob(digest)):
            store.discard(path)
            return False
        os.rename(path, self.blob(digest))
        return True

    def commit_layer(self, tree: str, chain_id: str, info: dict) -> bool:
        """Move a complete directory of an ingest into place as a layer, unless that is there already.

        The caller holds the lock. Arguments: info, see `layer_info`. Returns: whether it was moved.
        """
        target = self.layer(chain_id)
        if os.path.isdir(target):
            return False
        store.write(f"{target}.json", info, mode=0o644)  # first, so that no layer is there without it
        os.rename(tree, target)
        return True

    def layer_info(self, chain_id: str) -> dict:
        """What is known about an unpacked layer, {} if it is not there.

        {"diff_id" (str), "size" (int, bytes of its files), "blob" (descriptor of its archive, or None)}
        """
        try:
            return store.read(f"{self.layer(chain_id)}.json")
        except FileNotFoundError:
            return {}

    def discard_layer(self, path: str) -> None:
        """Remove an unpacked layer with its -init layer and its .json. The caller holds the lock.

        It is renamed into tmp/ first: an interrupted removal must not leave an incomplete layer in layers/.
        """
        for tree in (f"{path}-init", path):
            trash = f"{self.root}/tmp/trash-{os.path.basename(tree)}"
            rmtree.remove_tree(trash)
            try:
                os.rename(tree, trash)
            except FileNotFoundError:
                continue
            rmtree.remove_tree(trash)
        store.discard(f"{path}.json")

    def lease(self, ingest: str, layers: Iterable[str], blobs: Iterable[str]) -> None:
        """Protect content from removal until the ingest ends (containerd: a lease). The caller holds the lock.

        Arguments: layers (chain ids) and blobs (digests), which are in place but not yet reachable from the index;
        they replace those of the last call.
        """
        store.write(f"{ingest}/needed.json", {"layers": list(layers), "blobs": list(blobs)})

    def leased(self, ingest: str) -> dict:
        """What the lease of an ingest protects, {"layers": [...], "blobs": [...]}; nothing if its process is dead."""
        try:
            return {"layers": [], "blobs": []} if store.is_unlocked(ingest) else store.read(f"{ingest}/needed.json")
        except FileNotFoundError:
            return {"layers": [], "blobs": []}

    def in_use(self) -> tuple[set[str], set[str]]:
        """The digests of the blobs and the chain ids of the layers that images or leases need."""
        blobs, chains = self.reachable(self.index())
        for ingest in self.ingests():
            leased = self.leased(ingest)
            blobs |= set(leased["blobs"])
            chains |= set(leased["layers"])
        return blobs, chains

    def ingests(self) -> list[str]:
        """The paths of all ingests, stale ones included."""
        return [path for path in self.temporary("") if not os.path.basename(path).startswith((DOWNLOAD, LAYER_LOCK))]

    def download(self, digest: str) -> str:
        """The path at which a blob is being downloaded."""
        reference.check_digest(digest)
        return f"{self.root}/tmp/{DOWNLOAD}{digest.partition(':')[2]}"

    def layer_lock(self, chain_id: str) -> str:
        """The path of the lock file of a layer."""
        reference.check_digest(chain_id)
        return f"{self.root}/tmp/{LAYER_LOCK}{chain_id.partition(':')[2]}"

    def temporary(self, kind: str) -> list[str]:
        """The paths in tmp/ of one kind: DOWNLOAD, LAYER_LOCK, or "" for all."""
        return [f"{self.root}/tmp/{name}" for name in os.listdir(f"{self.root}/tmp") if name.startswith(kind)]

    def reachable(self, entries: Iterable[dict]) -> tuple[set[str], set[str]]:
        """The digests of all blobs and the chain ids of all layers that can be reached from these descriptors."""
        blobs: set[str] = set()
        chains: set[str] = set()
        for digest in {entry["digest"] for entry in entries}:
            manifest = self.read(digest)
            blobs |= {digest, manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
            chains |= set(chain_ids(self.read(manifest["config"]["digest"])["rootfs"]["diff_ids"]))
        return blobs, chains
