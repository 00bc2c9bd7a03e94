"""`docker save`: images as one tar that every Docker, skopeo and podman can load (moby, image/tarexport/save.go).

    <layer>/VERSION  json  layer.tar     a directory for each layer, the image format before Docker 1.10 (v1)
    <image id>.json                      the config, byte for byte: its digest is the image's id
    manifest.json                        the images: [{"Config", "RepoTags", "Layers"}]
    repositories                         {"alpine": {"latest": layer}}, for Docker before 1.10

The layers are plain tars, whose digest is the diff id in the config. A compressed blob is first decompressed to a file,
because a tar header has the size of the member. Each layer is digested while it is written, so a damaged one is an
error.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from datetime import datetime

from minirun import jsoncodec, store
from minirun.errors import ClientError, EngineError, NoSuchImage
from minirun.image import reference
from minirun.image.content import layout as oci
from minirun.image.content.ingest import Ingest
from minirun.image.digest import chain_ids, sha256
from minirun.image.layer import compression
from minirun.image.layer.tee_reader import CHUNK
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.image.images import Image, Images
    from minirun.image.reference import Reference

#: The v1 container config of all layers but the top one, with Docker's empty values.
EMPTY_CONTAINER_CONFIG = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}
EPOCH = "1970-01-01T00:00:00Z"
#: The keys of a v1 image, in Docker's order.
V1_KEYS = (
    "comment",
    "created",
    "container",
    "container_config",
    "docker_version",
    "author",
    "config",
    "architecture",
    "variant",
    "os",
)
RECORD_SIZE = 20 * 512  # bytes; a tar is padded to full records (tar(5))


def select(images: Images, words: Sequence[str]) -> list[tuple[Image, list[Reference]]]:
    """The images that the arguments refer to, each once, with the names that are saved with it.

    A repository without a tag means all its tags; an id means an image without names.
    Errors: NoSuchImage; EngineError for a word that cannot be a reference.
    """
    every = images.every()
    selected: dict[str, tuple[Image, list[Reference]]] = {}
    for word in words:
        for image, name in _matches(images, every, word):
            _, names = selected.setdefault(image.id, (image, []))
            names += [name] if name and name not in names else []
    return list(selected.values())


def _matches(images: Images, every: list[Image], word: str) -> list[tuple[Image, Reference | None]]:
    if not reference.is_id(word):
        try:
            name = reference.parse(word)
        except ClientError as error:
            if not reference.is_id_prefix(word):
                raise EngineError(error.message) from None
        else:
            found = [
                (known.full, image, known if known.tag else None)
                for image in every
                for known in map(reference.parse, image.names)
                if known == name or not name.tag and not name.digest and known.name == name.name
            ]
            if found:
                return [(image, known) for _, image, known in sorted(found, key=lambda one: one[0])]
    try:
        return [(images.find(word), None)]
    except NoSuchImage:
        raise NoSuchImage(word) from None


def save(images: Images, selected: Sequence[tuple[Image, list[Reference]]], fd: int) -> None:
    """Write images as one tar.

    Arguments: selected, as `select` returns them; fd (int), the output: a file, a pipe.
    Errors: OSError of `fd` (a full disk, a closed pipe); EngineError for an image that is damaged.
    """
    with Ingest(images.layout) as ingest:
        with images.layout.lock():  # the lease: `rmi` must not remove what we read
            images.layout.lease(
                ingest,
                [],
                [
                    blob["digest"]
                    for image, _ in selected
                    for blob in (image.manifest["config"], *image.manifest["layers"])
                ],
            )
        archive = _ArchiveWriter(images.layout, ingest, fd)
        for image, names in selected:
            archive.add(image, names)
        archive.end()


class _ArchiveWriter:
    """Writes the tar."""

    def __init__(self, layout: oci.Layout, ingest: str, fd: int) -> None:
        self._layout, self._ingest, self._fd = layout, ingest, fd
        self._size = 0
        self._layers: dict[str, str] = {}  # diff id → the directory in the tar
        self._written: set[str] = set()
        self._images: list[dict] = []
        self._repositories: dict[str, dict[str, str]] = {}

    def add(self, image: Image, names: list[Reference]) -> None:
        """Write the layers of an image, lowest first, and its config."""
        if not image.diff_ids:
            raise EngineError("empty export - not implemented")
        directories = _layer_directories(image)
        for (directory, v1_image), diff_id, blob in zip(
            directories, image.diff_ids, image.manifest["layers"], strict=True
        ):
            if directory not in self._written:
                self._written.add(directory)
                self._add_layer(directory, v1_image, diff_id, self._layout.blob(blob["digest"]))
        with open(self._layout.blob(image.id), "rb") as file:
            self._file(f"{image.id.removeprefix('sha256:')}.json", file.read(), _unix_time(image.created))
        self._images.append(
            {
                "Config": f"{image.id.removeprefix('sha256:')}.json",
                "RepoTags": [name.familiar for name in names] or None,
                "Layers": [f"{directory}/layer.tar" for directory, _ in directories],
            }
        )
        for name in names:
            self._repositories.setdefault(name.familiar_name, {})[name.tag] = directories[-1][0]

    def end(self) -> None:
        """Write manifest.json, repositories and the end of the tar."""
        self._file("manifest.json", f"{_json(self._images)}\n".encode(), 0)
        if self._repositories:
            ordered = {name: dict(sorted(tags.items())) for name, tags in sorted(self._repositories.items())}
            self._file("repositories", f"{_json(ordered)}\n".encode(), 0)
        self._write(bytes(1024 + -(self._size + 1024) % RECORD_SIZE))

    def _add_layer(self, directory: str, v1_image: dict, diff_id: str, blob: str) -> None:
        mtime = _unix_time(v1_image["created"])
        self._header(f"{directory}/", mtime, tarfile.DIRTYPE)
        self._file(f"{directory}/VERSION", b"1.0", mtime)
        self._file(f"{directory}/json", _json(v1_image).encode(), mtime)
        if diff_id in self._layers:
            self._header(f"{directory}/layer.tar", mtime, tarfile.SYMTYPE, link=f"../{self._layers[diff_id]}/layer.tar")
            return
        self._layers[diff_id] = directory
        source = self._open_plain(blob)
        try:
            self._header(f"{directory}/layer.tar", mtime, size=os.fstat(source).st_size)
            if self._copy(source) != diff_id:
                raise EngineError(f"layer {diff_id} is damaged: its content does not match its digest")
        finally:
            os.close(source)

    def _open_plain(self, blob: str) -> int:
        """Open a layer's plain tar for reading. Returns: a descriptor."""
        source = os.open(blob, os.O_RDONLY | os.O_CLOEXEC)
        if not compression.is_compressed(source):
            return source
        try:
            plain = os.open(self._ingest, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
            compression.decompress(io.FileIO(source, closefd=False), plain, self._layout.quota())
            os.lseek(plain, 0, os.SEEK_SET)
        finally:
            os.close(source)
        return plain

    def _copy(self, source: int) -> str:
        """Write a file's content, padded to full blocks. Returns: its digest."""
        digest, size = hashlib.sha256(), 0
        while data := os.read(source, CHUNK):
            digest.update(data)
            self._write(data)
            size += len(data)
        self._write(bytes(-size % 512))
        return f"sha256:{digest.hexdigest()}"

    def _file(self, name: str, data: bytes, mtime: int) -> None:
        self._header(name, mtime, size=len(data))
        self._write(data + bytes(-len(data) % 512))

    def _header(self, name: str, mtime: int, kind: bytes = tarfile.REGTYPE, *, size: int = 0, link: str = "") -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.size, entry.linkname, entry.mtime = kind, size, link, mtime
        entry.mode = {tarfile.DIRTYPE: 0o755, tarfile.SYMTYPE: 0o777}.get(kind, 0o644)
        self._write(entry.tobuf(tarfile.GNU_FORMAT))

    def _write(self, data: bytes) -> None:
        self._size += len(data)
        store.write_all(self._fd, data)


def _layer_directories(image: Image) -> list[tuple[str, dict]]:
    """For each layer, lowest first, the name of its directory and its v1 image.

    The name is the v1 image's id, a digest that covers the layer and its parent, as in Docker: the same layers in the
    same order get the same names, and images that share layers share directories.
    """
    found: list[tuple[str, dict]] = []
    chains = chain_ids(image.diff_ids)
    for chain in chains:
        v1_image = {"created": EPOCH, "container_config": EMPTY_CONTAINER_CONFIG}
        if chain == chains[-1]:
            v1_image = {key: image.config[key] for key in V1_KEYS if image.config.get(key)}
            v1_image.setdefault("created", EPOCH)
        below = {"parent": f"sha256:{found[-1][0]}"} if found else {}
        name = sha256(_json(dict(sorted({**v1_image, **below, "layer_id": chain}.items()))).encode())[7:]
        parent = {"parent": found[-1][0]} if found else {}
        found.append((name, {"id": name, **parent, **v1_image, "os": "linux"}))
    return found


def _json(value: object) -> str:
    """JSON as Go writes it, with <, > and & escaped."""
    return jsoncodec.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _unix_time(created: str) -> int:
    return max(0, int(datetime.fromisoformat(created).timestamp()))
