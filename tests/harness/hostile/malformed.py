"""Malformed archives and registry answers: wrong about what is in them, where it is, or what it is called."""

from __future__ import annotations

import gzip
import os
import tarfile

from harness.hostile.archives import LAYER, OCI, UPPER, config, descriptor, docker, oci, pointer, tarred
from harness.hostile.tars import entry, tar
from harness.registry.images import DOCKER, Image
from harness.registry.servers import FakeRegistry

# ---- archives --------------------------------------------------------------------------------------------------------


def changed(archive: bytes, old: bytes, new: bytes) -> bytes:
    """An archive in which some bytes are replaced by as many others."""
    assert len(old) == len(new) and old in archive
    return archive.replace(old, new)


def settings_with(**more: object) -> bytes:
    """A docker-archive whose image config has more in it."""
    return docker(LAYER, settings=config(LAYER, **more))


def doubled(kind: str) -> bytes:
    """An index with the wrong one of "layers" and "manifests" beside the right one."""
    if kind == "index":
        return oci(LAYER, index={"layers": []})
    return oci(LAYER, manifests=[])


ARCHIVES = {
    "nothing": (b"", "the archive is empty: unexpected EOF"),
    "zeros": (bytes(10240), "the archive holds no image"),
    "noise": (bytes(range(256)) * 40, "archive/tar: invalid tar header"),
    "another tar": (LAYER, "the archive holds no image"),
    "truncated": (docker(LAYER)[:-2000], "unexpected EOF"),
    "truncated in the first header": (docker(LAYER)[:200], "unexpected EOF"),
    "truncated gzip": (gzip.compress(docker(os.urandom(9000)))[:-100], "unexpected EOF"),
    "damaged gzip": (gzip.compress(docker(LAYER))[:40] + b"x" * 400, "the compressed data is damaged"),
    "a name that leads out": (tarred(("../../etc/x", b"1")), "../../etc/x leads out of the archive"),
    "a link that leads out": (
        docker(LAYER, members=[("0/layer.tar", pointer("../../../etc/shadow"))]),
        "leads out of the archive",
    ),
    "a link to the host": (docker(LAYER, members=[("0/layer.tar", pointer("/etc/passwd"))]), "is not in the archive"),
    "a hard link to the host": (
        docker(LAYER, members=[("0/layer.tar", pointer("/etc/passwd", tarfile.LNKTYPE))]),
        "is not in the archive",
    ),
    "links in a circle": (
        docker(LAYER, members=[("0/layer.tar", pointer("../1")), ("1", pointer("0/layer.tar"))]),
        "too many links",
    ),
    "a device for a layer": (
        docker(LAYER, members=[("0/layer.tar", pointer("", tarfile.CHRTYPE))]),
        "is not in the archive",
    ),
    "a config outside": (docker(LAYER, Config="../../../etc/passwd"), "leads out of the archive"),
    "a config on the host": (docker(LAYER, Config="/etc/passwd"), "is not in the archive"),
    "a layer outside": (docker(LAYER, Layers=["../../etc/passwd"]), "leads out of the archive"),
    "a layer that is missing": (docker(LAYER, Layers=["nope"]), "nope is not in the archive"),
    "an escape sequence": (docker(LAYER, Layers=["\x1b[2J\n"]), "is not in the archive"),
    "too few layers": (docker(LAYER, Layers=[]), "do not have the same number of layers"),
    "no words": (docker(LAYER, Layers=[1]), "is not what it should be"),
    "a bad name": (docker(LAYER, tags=["Bad:1"]), "repository name must be lowercase"),
    "a name without a tag": (docker(LAYER, tags=["foo"]), 'invalid tag "foo"'),
    "a wrong diff_id": (docker(LAYER, settings=config(UPPER)), "its content is not what the image's config says"),
    "a second layer with a wrong diff_id": (
        docker(LAYER, UPPER, settings=config(LAYER, LAYER)),
        "its content is not what the image's config says",
    ),
    "a wrong digest of a config": (changed(docker(LAYER), b'["sh"]', b'["no"]'), "does not match its digest"),
    "a diff_id that is a path": (docker(LAYER, settings=config(LAYER, rootfs={"diff_ids": ["../../x"]})), "digest"),
    "no list of layers": (settings_with(rootfs=None), "no list of layers"),
    "windows": (settings_with(os="windows"), 'image operating system "windows" cannot be used'),
    "a date that is none": (settings_with(created="yesterday"), "created is not a moment"),
    "a number for a date": (settings_with(created=5), "created is not of type str"),
    "an environment of numbers": (settings_with(config={"Env": [1]}), "config.Env is not of type str"),
    "labels in a list": (settings_with(config={"Labels": ["a"]}), "config.Labels is not of type dict"),
    "a story of words": (settings_with(history=["x"]), "history[0] is not of type dict"),
    "a story of nothing": (settings_with(history=[None]), "history[0] is not of type dict"),
    "a label of nothing": (settings_with(config={"Labels": {"a": None}}), "config.Labels[a] is not of type str"),
    "a config that is a list": (docker(LAYER, settings=b"[]"), "it is not an object"),
    "a config in depth": (docker(LAYER, settings=b"[" * 100_000), "it is not JSON"),
    "a manifest that is no JSON": (tarred(("manifest.json", b"{")), "it is not JSON"),
    "a manifest that is an object": (tarred(("manifest.json", b"{}")), "it is not a list of images"),
    "a manifest of nothing": (tarred(("manifest.json", b"[]")), "its manifest.json is empty"),
    "a manifest that is too large": (tarred(("manifest.json", bytes(5 << 20))), "manifest.json is larger than 4 MiB"),
    "an index that is empty": (oci(LAYER, index={"manifests": []}), "its index is empty"),
    "an index with layers": (doubled("index"), "invalid manifest"),
    "a manifest with manifests": (doubled("manifest"), "invalid manifest"),
    "a manifest that says it is an index": (oci(LAYER, mediaType=f"{OCI}.index.v1+json"), "invalid manifest"),
    "an artifact": (oci(LAYER, config=descriptor(config(LAYER), "empty.v1+json")), "unsupported image config"),
    "notes that are none": (
        oci(LAYER, index={"manifests": [{**descriptor(b"", "manifest.v1+json"), "annotations": [1]}]}),
        "annotations",
    ),
    "a digest that is a path": (
        oci(LAYER, config={**descriptor(b"", "config.v1+json"), "digest": "sha256:../../x"}),
        "digest",
    ),
    "a blob that is missing": (oci(LAYER, config=descriptor(b"no", "config.v1+json")), "is not in the archive"),
    "a damaged blob": (changed(oci(LAYER), b'["sh"]', b'["no"]'), "does not match its digest"),
    "a damaged layer": (changed(oci(LAYER), b"NAME=x", b"NAME=y"), "does not match its digest"),
    "a layer of another size": (
        oci(LAYER, layers=[{**descriptor(LAYER, "layer.v1.tar"), "size": 1}]),
        "does not have the size it should have",
    ),
    "a layer with another diff_id": (oci(LAYER, plain=(UPPER,)), "its content is not what the image's config says"),
    "a layer that leads out": (docker(tar(entry("../../../x", data=b"1"))), "unpack ../../../x: "),
}


