"""`docker save`: images in one tar that every Docker, skopeo and podman can load (moby, image/tarexport/save.go).

    <layer>/VERSION  json  layer.tar     a directory for each layer, as Docker had images before 1.10
    <image id>.json                      the config, byte for byte: its digest is the image's id
    manifest.json                        which of these are an image: [{"Config", "RepoTags", "Layers"}]
    repositories                         {"alpine": {"latest": layer}}, for the Docker before 1.10

The layers are plain tars, whose digest is the diff id in the config; a blob that lies here compressed is first written
down plain, because a tar says how long a member is before the member comes. Nobody is sent a layer that is damaged
without being told: it is digested on its way out.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from datetime import datetime

from minirun import jsoncodec
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

#: What Docker says of a layer that is not the highest: nothing, in the words of its old format.
NOTHING = {
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
LONG_AGO = "1970-01-01T00:00:00Z"
#: What the old format knows of an image, in Docker's order.
OLD_KEYS = (
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
RECORD = 20 * 512  # bytes; tar(5) fills the last one


def choose(images: Images, words: Sequence[str]) -> list[tuple[Image, list[Reference]]]:
    """The images that the words mean, each once, with the names under which it is to be saved.

    A repository without a tag means all its tags; an id means an image without names.
    Errors: NoSuchImage; EngineError for a word that cannot be a reference.
    """
    every = images.every()
    chosen: dict[str, tuple[Image, list[Reference]]] = {}
    for word in words:
        for image, name in _meant(images, every, word):
            _, names = chosen.setdefault(image.id, (image, []))
            names += [name] if name and name not in names else []
    return list(chosen.values())


def _meant(images: Images, every: list[Image], word: str) -> list[tuple[Image, Reference | None]]:
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


def save(images: Images, chosen: Sequence[tuple[Image, list[Reference]]], fd: int) -> None:
    """Write images as one tar.

    Arguments: chosen, as `choose` gives them; fd (int), where to: a file, a pipe.
    Errors: OSError of `fd` (a full disk, a closed pipe); EngineError for an image that is damaged.
    """
    with Ingest(images.layout) as ingest:
        with images.layout.lock():  # from here on `rmi` leaves us what we need
            images.layout.lease(
                ingest,
                [],
                [
                    blob["digest"]
                    for image, _ in chosen
                    for blob in (image.manifest["config"], *image.manifest["layers"])
                ],
            )
        archive = _Archive(images.layout, ingest, fd)
        for image, names in chosen:
            archive.add(image, names)
        archive.end()


class _Archive:
    """The tar that grows."""

    def __init__(self, layout: oci.Layout, ingest: str, fd: int) -> None:
        self._layout, self._ingest, self._fd = layout, ingest, fd
        self._size = 0
        self._layers: dict[str, str] = {}  # diff id → the directory that has it
        self._directories: set[str] = set()
        self._images: list[dict] = []
        self._repositories: dict[str, dict[str, str]] = {}

    def add(self, image: Image, names: list[Reference]) -> None:
        """Write an image: its layers, the lowest first, and its config."""
        if not image.diff_ids:
            raise EngineError("empty export - not implemented")
        directories = _directories(image)
        for (directory, old), diff_id, blob in zip(directories, image.diff_ids, image.manifest["layers"], strict=True):
            if directory not in self._directories:
                self._directories.add(directory)
                self._add_layer(directory, old, diff_id, self._layout.blob(blob["digest"]))
        with open(self._layout.blob(image.id), "rb") as file:
            self._file(f"{image.id.removeprefix('sha256:')}.json", file.read(), _seconds(image.created))
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
        """Write what says what is what, and the end mark."""
        self._file("manifest.json", f"{_json(self._images)}\n".encode(), 0)
        if self._repositories:
            ordered = {name: dict(sorted(tags.items())) for name, tags in sorted(self._repositories.items())}
            self._file("repositories", f"{_json(ordered)}\n".encode(), 0)
        self._write(bytes(1024 + -(self._size + 1024) % RECORD))

    def _add_layer(self, directory: str, old: dict, diff_id: str, blob: str) -> None:
        moment = _seconds(old["created"])
        self._header(f"{directory}/", moment, tarfile.DIRTYPE)
        self._file(f"{directory}/VERSION", b"1.0", moment)
        self._file(f"{directory}/json", _json(old).encode(), moment)
        if diff_id in self._layers:
            self._header(
                f"{directory}/layer.tar", moment, tarfile.SYMTYPE, link=f"../{self._layers[diff_id]}/layer.tar"
            )
            return
        self._layers[diff_id] = directory
        source = self._plain(blob)
        try:
            self._header(f"{directory}/layer.tar", moment, size=os.fstat(source).st_size)
            if self._copy(source) != diff_id:
                raise EngineError(f"layer {diff_id} is damaged: its content does not match its digest")
        finally:
            os.close(source)

    def _plain(self, blob: str) -> int:
        """A layer's plain tar, open for reading."""
        source = os.open(blob, os.O_RDONLY | os.O_CLOEXEC)
        begins = os.pread(source, 6, 0)
        if not any(begins.startswith(magic) for magic, _ in compression.MAGIC):
            return source
        try:
            plain = os.open(self._ingest, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
            compression.decompress(io.FileIO(source, closefd=False), plain, self._layout.quota())
            os.lseek(plain, 0, os.SEEK_SET)
        finally:
            os.close(source)
        return plain

    def _copy(self, source: int) -> str:
        """Write a file's content and what fills its last block. Returns: its digest."""
        digest, size = hashlib.sha256(), 0
        while data := os.read(source, CHUNK):
            digest.update(data)
            self._write(data)
            size += len(data)
        self._write(bytes(-size % 512))
        return f"sha256:{digest.hexdigest()}"

    def _file(self, name: str, data: bytes, moment: int) -> None:
        self._header(name, moment, size=len(data))
        self._write(data + bytes(-len(data) % 512))

    def _header(self, name: str, moment: int, kind: bytes = tarfile.REGTYPE, *, size: int = 0, link: str = "") -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.size, entry.linkname, entry.mtime = kind, size, link, moment
        entry.mode = {tarfile.DIRTYPE: 0o755, tarfile.SYMTYPE: 0o777}.get(kind, 0o644)
        self._write(entry.tobuf(tarfile.GNU_FORMAT))

    def _write(self, data: bytes) -> None:
        self._size += len(data)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]


def _directories(image: Image) -> list[tuple[str, dict]]:
    """For each layer, lowest first, the name of its directory and the old format's description of it.

    The name is the digest of the description with the layer and the one below, as with Docker: the same layers in the
    same order get the same names, and images that share layers share directories.
    """
    found: list[tuple[str, dict]] = []
    chains = chain_ids(image.diff_ids)
    for chain in chains:
        old = {"created": LONG_AGO, "container_config": NOTHING}
        if chain == chains[-1]:
            old = {key: image.config[key] for key in OLD_KEYS if image.config.get(key)}
            old.setdefault("created", LONG_AGO)
        below = {"parent": f"sha256:{found[-1][0]}"} if found else {}
        name = sha256(_json(dict(sorted({**old, **below, "layer_id": chain}.items()))).encode())[7:]
        parent = {"parent": found[-1][0]} if found else {}
        found.append((name, {"id": name, **parent, **old, "os": "linux"}))
    return found


def _json(value: object) -> str:
    """JSON as Go writes it: fit to stand in a web page."""
    return jsoncodec.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _seconds(created: str) -> int:
    return max(0, int(datetime.fromisoformat(created).timestamp()))
