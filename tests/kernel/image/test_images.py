"""The image store: import, names, removal, and what is left after a crash, a full disk, or a crowd."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import minirun
from harness.garbage import sweep
from harness.tarball import make_tar
from minirun.errors import ClientError, EngineError, KernelError, MinirunError, NoSuchImage
from minirun.image.archive import import_tar
from minirun.image.content.remove import ImageUser, remove
from minirun.image.images import Images
from minirun.image.snapshot import overlayfs

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners of files take root")

PROJECT = Path(minirun.__file__).parents[1]  # what is tested, which may be installed elsewhere


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(str(tmp_path / "images"))


@pytest.fixture
def source(tmp_path: Path) -> str:
    return make_tar(tmp_path / "a.tar", "etc/os-release", "bin/sh")


def on_disk(images: Images) -> dict[str, list[str]]:
    root = Path(images.layout.root)
    return {part: sorted(os.listdir(root / part)) for part in ("blobs/sha256", "layers", "tmp")}


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def minirun(script: str, *arguments: str, **options: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=False,
        **options,
    )


IMPORT = (
    "import sys; from minirun.image.archive import import_tar; from minirun.image.images import Images\n"
    "print(import_tar.import_tar(Images(sys.argv[1]), sys.argv[2], sys.argv[3]))"
)


# ---- import --------------------------------------------------------------------------------------------------------


def test_an_import_is_an_oci_layout(images: Images, source: str) -> None:
    image_id = import_tar.import_tar(images, source, "me/tool:1", "a remark", ["CMD sh", "ENV A=1"])
    root = Path(images.layout.root)
    assert json.loads((root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    [entry] = json.loads((root / "index.json").read_text())["manifests"]
    assert entry["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    notes = entry["annotations"]
    assert notes["org.opencontainers.image.ref.name"] == "me/tool:1"
    assert notes["io.containerd.image.name"] == "docker.io/me/tool:1"
    for name in os.listdir(root / "blobs/sha256"):  # every blob is what its name says
        assert digest_of(root / "blobs/sha256" / name) == name
    manifest = json.loads((root / "blobs" / entry["digest"].replace(":", "/")).read_text())
    for descriptor in (entry, manifest["config"], *manifest["layers"]):
        assert os.stat(root / "blobs" / descriptor["digest"].replace(":", "/")).st_size == descriptor["size"]
    config = json.loads((root / "blobs" / image_id.replace(":", "/")).read_text())
    assert manifest["config"]["digest"] == image_id
    assert config["config"] == {"Cmd": ["/bin/sh", "-c", "sh"], "Env": ["A=1"]}
    assert config["rootfs"] == {"type": "layers", "diff_ids": ["sha256:" + digest_of(Path(source))]}
    assert config["history"] == [{"created": config["created"], "comment": "a remark"}]
    assert manifest["layers"][0]["mediaType"] == "application/vnd.oci.image.layer.v1.tar"


def test_an_image_knows_its_layers_and_size(images: Images, source: str) -> None:
    image_id = import_tar.import_tar(images, source, "a")
    image = images.find("a")
    assert (image.id, image.names, image.size, image.defaults) == (image_id, ["a:latest"], 2, {})
    assert image.config["history"][0]["comment"] == "Imported from -"
    [layer] = image.layers
    assert os.path.exists(f"{layer}/bin/sh")
    assert os.path.basename(layer) == digest_of(Path(source))
    assert abs(time.time() - time.mktime(time.strptime(image.created[:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone) < 60


def test_a_compressed_tar_is_stored_as_it_came(images: Images, tmp_path: Path) -> None:
    packed = make_tar(tmp_path / "a.tgz", "x", mode="w:gz")
    import_tar.import_tar(images, packed, "a")
    image = images.find("a")
    plain = subprocess.run(["gzip", "-dc", packed], check=True, capture_output=True).stdout
    assert image.manifest["layers"][0]["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"
    assert image.manifest["layers"][0]["digest"] == "sha256:" + digest_of(Path(packed))
    assert image.diff_ids == ["sha256:" + hashlib.sha256(plain).hexdigest()]


@pytest.mark.parametrize("kind", ["xz", "bz2"])
def test_compressions_without_a_media_type_are_stored_plain(images: Images, tmp_path: Path, kind: str) -> None:
    import_tar.import_tar(images, make_tar(tmp_path / "a", "x", mode=f"w:{kind}"), "a")
    image = images.find("a")
    assert image.manifest["layers"][0] == {
        "mediaType": "application/vnd.oci.image.layer.v1.tar",
        "digest": image.diff_ids[0],
        "size": 10240,
    }


def test_the_source_may_be_a_pipe(images: Images, source: str) -> None:
    process = minirun(IMPORT, images.layout.root, "-", "a", stdin=subprocess.PIPE)
    out, err = process.communicate(Path(source).read_bytes())
    assert (process.returncode, err) == (0, b"")
    assert out.decode().strip() == images.find("a").id


@pytest.mark.parametrize(("path", "message"), [("/no/such", "open /no/such: no such file or directory")])
def test_a_missing_source(images: Images, path: str, message: str) -> None:
    with pytest.raises(ClientError) as caught:
        import_tar.import_tar(images, path, "a")
    assert str(caught.value) == message
    assert not os.path.exists(images.layout.root)


@pytest.mark.parametrize("data", [b"rubbish" * 200, b"", b"\x1f\x8brubbish"])
def test_a_bad_source_leaves_nothing(images: Images, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises(MinirunError):
        import_tar.import_tar(images, str(tmp_path / "bad"), "a")
    assert on_disk(images) == {"blobs/sha256": [], "layers": [], "tmp": []}
    assert images.every() == []


def test_a_directory_is_no_source(images: Images, tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="is a directory"):
        import_tar.import_tar(images, str(tmp_path), "a")
    assert images.every() == []


def test_a_bad_change_or_name_is_refused_before_anything_is_read(images: Images, source: str) -> None:
    with pytest.raises(EngineError, match="bogus is not a valid change command"):
        import_tar.import_tar(images, source, "a", "", ["BOGUS x"])
    with pytest.raises(ClientError, match="must be lowercase"):
        import_tar.import_tar(images, source, "Bad:Name")
    assert not os.path.exists(images.layout.root)


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    big = make_tar(tmp_path / "big.tar", *(f"f{number}" for number in range(40)), content=b"z" * 100_000)
    (tmp_path / "small").mkdir()
    script = (
        f"mount -t tmpfs -o size=2m none {tmp_path}/small; cd {PROJECT}; {sys.executable} -c '{IMPORT}' "
        f"{tmp_path}/small/images {big} a || true; cd {tmp_path}/small; find . -type f ! -name lock"
    )
    run = subprocess.run(["unshare", "--mount", "sh", "-c", script], check=True, capture_output=True, text=True)
    assert "KernelError: unpack f" in run.stderr
    assert "no space left on device" in run.stderr
    assert run.stdout == "./images/oci-layout\n"


# ---- names ---------------------------------------------------------------------------------------------------------


def test_finding_by_name_and_by_id(images: Images, source: str) -> None:
    first = import_tar.import_tar(images, source, "alpine:3")
    second = import_tar.import_tar(images, source, "host:5000/x")
    for word in (
        "alpine:3",
        "docker.io/library/alpine:3",
        "library/alpine:3",
        first,
        first[7:],
        first[7:19],
        first[:19],
    ):
        assert images.find(word).id == first
    assert images.find("host:5000/x").id == second
    digest = images.find("alpine:3").digest
    assert images.find(f"alpine@{digest}").id == first
    common = first[7 : next(at for at in range(7, 71) if first[at] != second[at])]
    for word, said in (
        ("alpine", "alpine:latest"),
        ("x", "x:latest"),
        (f"x@{digest}", f"x@{digest}"),
        ("sha256:" + "0" * 64, "sha256:" + "0" * 64),
        ("0" * 64, "sha256:" + "0" * 64),
    ):
        with pytest.raises(NoSuchImage) as caught:
            images.find(word)
        assert str(caught.value) == f"No such image: {said}"
    if common:
        with pytest.raises(NoSuchImage):
            images.find(common)


def test_finding_in_no_store_at_all(images: Images) -> None:
    with pytest.raises(NoSuchImage):
        images.find("alpine")
    assert images.every() == []
    assert not os.path.exists(images.layout.root)


def test_a_name_moves_to_the_newer_image(images: Images, source: str) -> None:
    old = import_tar.import_tar(images, source, "a")
    new = import_tar.import_tar(images, source, "a")
    assert images.find("a").id == new
    assert [(image.id, image.names) for image in images.every()] == [(new, ["a:latest"]), (old, [])]
    images.tag(old[7:], "a")
    images.tag("a", "b:2")
    assert [(image.id, sorted(image.names)) for image in images.every()] == [(new, []), (old, ["a:latest", "b:2"])]
    assert len(json.loads(Path(images.layout.root, "index.json").read_text())["manifests"]) == 3


def test_tagging_what_is_not_there(images: Images, source: str) -> None:
    import_tar.import_tar(images, source, "a")
    with pytest.raises(NoSuchImage, match="No such image: nosuch:latest"):
        images.tag("nosuch", "b")
    with pytest.raises(ClientError, match="must be lowercase"):
        images.tag("a", "Bad:Name")
    with pytest.raises(EngineError, match="refusing to create a tag with a digest reference"):
        images.tag("a", "b@sha256:" + "0" * 64)


def test_equal_layers_are_unpacked_once(images: Images, source: str) -> None:
    import_tar.import_tar(images, source, "a")
    before = os.stat(images.find("a").layers[0]).st_ino
    import_tar.import_tar(images, source, "b")
    assert os.stat(images.find("b").layers[0]).st_ino == before
    assert len([name for name in on_disk(images)["layers"] if len(name) == 64]) == 1


# ---- rmi -----------------------------------------------------------------------------------------------------------


def test_removing_the_last_name_removes_the_image(images: Images, source: str) -> None:
    image_id = import_tar.import_tar(images, source, "imp:1")
    images.tag("imp:1", "other:t")
    layer = "sha256:" + digest_of(Path(source))
    assert remove(images, "other:t") == ["Untagged: other:t"]
    assert remove(images, "imp:1") == ["Untagged: imp:1", f"Deleted: {image_id}", f"Deleted: {layer}"]
    assert on_disk(images) == {"blobs/sha256": [], "layers": [], "tmp": []}
    assert images.every() == []
    with pytest.raises(NoSuchImage):
        remove(images, "imp:1")


def test_removing_by_id(images: Images, source: str) -> None:
    image_id = import_tar.import_tar(images, source, "a")
    images.tag("a", "b")
    with pytest.raises(EngineError) as caught:
        remove(images, image_id[7:19])
    assert str(caught.value) == (
        f"conflict: unable to delete {image_id[7:19]} (must be forced) - image is referenced in multiple repositories"
    )
    lines = remove(images, image_id[7:19], force=True)
    assert sorted(lines[:2]) == ["Untagged: a:latest", "Untagged: b:latest"]
    assert lines[2] == f"Deleted: {image_id}"


def test_a_name_that_the_id_begins_with_counts_as_the_id(images, tmp_path):
    """As in Docker, where it was found by chance: one in sixteen images cannot be untagged by the name "b"."""
    image_id = import_tar.import_tar(images, make_tar(tmp_path / "a", "x"), "one:1")
    letter = image_id[7]
    images.tag("one:1", letter)
    with pytest.raises(EngineError, match="must be forced"):
        remove(images, letter)
    assert remove(images, f"{letter}:latest") == [f"Untagged: {letter}:latest"]
    images.tag("one:1", f"{letter}:2")
    assert remove(images, "one:1") == ["Untagged: one:1"]


def test_removing_by_digest_is_like_by_id(images: Images, source: str) -> None:
    image_id = import_tar.import_tar(images, source, "a")
    digest = images.find("a").digest
    assert remove(images, f"a@{digest}")[:2] == ["Untagged: a:latest", f"Deleted: {image_id}"]
    assert images.every() == []


def test_removing_by_id_takes_the_only_name_along(images: Images, source: str) -> None:
    image_id = import_tar.import_tar(images, source, "a")
    assert remove(images, image_id)[:2] == ["Untagged: a:latest", f"Deleted: {image_id}"]


def test_shared_layers_stay(images: Images, source: str) -> None:
    import_tar.import_tar(images, source, "a")
    other = import_tar.import_tar(images, source, "b")
    assert len(remove(images, "a")) == 2
    assert os.path.exists(f"{images.find('b').layers[0]}/bin/sh")
    assert images.find("b").id == other


CONTAINER = "0cc10783a800" + "0" * 52


def test_the_image_of_a_stopped_container(images: Images, source: str) -> None:
    image_id = import_tar.import_tar(images, source, "alpine")
    layer = images.find("alpine").layers[0]
    users = [ImageUser(CONTAINER, image_id, False)]
    with pytest.raises(EngineError) as caught:
        remove(images, "alpine", users=users)
    assert str(caught.value) == (
        'conflict: unable to remove repository reference "alpine" (must force) - container '
        f"0cc10783a800 is using its referenced image {image_id[7:19]}"
    )
    with pytest.raises(EngineError) as caught:
        remove(images, image_id, users=users)
    assert str(caught.value) == (
        f"conflict: unable to delete {image_id[7:19]} (must be forced) - image is being used by "
        "stopped container 0cc10783a800"
    )
    assert remove(images, "alpine", force=True, users=users) == ["Untagged: alpine:latest", f"Deleted: {image_id}"]
    assert os.path.exists(f"{layer}/bin/sh")  # the container stands on it
    assert sweep(images.layout, [f"sha256:{os.path.basename(layer)}"]) == []
    assert sorted(sweep(images.layout)) == [layer, f"{layer}-init", f"{layer}.json"]
    assert on_disk(images)["layers"] == []


def test_the_image_of_a_running_container(images: Images, source: str) -> None:
    image_id = import_tar.import_tar(images, source, "alpine")
    users = [ImageUser(CONTAINER, image_id, True)]
    with pytest.raises(
        EngineError, match=f"{image_id[7:19]} \\(cannot be forced\\) - image is being used by running container 0cc"
    ):
        remove(images, image_id, force=True, users=users)
    assert remove(images, "alpine", force=True, users=users) == ["Untagged: alpine:latest"]
    [image] = images.every()
    assert (image.id, image.names) == (image_id, [])
    assert images.find(image_id[7:19]).layers


def test_one_of_two_names_goes_although_a_container_runs(images: Images, source: str) -> None:
    image_id = import_tar.import_tar(images, source, "a")
    images.tag("a", "b")
    assert remove(images, "a", users=[ImageUser(CONTAINER, image_id, True)]) == ["Untagged: a:latest"]


def test_a_layer_stays_for_a_container_of_another_image(images: Images, source: str) -> None:
    import_tar.import_tar(images, source, "a")
    chain = images.find("a").chain_ids
    assert len(remove(images, "a", users=[ImageUser(CONTAINER, "sha256:" + "0" * 64, False, chain)])) == 2


# ---- crashes and crowds --------------------------------------------------------------------------------------------


def test_an_import_that_is_killed_leaves_nothing_that_is_listed(images: Images, source: str) -> None:
    process = minirun(IMPORT, images.layout.root, "-", "a", stdin=subprocess.PIPE)
    process.stdin.write(Path(source).read_bytes()[:1536])
    process.stdin.flush()
    deadline = time.monotonic() + 20
    while not (os.path.isdir(f"{images.layout.root}/tmp") and on_disk(images)["tmp"]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert sweep(images.layout) == []  # its maker lives
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    assert images.every() == []
    assert len(on_disk(images)["tmp"]) == 1
    import_tar.import_tar(images, source, "b")  # the next one clears it
    assert on_disk(images)["tmp"] == []
    assert [image.names for image in images.every()] == [["b:latest"]]


def test_a_commit_that_was_cut_short_is_not_listed_and_can_be_repeated(images: Images, source: str) -> None:
    import_tar.import_tar(images, source, "a")
    images.layout.replace_index([])  # as if the last step had not been reached
    assert images.every() == []
    import_tar.import_tar(images, source, "a")
    assert images.find("a").layers


def test_many_imports_at_once(images: Images, source: str) -> None:
    crowd = [minirun(IMPORT, images.layout.root, source, name) for name in ("same", "same", "same", "x1", "x2", "x3")]
    ids = set()
    for process in crowd:
        out, err = process.communicate()
        assert (process.returncode, err) == (0, b"")
        ids.add(out.decode().strip())
    assert {image.id for image in images.every()} == ids
    assert sorted(name for image in images.every() for name in image.names) == [
        "same:latest",
        "x1:latest",
        "x2:latest",
        "x3:latest",
    ]
    disk = on_disk(images)
    assert disk["tmp"] == []
    assert len([name for name in disk["layers"] if len(name) == 64]) == 1


def test_a_fresh_blob_of_another_tool_is_left_alone(images: Images, source: str) -> None:
    import_tar.import_tar(images, source, "a")
    stranger = Path(images.layout.root, "blobs/sha256", "f" * 64)
    stranger.write_bytes(b"in the making")
    assert sweep(images.layout) == []
    os.utime(stranger, (0, 0))
    assert sweep(images.layout) == [str(stranger)]


# ---- what other tools put there ------------------------------------------------------------------------------------


def foreign(images: Images, name: str | None, *layers: str, spoil: str = "") -> None:
    """Put an image into the layout the way skopeo does: blobs and an entry in the index, nothing unpacked."""
    root = Path(images.layout.root)
    images.layout.ensure()

    def blob(data: bytes) -> dict:
        digest = hashlib.sha256(data).hexdigest()
        (root / "blobs/sha256" / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    packed = [
        {**blob(Path(layer).read_bytes()), "mediaType": "application/vnd.oci.image.layer.v1.tar"} for layer in layers
    ]
    diff_ids = [spoil or descriptor["digest"] for descriptor in packed]
    config = blob(
        json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Env": ["A=1"]},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
            }
        ).encode()
    )
    manifest = blob(json.dumps({"schemaVersion": 2, "config": config, "layers": packed}).encode())
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        **manifest,
        **({"annotations": {"org.opencontainers.image.ref.name": name}} if name else {}),
    }
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))


def test_an_image_of_another_tool_is_found_and_unpacked(images: Images, tmp_path: Path) -> None:
    lower = make_tar(tmp_path / "l1", "etc/a", "etc/b")
    upper = make_tar(tmp_path / "l2", "etc/.wh.a", "etc/c")
    foreign(images, "tool:1", lower, upper)
    image = images.find("tool:1")
    assert image.names == ["tool:1"]
    assert image.defaults == {"Env": ["A=1"]}
    one, two = image.layers
    chain = hashlib.sha256(f"sha256:{digest_of(Path(lower))} sha256:{digest_of(Path(upper))}".encode()).hexdigest()
    assert (os.path.basename(one), os.path.basename(two)) == (digest_of(Path(lower)), chain)
    assert sorted(os.listdir(f"{two}/etc")) == ["a", "c"]
    assert on_disk(images)["tmp"] == []
    assert image.size == 4  # the whiteout's byte counts, as with Docker
    overlayfs.ensure_init_layer(image.layers)
    assert len(remove(images, "tool:1")) == 4
    assert on_disk(images)["layers"] == []


def test_a_name_that_is_no_reference_leaves_the_id(images: Images, source: str) -> None:
    foreign(images, "Some Name!", source)
    [image] = images.every()
    assert image.names == []
    assert images.find(image.id[7:19]).id == image.id


def test_a_layer_that_is_not_what_the_config_says(images: Images, source: str) -> None:
    foreign(images, "a", source, spoil="sha256:" + "0" * 64)
    with pytest.raises(EngineError, match="damaged"):
        _ = images.find("a").layers
    assert on_disk(images)["layers"] == on_disk(images)["tmp"] == []


def test_digests_that_are_paths_are_refused(images: Images, source: str) -> None:
    foreign(images, "a", source, spoil="sha256:../../../../etc")
    with pytest.raises(MinirunError):
        _ = images.find("a").layers
    index = {
        "schemaVersion": 2,
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": "sha256:../../../index.json",
                "annotations": {"org.opencontainers.image.ref.name": "b"},
            }
        ],
    }
    Path(images.layout.root, "index.json").write_text(json.dumps(index))
    with pytest.raises(ClientError):
        images.find("b")


def test_an_index_for_many_platforms_survives_us(images: Images, source: str) -> None:
    foreign(images, "a", source)
    path = Path(images.layout.root, "index.json")
    index = json.loads(path.read_text())
    many = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": "sha256:" + "1" * 64, "size": 1}
    path.write_text(json.dumps({**index, "manifests": [many, *index["manifests"]]}))
    images.tag("a", "b")
    assert many in json.loads(path.read_text())["manifests"]
    assert len(images.every()) == 1


def told(images: Images) -> list[tuple]:
    return [(image.id, image.names, image.created, image.size) for image in images.every()]


def test_a_list_reads_the_index_alone(images: Images, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import_tar.import_tar(images, source, "a")
    images.tag("a", "b")
    other = import_tar.import_tar(images, make_tar(Path(source).with_name("b.tar"), "c", content=b"more"), "me/c:2")
    listed = told(images)
    assert listed[0] == (other, ["me/c:2"], images.find("me/c:2").config["created"], 4)
    # the same as of an index that another tool has written, which tells no more than the digests
    index = json.loads(Path(images.layout.root, "index.json").read_text())
    for entry in index["manifests"]:
        for key in ("minirun.image.id", "org.opencontainers.image.created", "minirun.image.size"):
            del entry["annotations"][key]
    plain = Images(str(Path(images.layout.root)))
    monkeypatch.setattr(plain.layout, "index", lambda: index["manifests"])
    assert told(plain) == listed

    def refuse(digest: str) -> None:
        raise AssertionError(digest)

    monkeypatch.setattr(images.layout, "read", refuse)
    monkeypatch.setattr(images.layout, "layer_info", refuse)
    assert told(images) == listed


@pytest.mark.parametrize("size", ["", "many", "1.5"])
def test_a_size_that_is_none_is_counted(images: Images, source: str, size: str) -> None:
    import_tar.import_tar(images, source, "a")
    path = Path(images.layout.root, "index.json")
    index = json.loads(path.read_text())
    index["manifests"][0]["annotations"]["minirun.image.size"] = size
    path.write_text(json.dumps(index))
    assert [image.size for image in images.every()] == [2]


# ---- the hot path --------------------------------------------------------------------------------------------------


def test_finding_costs_four_looks_at_the_disk(images: Images, source: str) -> None:
    import_tar.import_tar(images, source, "a")
    script = (
        f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n"
        "from minirun.image.images import Images; from minirun.image.snapshot import overlayfs\n"
        f"Images({images.layout.root!r}).find('a').layers; print(*sorted(sys.modules))"
    )
    run = subprocess.run(
        ["strace", "-f", "-e", "trace=file", sys.executable, "-IS", "-c", script],
        check=False,
        capture_output=True,
        text=True,
    )
    if run.returncode != 0:
        pytest.skip("no strace")
    looks = [line for line in run.stderr.splitlines() if f'"{images.layout.root}' in line]
    assert len(looks) == 4, looks
    heavy = {
        "re",
        "json",
        "typing",
        "hashlib",
        "tarfile",
        "enum",
        "subprocess",
        "collections",
        "functools",
        "tempfile",
        "socket",
        "minirun.image.layer.apply",
        "minirun.image.archive.import_tar",
    }
    assert not heavy & set(run.stdout.split())
