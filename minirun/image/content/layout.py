"""The OCI image layout on disk: a few directories that every image tool can read (OCI image-spec, image-layout.md).

    oci-layout                 says which version of the layout this is
    index.json                 the images: for each name a descriptor of its manifest
    blobs/sha256/<digest>      manifests, configs and layer archives, each under the digest of its own content
    layers/<chain id>/         ours: the layers, unpacked once, shared by all images (read-only, below overlayfs)
    layers/<chain id>.json     ours: what is known of the layer: {"diff_id", "size", "blob"}
    layers/<chain id>-init/    ours: Docker's "-init" layer, see minirun.image.snapshot.overlayfs
    tmp/<draft>/               ours: what is being made; held by flock, so that what its maker left behind is known
    tmp/download-<digest>      ours: a blob on its way; one that was cut short goes on from there, for a day
    tmp/turn-<chain id>        ours: held by whoever unpacks this layer, see minirun.image.content.layer_lock
    lock                       ours: whoever changes the index or the layers queues up here

`skopeo copy oci:DIR:alpine:latest ...` reads it, and may write into it. The index is the only list: what is not in it
does not exist, so an import becomes visible in one rename, and a removed image vanishes in one.
"""

from __future__ import annotations

import os

from minirun import jsoncodec, rmtree, store
from minirun.errors import MinirunError
from minirun.image import reference
from minirun.image.digest import chain_ids, sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from minirun.image.quota import Allowance, Limits

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
#: What a descriptor in the index may be for it to be an image; Docker's own schema 2 comes from other tools.
MANIFESTS = (MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")

#: What the names of other things than drafts in tmp/ begin with.
DOWNLOAD, TURN = "download-", "turn-"


class Layout:
    """One image layout.

    Arguments: root (str), its directory; it is made when something is first written; limits, called when an image
    comes, says how large it may become.
    """

    def __init__(self, root: str, limits: Callable[[], Limits] | None = None) -> None:
        self.root, self._limits = root, limits

    def allowance(self) -> Allowance:
        """What one image that comes may take."""
        from minirun.image.quota import Allowance, Limits

        return Allowance(self.root, self._limits() if self._limits else Limits())

    def blob(self, digest: str) -> str:
        """The path of a blob. Errors: ClientError for a digest that is none (it is used as a file name)."""
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
        """The descriptors of all images, one for each name; images that lost their name have one without."""
        return [entry for entry in self.whole_index()["manifests"] if entry.get("mediaType") in MANIFESTS]

    def whole_index(self) -> dict:
        """index.json, with the descriptors that are no image's."""
        try:
            whole = store.read(f"{self.root}/index.json")
        except FileNotFoundError:
            whole = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json"}
        whole["manifests"] = whole.get("manifests") or []
        return whole

    def lock(self) -> store.lock:
        """Queue up to change something: `with layout.lock(): ...`."""
        self.ensure()
        return store.lock(f"{self.root}/lock")

    def ensure(self) -> None:
        """Make the directories; fine when they are there."""
        for part in ("blobs/sha256", "layers", "tmp"):
            store.make_directory(f"{self.root}/{part}")
        if not os.path.exists(f"{self.root}/oci-layout"):
            store.write(f"{self.root}/oci-layout", {"imageLayoutVersion": "1.0.0"}, mode=0o644)

    def replace_index(self, entries: list[dict]) -> None:
        """Make these the images that exist; call it with the lock held.

        Descriptors of other kinds (an index for many platforms, put there by another tool) are kept as they are.
        """
        whole = self.whole_index()
        foreign = [entry for entry in whole["manifests"] if entry.get("mediaType") not in MANIFESTS]
        whole["manifests"] = foreign + entries
        store.write(f"{self.root}/index.json", whole, mode=0o644, durable=True)

    def write(self, value: dict, media_type: str) -> dict:
        """Store a value as a JSON blob. Returns: its descriptor."""
        return self.put(jsoncodec.dumps(value).encode(), media_type)

    def put(self, data: bytes, media_type: str) -> dict:
        """Store a few bytes as a blob. Returns: its descriptor."""
        digest = sha256(data)
        if not os.path.exists(self.blob(digest)):
            store.write_text(self.blob(digest), data.decode("utf-8", "surrogateescape"), mode=0o644, durable=True)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def adopt_blob(self, path: str, digest: str) -> bool:
        """Take a finished file of an ingest in as a blob; one that is there already is as good.

        Returns: whether it was taken.
        """
        if os.path.exists(self.blob(digest)):
            store.discard(path)
            return False
        os.rename(path, self.blob(digest))
        return True

    def adopt_layer(self, tree: str, chain_id: str, facts: dict) -> bool:
        """Take a finished directory of an ingest in as a layer, with the lock held; the first of two equal ones stays.

        Returns: whether it was taken.
        """
        target = self.layer(chain_id)
        if os.path.isdir(target):
            return False
        store.write(f"{target}.json", facts, mode=0o644)  # first: a layer that is there has its facts
        os.rename(tree, target)
        return True

    def layer_facts(self, chain_id: str) -> dict:
        """What is known of an unpacked layer, {} if it is not there.

        {"diff_id" (str), "size" (int, bytes of its files), "blob" (descriptor of its archive, or None)}
        """
        try:
            return store.read(f"{self.layer(chain_id)}.json")
        except FileNotFoundError:
            return {}

    def discard_layer(self, path: str) -> None:
        """Remove an unpacked layer with its -init layer and facts, with the lock held.

        It is renamed away first: a removal that is cut short must not leave half a layer where whole ones are.
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

    def need(self, ingest: str, layers: Iterable[str], blobs: Iterable[str]) -> None:
        """Say what the image in this ingest needs of what is in its place already; call it with the lock held.

        Arguments: layers, chain ids; blobs, digests.
        """
        store.write(f"{ingest}/needed.json", {"layers": list(layers), "blobs": list(blobs)})

    def needed(self, ingest: str) -> dict:
        """What `need` has said, of an ingest whose maker lives; else nothing: {"layers": [...], "blobs": [...]}."""
        try:
            return {"layers": [], "blobs": []} if store.is_unlocked(ingest) else store.read(f"{ingest}/needed.json")
        except FileNotFoundError:
            return {"layers": [], "blobs": []}

    def in_use(self) -> tuple[set[str], set[str]]:
        """The digests of the blobs, and the chain ids of the layers, of all images, and of those on their way in."""
        blobs, chains = self.mentioned(self.index())
        for ingest in self.ingests():
            needed = self.needed(ingest)
            blobs |= set(needed["blobs"])
            chains |= set(needed["layers"])
        return blobs, chains

    def ingests(self) -> list[str]:
        """The paths of what is being made, or was left by who made it."""
        return [path for path in self.unfinished("") if not os.path.basename(path).startswith((DOWNLOAD, TURN))]

    def download(self, digest: str) -> str:
        """Where a blob is on its way in."""
        reference.check_digest(digest)
        return f"{self.root}/tmp/{DOWNLOAD}{digest.partition(':')[2]}"

    def layer_lock(self, chain_id: str) -> str:
        """The file for which those queue up who want to unpack a layer."""
        reference.check_digest(chain_id)
        return f"{self.root}/tmp/{TURN}{chain_id.partition(':')[2]}"

    def unfinished(self, kind: str) -> list[str]:
        """The paths of what is in tmp/, of one kind: DOWNLOAD, TURN, or "" for all."""
        return [f"{self.root}/tmp/{name}" for name in os.listdir(f"{self.root}/tmp") if name.startswith(kind)]

    def mentioned(self, entries: Iterable[dict]) -> tuple[set[str], set[str]]:
        """The digests of all blobs, and the chain ids of all layers, that these descriptors lead to."""
        blobs: set[str] = set()
        chains: set[str] = set()
        for digest in {entry["digest"] for entry in entries}:
            manifest = self.read(digest)
            blobs |= {digest, manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
            chains |= set(chain_ids(self.read(manifest["config"]["digest"])["rootfs"]["diff_ids"]))
        return blobs, chains
