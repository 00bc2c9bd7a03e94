"""`load`: what comes in, and a corpus of archives that nobody should let in.

After each hostile archive nothing is listed, nothing is left in the store, what is outside is as it was, and the
message is one line.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import subprocess
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minirun.engine import about
from minirun.errors import MinirunError
from minirun.image import bundle, load
from minirun.image.store import Images

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners of files take root")

OCI = "application/vnd.oci.image"


# ---- the workbench -------------------------------------------------------------------------------------------------


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tar(*members: tuple[str, bytes | tarfile.TarInfo]) -> bytes:
    """A tar of the members as they are: no name is made better on the way."""
    out = b""
    for name, data in members:
        info = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
        info.name = name
        content = data if isinstance(data, bytes) else b""
        info.size = len(content)
        out += info.tobuf(tarfile.GNU_FORMAT) + content + b"\0" * (-len(content) % 512)
    return out + b"\0" * 1024


def link(target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


LAYER = tar(("etc/os-release", b"NAME=x\n"))
UPPER = tar(("etc/motd", b"hello\n"))


def config(*layers: bytes, **more: object) -> bytes:
    return json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]},
                       "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer)}" for layer in layers]},
                       **more}).encode()


def docker(*layers: bytes, tags: object = ("a:1",), settings: bytes = b"", members: list | None = None,
           **more: object) -> bytes:
    """A docker-archive; `more` replaces keys of its manifest.json, `members` what comes before it."""
    settings = settings or config(*layers)
    name = f"{sha256(settings)}.json"
    if members is None:
        members = [(f"{number}/layer.tar", layer) for number, layer in enumerate(layers)]
    item = {"Config": name, "RepoTags": tags and list(tags),
            "Layers": [f"{number}/layer.tar" for number, _ in enumerate(layers)], **more}
    return tar(*members, (name, settings), ("manifest.json", json.dumps([item]).encode()))


def descriptor(data: bytes, kind: str, **more: object) -> dict:
    return {"mediaType": f"{OCI}.{kind}", "digest": f"sha256:{sha256(data)}", "size": len(data), **more}


def blob(data: bytes) -> tuple[str, bytes]:
    return f"blobs/sha256/{sha256(data)}", data


def oci(*layers: bytes, plain: tuple[bytes, ...] = (), index: dict | None = None, kind: str = "layer.v1.tar",
        **more: object) -> bytes:
    """An oci-archive; `more` replaces keys of its manifest, `index` those of its index.json."""
    settings = config(*(plain or layers))
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json",
        "config": descriptor(settings, "config.v1+json"),
        "layers": [descriptor(layer, kind) for layer in layers], **more}).encode()
    top = {"schemaVersion": 2, "manifests": [descriptor(
        manifest, "manifest.v1+json", annotations={"org.opencontainers.image.ref.name": "a:1"})], **(index or {})}
    return tar(("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'), ("index.json", json.dumps(top).encode()),
               *map(blob, (settings, manifest, *layers)))


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(str(tmp_path / "images"))


@pytest.fixture
def take_in(images: Images, tmp_path: Path) -> Callable[[bytes], list[str]]:
    """Loads an archive; what it reports."""

    def take_in(archive: bytes) -> list[str]:
        path, lines = tmp_path / "archive", []
        path.write_bytes(archive)
        load.load(images, str(path), lines.append)
        return lines

    return take_in


def on_disk(images: Images) -> dict[str, list[str]]:
    root = Path(images.layout.root)
    return {part: sorted(os.listdir(root / part)) for part in ("blobs/sha256", "layers", "tmp")}


def files(images: Images, name: str) -> dict[str, str]:
    """The files of an image, by layer."""
    return {str(path.relative_to(layer)): path.read_text() for layer in images.find(name).layers
            for path in Path(layer).rglob("*") if path.is_file()}


# ---- what comes in -------------------------------------------------------------------------------------------------


def test_a_docker_archive(images: Images, take_in: Callable[[bytes], list[str]]) -> None:
    assert take_in(docker(LAYER, UPPER, tags=["a:1", "host:5000/b:2"])) == [
        "Loaded image: a:1", "Loaded image: host:5000/b:2"]
    image = images.find("a:1")
    assert image.id == f"sha256:{sha256(config(LAYER, UPPER))}"
    assert sorted(image.names) == ["a:1", "host:5000/b:2"]
    assert files(images, "a:1") == {"etc/os-release": "NAME=x\n", "etc/motd": "hello\n"}
    assert on_disk(images)["tmp"] == []


def test_an_image_without_a_name(images: Images, take_in: Callable[[bytes], list[str]]) -> None:
    assert take_in(docker(LAYER, tags=None)) == [f"Loaded image ID: sha256:{sha256(config(LAYER))}"]
    assert [image.names for image in images.every()] == [[]]


def test_a_name_that_another_image_had(images: Images, take_in: Callable[[bytes], list[str]]) -> None:
    take_in(docker(LAYER))
    old = images.find("a:1").id
    assert take_in(docker(UPPER)) == [
        f"The image a:1 already exists, renaming the old one with ID {old} to empty string", "Loaded image: a:1"]
    assert (images.find(old[7:]).names, images.find("a:1").id != old) == ([], True)


def test_an_oci_archive_keeps_its_manifest(images: Images, take_in: Callable[[bytes], list[str]]) -> None:
    packed = gzip.compress(LAYER)
    assert take_in(oci(packed, plain=(LAYER,), kind="layer.v1.tar+gzip")) == ["Loaded image: a:1"]
    image = images.find("a:1")
    assert image.manifest["layers"] == [descriptor(packed, "layer.v1.tar+gzip")]
    assert Path(images.layout.blob(image.manifest["layers"][0]["digest"])).read_bytes() == packed
    before = on_disk(images)
    take_in(docker(LAYER))  # the same image from elsewhere: it stays as it is
    assert on_disk(images) == before


def test_a_zstd_layer(images: Images, take_in: Callable[[bytes], list[str]]) -> None:
    packed = subprocess.run(["zstd", "-c"], input=LAYER, check=True, capture_output=True).stdout
    take_in(oci(packed, plain=(LAYER,), kind="layer.v1.tar+zstd"))
    assert images.find("a:1").manifest["layers"] == [descriptor(packed, "layer.v1.tar+zstd")]
    assert files(images, "a:1") == {"etc/os-release": "NAME=x\n"}


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress, lambda data: subprocess.run(
    ["zstd", "-c"], input=data, check=True, capture_output=True).stdout], ids=["gzip", "xz", "bzip2", "zstd"])
def test_a_compressed_archive(images: Images, take_in: Callable, pack: Callable[[bytes], bytes]) -> None:
    assert take_in(pack(docker(LAYER))) == ["Loaded image: a:1"]
    assert files(images, "a:1") == {"etc/os-release": "NAME=x\n"}


def test_an_archive_through_a_pipe(images: Images, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(docker(LAYER),))
    writer.start()
    lines: list[str] = []
    load.load(images, str(tmp_path / "pipe"), lines.append)
    writer.join()
    assert (lines, on_disk(images)["tmp"]) == (["Loaded image: a:1"], [])


def test_layers_may_be_links(images: Images, take_in: Callable[[bytes], list[str]]) -> None:
    """As Docker saves an image that shares layers with another, and skopeo every image."""
    take_in(docker(LAYER, UPPER, members=[("x.tar", LAYER), ("y/z/layer.tar", UPPER), ("0/layer.tar", link("../x.tar")),
                                          ("2/layer.tar", link("y/z/layer.tar", tarfile.LNKTYPE)),
                                          ("1/layer.tar", link("../2/layer.tar"))]))
    assert files(images, "a:1") == {"etc/os-release": "NAME=x\n", "etc/motd": "hello\n"}


def test_of_many_platforms_this_one_is_taken(images: Images, take_in: Callable[[bytes], list[str]]) -> None:
    def packed(layer: bytes, architecture: str) -> tuple[list, dict]:
        settings = config(layer, architecture=architecture)
        manifest = json.dumps({"schemaVersion": 2, "config": descriptor(settings, "config.v1+json"),
                               "layers": [descriptor(layer, "layer.v1.tar")]}).encode()
        return [blob(layer), blob(settings), blob(manifest)], descriptor(
            manifest, "manifest.v1+json", platform={"os": "linux", "architecture": architecture})

    here = load.platforms.parse().architecture
    other, mine = packed(LAYER, "s390x"), packed(UPPER, here)
    inner = json.dumps({"schemaVersion": 2, "manifests": [other[1], mine[1]]}).encode()
    note = {"org.opencontainers.image.ref.name": "a:1"}
    for entries, more in (([descriptor(inner, "index.v1+json", annotations=note)], [blob(inner)]),
                          ([other[1], {**mine[1], "annotations": note}], [])):
        index = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
        assert take_in(tar(*other[0], *mine[0], *more, ("index.json", index))) == ["Loaded image: a:1"]
        assert [image.config["architecture"] for image in images.every()] == [here]


# ---- what does not -------------------------------------------------------------------------------------------------

def changed(archive: bytes, old: bytes, new: bytes) -> bytes:
    assert len(old) == len(new) and old in archive
    return archive.replace(old, new)


def settings_with(**more: object) -> bytes:
    return docker(LAYER, settings=config(LAYER, **more))


def doubled(kind: str) -> bytes:
    """An index with the wrong one of "layers" and "manifests" beside the right one."""
    if kind == "index":
        return oci(LAYER, index={"layers": []})
    return oci(LAYER, manifests=[])


HOSTILE = {
    "nothing": (b"", "the archive is empty: unexpected EOF"),
    "zeros": (bytes(10240), "the archive holds no image"),
    "noise": (bytes(range(256)) * 40, "archive/tar: invalid tar header"),
    "another tar": (LAYER, "the archive holds no image"),
    "truncated": (docker(LAYER)[:-2000], "unexpected EOF"),
    "truncated in the first header": (docker(LAYER)[:200], "unexpected EOF"),
    "truncated gzip": (gzip.compress(docker(os.urandom(9000)))[:-100], "unexpected EOF"),
    "damaged gzip": (gzip.compress(docker(LAYER))[:40] + b"x" * 400, "the compressed data is damaged"),
    "a name that leads out": (tar(("../../etc/x", b"1")), "../../etc/x leads out of the archive"),
    "a link that leads out": (docker(LAYER, members=[("0/layer.tar", link("../../../etc/shadow"))]),
                              "leads out of the archive"),
    "a link to the host": (docker(LAYER, members=[("0/layer.tar", link("/etc/passwd"))]), "is not in the archive"),
    "a hard link to the host": (docker(LAYER, members=[("0/layer.tar", link("/etc/passwd", tarfile.LNKTYPE))]),
                                "is not in the archive"),
    "links in a circle": (docker(LAYER, members=[("0/layer.tar", link("../1")), ("1", link("0/layer.tar"))]),
                          "too many links"),
    "a device for a layer": (docker(LAYER, members=[("0/layer.tar", link("", tarfile.CHRTYPE))]),
                             "is not in the archive"),
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
    "a second layer with a wrong diff_id": (docker(LAYER, UPPER, settings=config(LAYER, LAYER)),
                                            "its content is not what the image's config says"),
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
    "a manifest that is no JSON": (tar(("manifest.json", b"{")), "it is not JSON"),
    "a manifest that is an object": (tar(("manifest.json", b"{}")), "it is not a list of images"),
    "a manifest of nothing": (tar(("manifest.json", b"[]")), "its manifest.json is empty"),
    "a manifest that is too large": (tar(("manifest.json", bytes(5 << 20))), "manifest.json is larger than 4 MiB"),
    "an index that is empty": (oci(LAYER, index={"manifests": []}), "its index is empty"),
    "an index with layers": (doubled("index"), "invalid manifest"),
    "a manifest with manifests": (doubled("manifest"), "invalid manifest"),
    "a manifest that says it is an index": (oci(LAYER, mediaType=f"{OCI}.index.v1+json"), "invalid manifest"),
    "an artifact": (oci(LAYER, config=descriptor(config(LAYER), "empty.v1+json")), "unsupported image config"),
    "notes that are none": (oci(LAYER, index={"manifests": [{**descriptor(b"", "manifest.v1+json"),
                                                             "annotations": [1]}]}), "annotations"),
    "a digest that is a path": (oci(LAYER, config={**descriptor(b"", "config.v1+json"), "digest": "sha256:../../x"}),
                                "digest"),
    "a blob that is missing": (oci(LAYER, config=descriptor(b"no", "config.v1+json")), "is not in the archive"),
    "a damaged blob": (changed(oci(LAYER), b'["sh"]', b'["no"]'), "does not match its digest"),
    "a damaged layer": (changed(oci(LAYER), b"NAME=x", b"NAME=y"), "does not match its digest"),
    "a layer of another size": (oci(LAYER, layers=[{**descriptor(LAYER, "layer.v1.tar"), "size": 1}]),
                                "does not have the size it should have"),
    "a layer with another diff_id": (oci(LAYER, plain=(UPPER,)), "its content is not what the image's config says"),
    "a layer that leads out": (docker(tar(("../../../x", b"1"))), "unpack ../../../x: "),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive(images: Images, take_in: Callable[[bytes], list[str]], tmp_path: Path, name: str) -> None:
    archive, message = HOSTILE[name]
    with pytest.raises(MinirunError) as caught:
        take_in(archive)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value) and str(caught.value).isprintable()
    assert images.every() == []
    assert on_disk(images) == {"blobs/sha256": [], "layers": [], "tmp": []}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "images"]


def test_a_crowd_of_members(take_in: Callable[[bytes], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MEMBERS_MAX", 10)
    with pytest.raises(MinirunError, match="more than 10 members"):
        take_in(tar(*((str(number), b"") for number in range(11))))


def test_images_before_a_bad_one_are_not_taken_either(images: Images, take_in: Callable[[bytes], list[str]]) -> None:
    """What names the images is read first: a mistake there keeps all of them out."""
    good = config(LAYER)
    items = [{"Config": "g", "RepoTags": ["a:1"], "Layers": ["l"]}, {"Config": "no", "RepoTags": [], "Layers": []}]
    with pytest.raises(MinirunError, match="no is not in the archive"):
        take_in(tar(("l", LAYER), ("g", good), ("manifest.json", json.dumps(items).encode())))
    assert images.every() == []


def test_of_two_members_with_one_name_the_later_counts(images: Images, take_in: Callable[[bytes], list[str]]) -> None:
    take_in(docker(LAYER, members=[("0/layer.tar", UPPER), ("0/layer.tar", LAYER)]))
    assert files(images, "a:1") == {"etc/os-release": "NAME=x\n"}


def test_a_member_in_a_file_that_shrinks(images: Images, tmp_path: Path) -> None:
    images.layout.ensure()
    path = tmp_path / "archive"
    path.write_bytes(tar(("a", b"x" * 10_000)))
    with path.open("rb") as file:
        table = bundle.Bundle(file.fileno(), str(tmp_path), images.layout.allowance())
        os.truncate(path, 1000)
        with pytest.raises(MinirunError, match="unexpected EOF"):
            io.BufferedReader(table.part("a")).read()


JUNK = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(
    inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["mediaType", "digest", "size", "platform", "annotations", "os", "architecture", "created", "Labels"]), inner,
        max_size=3), max_leaves=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(["Config", "RepoTags", "Layers", "manifest", "index", "config", "settings", "layers"]),
       value=JUNK)
def test_any_value_in_any_place_is_taken_or_refused(images: Images, take_in: Callable, key: str, value: object) -> None:
    archive = {"manifest": lambda: oci(LAYER, config=value), "index": lambda: oci(LAYER, index={"manifests": [value]}),
               "layers": lambda: oci(LAYER, layers=value), "settings": lambda: settings_with(config=value),
               "config": lambda: settings_with(**(value if isinstance(value, dict) else {"history": value})),
               }.get(key, lambda: docker(LAYER, **{key: value}))()
    listed_or_refused(images, take_in, archive)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.sampled_from([docker(LAYER), oci(LAYER)]), changes=st.lists(
    st.tuples(st.integers(0, 6000), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4))
def test_any_damage_is_survived(images: Images, take_in: Callable, form: bytes, changes: list) -> None:
    archive = bytearray(form)
    for place, data in changes:
        archive[place:place + len(data)] = data
    listed_or_refused(images, take_in, bytes(archive))


def listed_or_refused(images: Images, take_in: Callable, archive: bytes) -> None:
    """What came in can be listed and described; what did not has one line to say why."""
    try:
        take_in(archive)
    except MinirunError as error:
        assert "\n" not in str(error)
    for image in images.every():
        about.image(image)
    assert on_disk(images)["tmp"] == []
