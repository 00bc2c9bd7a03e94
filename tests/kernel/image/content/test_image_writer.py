"""An image of several layers on its way in: what is kept, what is taken back, what a sweep leaves alone."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from harness.garbage import sweep
from minirun.engine import info
from minirun.errors import EngineError
from minirun.image.content.image_writer import ImageWriter
from minirun.image.content.remove import remove
from minirun.image.images import Images, parse_tag
from minirun.image.tags import PULLED

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners of files take root")


def layer(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w") as file:
        for name in names:
            file.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
    return path


def digest(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def config(*diff_ids: str) -> bytes:
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        }
    ).encode()


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(str(tmp_path / "images"))


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    return [layer(tmp_path / "1.tar", "bin/sh", "etc/motd"), layer(tmp_path / "2.tar", "etc/.wh.motd", "etc/new")]


def add(writer: ImageWriter, path: Path, **words: object) -> None:
    with path.open("rb") as file:
        writer.add_layer(file.fileno(), **words)


def on_disk(images: Images) -> dict[str, list[str]]:
    return {part: sorted(os.listdir(f"{images.layout.root}/{part}")) for part in ("blobs/sha256", "layers", "tmp")}


def test_two_layers_and_two_names(images, two):
    with ImageWriter(images.layout) as writer:
        for path in two:
            assert not writer.has_layer(digest(path))
            add(writer, path, diff_id=digest(path))
        image_id = writer.commit(config(*map(digest, two)), [parse_tag("a:1"), parse_tag("b")])
    image = images.find("a:1")
    assert (image.id, image.names) == (image_id, ["a:1", "b:latest"])
    assert [sorted(os.listdir(path)) for path in image.layers] == [["bin", "etc"], ["etc"]]
    assert sorted(os.listdir(f"{image.layers[1]}/etc")) == ["motd", "new"]  # motd: a whiteout
    assert images.find("b").manifest["layers"][0]["digest"] == digest(two[0])


def test_what_is_here_is_not_unpacked_again(images, two):
    test_two_layers_and_two_names(images, two)
    before = on_disk(images)
    with ImageWriter(images.layout) as writer:
        entries = images.find("b").manifest["layers"]
        assert [writer.has_layer(digest(path), entry) for path, entry in zip(two, entries, strict=True)] == [True, True]
        writer.commit(config(*map(digest, two)), [parse_tag("c")])
    assert on_disk(images) == before
    assert images.find("c").id == images.find("b").id


@pytest.mark.parametrize("keep_layers", [False, True])
def test_the_second_layer_is_not_what_it_should_be(images, two, keep_layers):
    with pytest.raises(EngineError, match="damaged"), ImageWriter(images.layout, keep_layers=keep_layers) as writer:
        add(writer, two[0], diff_id=digest(two[0]))
        add(writer, two[1], diff_id=digest(two[0]))
    left = on_disk(images)
    assert (len(left["blobs/sha256"]), len(left["layers"]), left["tmp"]) == ((1, 2, []) if keep_layers else (0, 0, []))
    assert images.every() == []


def test_a_sweep_leaves_an_image_on_its_way_alone(images, two):
    with ImageWriter(images.layout) as writer:
        add(writer, two[0])
        assert sweep(images.layout) == []
        add(writer, two[1])
        writer.commit(config(*map(digest, two)), [parse_tag("a")])
    assert sweep(images.layout) == []
    assert images.find("a").layers


def test_what_lasts_belongs_to_nobody(images, two):
    with pytest.raises(EngineError), ImageWriter(images.layout, keep_layers=True) as writer:
        add(writer, two[0])
        raise EngineError("interrupted")
    (path, facts) = sweep(images.layout)
    assert {path, facts} == {f"{images.layout.layer(digest(two[0]))}{end}" for end in ("", ".json")}


def test_a_removal_leaves_an_image_on_its_way_what_it_needs(images, two):
    """The image that brought the layers goes between the moment they are found here and the one they are used."""
    digests = [digest(path) for path in two]
    with ImageWriter(images.layout) as writer:
        for path in two:
            add(writer, path)
        descriptors = writer.descriptors
        writer.commit(config(*digests), [parse_tag("first")])
    with ImageWriter(images.layout) as writer:
        assert all(writer.has_layer(*pair) for pair in zip(digests, descriptors))
        assert remove(images, "first")[0] == "Untagged: first:latest"
        other = json.dumps({**json.loads(config(*digests)), "author": "me"}).encode()
        writer.commit(other, [parse_tag("second")])
    image = images.find("second")
    assert all(map(os.path.isdir, image.layers))
    assert all(os.path.exists(images.layout.blob(blob["digest"])) for blob in image.manifest["layers"])


def test_what_an_image_was_pulled_by(images, two):
    index = f"sha256:{'a' * 64}"
    with ImageWriter(images.layout) as writer:
        add(writer, two[0])
        writer.annotations[PULLED] = index
        writer.commit(config(digest(two[0])), [parse_tag("host:5000/a:1"), parse_tag("host:5000/a:2")])
    shown = info.image(images.find("host:5000/a:1"))
    assert (shown["RepoTags"], shown["RepoDigests"]) == (["host:5000/a:1", "host:5000/a:2"], [f"host:5000/a@{index}"])
