"""`load`: what comes in. (The archives that nobody should let in are in tests/hostile.)"""

from __future__ import annotations

import bz2
import gzip
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

from harness.hostile import malformed
from harness.hostile.archives import LAYER, UPPER, blob, config, descriptor, docker, oci, pointer, sha256, tarred
from minirun.engine import info
from minirun.errors import MinirunError
from minirun.image.archive import index, load
from minirun.image.images import Images

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners of files take root")


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
    return {
        str(path.relative_to(layer)): path.read_text()
        for layer in images.find(name).layers
        for path in Path(layer).rglob("*")
        if path.is_file()
    }


# ---- what comes in -------------------------------------------------------------------------------------------------


def test_a_docker_archive(images: Images, take_in: Callable[[bytes], list[str]]) -> None:
    assert take_in(docker(LAYER, UPPER, tags=["a:1", "host:5000/b:2"])) == [
        "Loaded image: a:1",
        "Loaded image: host:5000/b:2",
    ]
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
        f"The image a:1 already exists, renaming the old one with ID {old} to empty string",
        "Loaded image: a:1",
    ]
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


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        lzma.compress,
        bz2.compress,
        lambda data: subprocess.run(["zstd", "-c"], input=data, check=True, capture_output=True).stdout,
    ],
    ids=["gzip", "xz", "bzip2", "zstd"],
)
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
    take_in(
        docker(
            LAYER,
            UPPER,
            members=[
                ("x.tar", LAYER),
                ("y/z/layer.tar", UPPER),
                ("0/layer.tar", pointer("../x.tar")),
                ("2/layer.tar", pointer("y/z/layer.tar", tarfile.LNKTYPE)),
                ("1/layer.tar", pointer("../2/layer.tar")),
            ],
        )
    )
    assert files(images, "a:1") == {"etc/os-release": "NAME=x\n", "etc/motd": "hello\n"}


def test_of_many_platforms_this_one_is_taken(images: Images, take_in: Callable[[bytes], list[str]]) -> None:
    def packed(layer: bytes, architecture: str) -> tuple[list, dict]:
        settings = config(layer, architecture=architecture)
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "config": descriptor(settings, "config.v1+json"),
                "layers": [descriptor(layer, "layer.v1.tar")],
            }
        ).encode()
        return [blob(layer), blob(settings), blob(manifest)], descriptor(
            manifest, "manifest.v1+json", platform={"os": "linux", "architecture": architecture}
        )

    here = load.platforms.parse().architecture
    other, mine = packed(LAYER, "s390x"), packed(UPPER, here)
    inner = json.dumps({"schemaVersion": 2, "manifests": [other[1], mine[1]]}).encode()
    note = {"org.opencontainers.image.ref.name": "a:1"}
    for entries, more in (
        ([descriptor(inner, "index.v1+json", annotations=note)], [blob(inner)]),
        ([other[1], {**mine[1], "annotations": note}], []),
    ):
        index = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
        assert take_in(tarred(*other[0], *mine[0], *more, ("index.json", index))) == ["Loaded image: a:1"]
        assert [image.config["architecture"] for image in images.every()] == [here]


def test_a_crowd_of_members(take_in: Callable[[bytes], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "MAX_MEMBERS", 10)
    with pytest.raises(MinirunError, match="more than 10 members"):
        take_in(tarred(*((str(number), b"") for number in range(11))))


def test_images_before_a_bad_one_are_not_taken_either(images: Images, take_in: Callable[[bytes], list[str]]) -> None:
    """What names the images is read first: a mistake there keeps all of them out."""
    good = config(LAYER)
    items = [{"Config": "g", "RepoTags": ["a:1"], "Layers": ["l"]}, {"Config": "no", "RepoTags": [], "Layers": []}]
    with pytest.raises(MinirunError, match="no is not in the archive"):
        take_in(tarred(("l", LAYER), ("g", good), ("manifest.json", json.dumps(items).encode())))
    assert images.every() == []


def test_of_two_members_with_one_name_the_later_counts(images: Images, take_in: Callable[[bytes], list[str]]) -> None:
    take_in(docker(LAYER, members=[("0/layer.tar", UPPER), ("0/layer.tar", LAYER)]))
    assert files(images, "a:1") == {"etc/os-release": "NAME=x\n"}


def test_a_member_in_a_file_that_shrinks(images: Images, tmp_path: Path) -> None:
    images.layout.ensure()
    path = tmp_path / "archive"
    path.write_bytes(tarred(("a", b"x" * 10_000)))
    with path.open("rb") as file:
        table = index.ArchiveIndex(file.fileno(), str(tmp_path), images.layout.quota())
        os.truncate(path, 1000)
        with pytest.raises(MinirunError, match="unexpected EOF"):
            io.BufferedReader(table.member("a")).read()


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["mediaType", "digest", "size", "platform", "annotations", "os", "architecture", "created", "Labels"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from(["Config", "RepoTags", "Layers", "manifest", "index", "config", "settings", "layers"]),
    value=JUNK,
)
def test_any_value_in_any_place_is_taken_or_refused(images: Images, take_in: Callable, key: str, value: object) -> None:
    archive = {
        "manifest": lambda: oci(LAYER, config=value),
        "index": lambda: oci(LAYER, index={"manifests": [value]}),
        "layers": lambda: oci(LAYER, layers=value),
        "settings": lambda: malformed.settings_with(config=value),
        "config": lambda: malformed.settings_with(**(value if isinstance(value, dict) else {"history": value})),
    }.get(key, lambda: docker(LAYER, **{key: value}))()
    listed_or_refused(images, take_in, archive)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.sampled_from([docker(LAYER), oci(LAYER)]),
    changes=st.lists(st.tuples(st.integers(0, 6000), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4),
)
def test_any_damage_is_survived(images: Images, take_in: Callable, form: bytes, changes: list) -> None:
    archive = bytearray(form)
    for place, data in changes:
        archive[place : place + len(data)] = data
    listed_or_refused(images, take_in, bytes(archive))


def listed_or_refused(images: Images, take_in: Callable, archive: bytes) -> None:
    """What came in can be listed and described; what did not has one line to say why."""
    try:
        take_in(archive)
    except MinirunError as error:
        assert "\n" not in str(error)
    for image in images.every():
        info.image(image)
    assert on_disk(images)["tmp"] == []