# ---- registries ------------------------------------------------------------------------------------------------------


def spoil_layer(fake: FakeRegistry, image: Image) -> None:
    """A layer's bytes are not those of its digest."""
    (fake.directory / "blobs" / image.layers[0]).write_bytes(image.blobs[image.layers[0]][:-1] + b"!")


def lengthen_layer(fake: FakeRegistry, image: Image) -> None:
    """A layer is longer than its descriptor says."""
    (fake.directory / "blobs" / image.layers[0]).write_bytes(image.blobs[image.layers[0]] + b"!" * 1_000_000)


def spoil_config(fake: FakeRegistry, image: Image) -> None:
    """The config's bytes are not those of its digest."""
    (fake.directory / "blobs" / image.id).write_bytes(image.config.replace(b"linux", b"Linux"))


def give_a_wrong_media_type(fake: FakeRegistry, _image: Image) -> None:
    """The header Content-Type contradicts the manifest."""
    fake.behave(type=f"{OCI}.index.v1+json")


def be_manifest_and_index(fake: FakeRegistry, image: Image) -> None:
    """A manifest that also has the key of an index."""
    image.document["manifests"] = []
    fake.put(image)


def exchange_a_layer(fake: FakeRegistry, image: Image) -> None:
    """A layer is valid, but not the one whose diff ID the config has."""
    other = Image({"other": b""})
    image.document["layers"] = other.document["layers"]
    image.blobs |= other.blobs
    fake.put(image)


def add_a_layer(fake: FakeRegistry, image: Image) -> None:
    """The manifest has a layer more than the config."""
    image.document["layers"] *= 2
    fake.put(image)


def send_a_huge_manifest(fake: FakeRegistry, image: Image) -> None:
    """A manifest larger than any registry takes."""
    image.document["padding"] = "x" * (5 << 20)
    fake.put(image)


def name_a_path_outside(fake: FakeRegistry, image: Image) -> None:
    """A digest that is a path out of the store."""
    image.document["config"]["digest"] = "sha256:../../../../etc/passwd"
    fake.put(image)


def be_of_schema_1(fake: FakeRegistry, image: Image) -> None:
    """A manifest of the format before 2016."""
    image.document = {"schemaVersion": 1, "fsLayers": [], "mediaType": f"{DOCKER}distribution.manifest.v1+json"}
    fake.put(image)


def claim_a_petabyte(fake: FakeRegistry, image: Image) -> None:
    """A layer's size is beyond all limits."""
    image.document["layers"][0]["size"] = 10**15
    fake.put(image)


def write_on_the_terminal(fake: FakeRegistry, image: Image) -> None:
    """A media type with an escape sequence."""
    image.document["mediaType"] = "\x1b[2J\nStatus: Downloaded newer image"
    fake.put(image)
    fake.behave(type="text/plain")


#: What a registry does with an honest image, and a part of the message that refuses it.
REGISTRIES = {
    spoil_layer: "filesystem layer verification failed for digest ",
    lengthen_layer: "is larger than the manifest says",
    spoil_config: "filesystem layer verification failed for",
    give_a_wrong_media_type: "invalid manifest: it says that it is ",
    be_manifest_and_index: "invalid manifest: a ",
    exchange_a_layer: "its content is not what the image's config says",
    add_a_layer: "do not have the same number of layers",
    send_a_huge_manifest: "is larger than 4194304 bytes",
    name_a_path_outside: "invalid manifest: invalid checksum digest",
    be_of_schema_1: "schema 1",
    claim_a_petabyte: "more than 1000000000000 bytes",
    write_on_the_terminal: r"unsupported manifest format: \x1b[2J",
}
