"""`save` and `load` as they are typed; the other side is a real Docker, skopeo and umoci."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile

import pytest

from harness.host import wait_for
from harness.twin.engines import Docker, missing


@pytest.fixture
def minirun(new_host):
    """The program on a host of its own: what a test does to the images no other test should see."""
    return new_host.minirun


def on_a_terminal(minirun, words: str):
    """Run it with a terminal for all three of its streams; what the terminal showed."""
    line = " ".join((*minirun.words, words))
    return minirun.machine.run("script", "-qec", line, "/dev/null", input="")


# ---- load --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"x" * 2000, "Error processing tar file(exit status 1): archive/tar: invalid tar header"),
        (bytes(2000), "the archive holds no image: it has neither a manifest.json nor an index.json"),
        (None, "open {}: no such file or directory"),
    ],
)
def test_load_refuses_in_one_line(minirun, tmp_path, content, text):
    path = tmp_path / "archive"
    if content is not None:
        path.write_bytes(content)
    result = minirun("load", "-i", str(path))
    assert (result.code, result.out, result.err) == (1, "", text.format(path) + "\n")


def test_load_does_not_read_a_directory(minirun, tmp_path):
    result = minirun("load", "-i", str(tmp_path))
    assert (result.code, result.err) == (1, f"read {tmp_path}: is a directory\n")


def test_load_does_not_wait_for_a_terminal(minirun):
    done = on_a_terminal(minirun, "load")
    assert (done.returncode, done.stdout.strip()) == (1, "requested load from stdin, but stdin is empty")


def test_load_from_a_pipe(minirun, tmp_path):
    minirun.ok("save", "-o", str(tmp_path / "a.tar"), "alpine")
    minirun.ok("rmi", "alpine")
    words = " ".join((*minirun.words, "load"))
    for tool in ("cat", "gzip -1c", "zstd -c"):
        done = minirun.machine.run("sh", "-c", f"{tool} {tmp_path}/a.tar | {words}")
        assert (done.returncode, done.stdout, done.stderr) == (0, "Loaded image: alpine:latest\n", "")
    done = minirun.machine.run("sh", "-c", f"gzip -1c {tmp_path}/a.tar | head -c 100000 | {words}")
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        "Error processing tar file(exit status 1): unexpected EOF\n",
    )


def test_a_load_that_is_killed_leaves_nothing(minirun, tmp_path):
    minirun.ok("save", "-o", str(tmp_path / "a.tar"), "alpine")
    minirun.ok("rmi", "alpine")
    images = minirun.machine.data / "images"
    loading = minirun.popen("load", stdin=subprocess.PIPE)
    loading.stdin.buffer.write((tmp_path / "a.tar").read_bytes()[:5_000_000])
    loading.stdin.buffer.flush()
    assert wait_for(lambda: [path for path in images.glob("tmp/*/archive") if path.stat().st_size > 4_000_000])
    loading.kill()
    loading.communicate()
    assert minirun.ok("images", "-q") == ""
    assert list(images.glob("tmp/*"))
    minirun.ok("system", "check", "--repair")
    assert list(images.glob("tmp/*")) == []
    assert minirun.ok("load", "-i", str(tmp_path / "a.tar")) == "Loaded image: alpine:latest"


def test_load_shows_its_way_on_a_terminal_only(minirun, tmp_path):
    minirun.ok("save", "-o", str(tmp_path / "a.tar"), "alpine")
    minirun.ok("rmi", "alpine")
    shown = on_a_terminal(minirun, f"load -i {tmp_path}/a.tar").stdout
    assert "Loading" in shown and "Loaded image: alpine:latest" in shown
    minirun.ok("rmi", "alpine")
    assert on_a_terminal(minirun, f"load -q -i {tmp_path}/a.tar").stdout.strip() == "Loaded image: alpine:latest"


# ---- save --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("nosuch",), "Error response from daemon: No such image: nosuch"),
        (("alpine", "nosuch"), "Error response from daemon: No such image: nosuch"),
        (("Bad:Name",), "Error response from daemon: invalid reference format: repository name must be lowercase"),
        (("-o", "/nodir/x", "alpine"), 'failed to save image: invalid output path: directory "/nodir" does not exist'),
        (("-o", "/tmp", "alpine"), 'failed to save image: invalid output path: "/tmp" is a directory'),
    ],
)
def test_save_refuses_in_one_line(minirun, words, text):
    result = minirun("save", *words)
    assert (result.code, result.out, result.err) == (1, "", text + "\n")


def test_save_does_not_write_to_a_terminal(minirun):
    done = on_a_terminal(minirun, "save alpine")
    assert (done.returncode, done.stdout.strip()) == (
        1,
        "cowardly refusing to save to a terminal. Use the -o flag or redirect",
    )


def test_what_save_writes(minirun, tmp_path):
    for name in ("alpine:2", "other:1"):
        minirun.ok("tag", "alpine", name)
    image = minirun.ok("images", "-q", "--no-trunc", "alpine:2").removeprefix("sha256:")
    minirun.ok("save", "-o", str(tmp_path / "a.tar"), "alpine", "other:1", "alpine:2")
    with tarfile.open(tmp_path / "a.tar") as archive:
        [item] = json.load(archive.extractfile("manifest.json"))
        directory = item["Layers"][0].partition("/")[0]
        assert item == {
            "Config": f"{image}.json",
            "RepoTags": ["alpine:2", "alpine:latest", "other:1"],
            "Layers": [f"{directory}/layer.tar"],
        }
        assert archive.getnames() == [
            directory,
            *(f"{directory}/{name}" for name in ("VERSION", "json", "layer.tar")),
            f"{image}.json",
            "manifest.json",
            "repositories",
        ]
        assert hashlib.sha256(archive.extractfile(f"{image}.json").read()).hexdigest() == image
        layer = hashlib.sha256(archive.extractfile(item["Layers"][0]).read()).hexdigest()
        assert json.load(archive.extractfile(f"{image}.json"))["rootfs"]["diff_ids"] == [f"sha256:{layer}"]
        assert json.load(archive.extractfile("repositories")) == {
            "alpine": {"2": directory, "latest": directory},
            "other": {"1": directory},
        }
    assert (tmp_path / "a.tar").stat().st_size % 10240 == 0
    assert (tmp_path / "a.tar").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_an_image_comes_back_as_it_was(minirun, tmp_path):
    before = minirun.ok("image", "inspect", "alpine")
    minirun.ok("save", "-o", str(tmp_path / "a.tar"), "alpine")
    minirun.ok("rmi", "alpine")
    assert minirun.ok("images", "-q") == ""
    assert minirun.ok("load", "-i", str(tmp_path / "a.tar")) == "Loaded image: alpine:latest"
    assert minirun.ok("image", "inspect", "alpine") == before
    minirun.ok("save", "-o", str(tmp_path / "b.tar"), "alpine")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_an_id_is_saved_without_names(minirun, tmp_path):
    image = minirun.ok("images", "-q", "--no-trunc")
    minirun.ok("save", "-o", str(tmp_path / "a.tar"), image[7:19])
    minirun.ok("rmi", "alpine")
    assert minirun.ok("load", "-q", "-i", str(tmp_path / "a.tar")) == f"Loaded image ID: {image}"


def test_a_layer_that_is_stored_compressed_is_saved_plain(minirun, tmp_path):
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as file:
        file.addfile(tarfile.TarInfo("x"), io.BytesIO())
    minirun.ok("import", str(tmp_path / "a.tgz"), "small")
    minirun.ok("save", "-o", str(tmp_path / "a.tar"), "small", "alpine")
    with tarfile.open(tmp_path / "a.tar") as archive:
        for item in json.load(archive.extractfile("manifest.json")):
            layers = [hashlib.sha256(archive.extractfile(name).read()).hexdigest() for name in item["Layers"]]
            config = json.load(archive.extractfile(item["Config"]))
            assert [f"sha256:{layer}" for layer in layers] == config["rootfs"]["diff_ids"]


def test_a_damaged_layer_is_not_saved(minirun, tmp_path):
    with tarfile.open(tmp_path / "in.tar", "w") as file:
        file.addfile(tarfile.TarInfo("x"), io.BytesIO())
    minirun.ok("import", str(tmp_path / "in.tar"), "small")
    layer = minirun.ok("image", "inspect", "-f", "{{index .RootFS.Layers 0}}", "small")
    blob = minirun.machine.data / "images/blobs" / layer.replace(":", "/")
    blob.write_bytes(b"y" + blob.read_bytes()[1:])
    result = minirun("save", "-o", str(tmp_path / "a.tar"), "small")
    assert (result.code, result.err) == (
        1,
        f"Error response from daemon: layer {layer} is damaged: its content does not match its digest\n",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["in.tar"]


# ---- the other side ----------------------------------------------------------------------------------------------

#: What is special about a file: owner, mode, links, a capability, a name that is not UTF-8, a deleted file below.
LAYERS = """
    mkdir -p one/d two/d; echo below > one/d/gone; echo kept > one/kept; ln one/kept one/hard; ln -s /etc one/soft
    chown 1000:2000 one/kept; chmod 4751 one/kept
    python3 -c 'import os; os.setxattr("one/kept", "user.x", b"y")'
    printf x > "one/$(printf 'caf\\351')"; mknod one/null c 1 3; mkfifo one/fifo
    : > two/d/.wh.gone; echo above > two/d/new
    tar --xattrs --format=posix -C one -cf one.tar . ; tar -C two -cf two.tar .
"""
#: Everything about the files below a directory, one line each.
SNAPSHOT = (
    "cd %s; find . -mindepth 1 -type d -printf '%%P d %%m %%U:%%G %%T@\\n' -o "
    "-printf '%%P %%y %%m %%U:%%G %%s %%n %%T@ %%l\\n' | sort | cat -v; "
    'python3 -c \'import os; print(os.listxattr("kept"), os.getxattr("kept", "user.x"))\''
)


def crafted(tmp_path) -> str:
    """A docker-archive with an image of two layers, both crafted."""
    subprocess.run(["sh", "-euc", LAYERS], cwd=tmp_path, check=True)
    layers = [(tmp_path / f"{name}.tar").read_bytes() for name in ("one", "two")]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2020-01-02T03:04:05.678Z",
            "config": {"Cmd": ["/x"], "Env": ["A=<1>"]},
            "history": [{"created": "2020-01-02T03:04:05Z", "created_by": "one && <two>"}, {}],
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers],
            },
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": ["two:1"], "Layers": ["one.tar", "two.tar"]}]).encode()
    with tarfile.open(tmp_path / "crafted.tar", "w") as archive:
        for member, data in (
            (name, config),
            ("one.tar", layers[0]),
            ("two.tar", layers[1]),
            ("manifest.json", manifest),
        ):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return str(tmp_path / "crafted.tar")


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive", "oci"])
def test_skopeo_reads_and_writes_the_same_image(minirun, tmp_path, kind):
    minirun.ok("load", "-i", crafted(tmp_path))
    image = minirun.ok("images", "-q", "--no-trunc", "two:1")
    minirun.ok("save", "-o", str(tmp_path / "ours.tar"), "two:1", "alpine")
    there = tmp_path / "theirs"
    skopeo = ("skopeo", "--insecure-policy", "copy", "-q")
    # Between Docker's formats and the OCI's skopeo writes the config anew; within one it keeps it.
    ours = f"docker-archive:{tmp_path}/ours.tar" if kind == "docker-archive" else f"oci:{minirun.machine.data}/images"
    done = minirun.machine.run(*skopeo, f"{ours}:two:1", f"{kind}:{there}:two:1")
    assert done.returncode == 0, done.stderr
    if kind == "oci":  # a directory: what umoci and buildah work with
        unpacked = minirun.machine.run("umoci", "unpack", "--image", f"{there}:two:1", str(tmp_path / "bundle"))
        assert unpacked.returncode == 0, unpacked.stderr
        assert (tmp_path / "bundle/rootfs/d/new").read_text() == "above\n"
        subprocess.run(["tar", "-C", there, "-cf", tmp_path / "packed.tar", "."], check=True)
        there = tmp_path / "packed.tar"
    minirun.ok("rmi", "two:1")
    assert minirun.ok("load", "-i", str(there)) == "Loaded image: two:1"
    assert minirun.ok("images", "-q", "--no-trunc", "two:1") == image


@pytest.mark.docker
@pytest.mark.skipif(bool(missing()), reason="needs a real Docker")
def test_docker_reads_and_writes_the_same_image(minirun, tmp_path, alpine_tar):
    source = crafted(tmp_path)
    minirun.ok("load", "-i", source)
    minirun.ok("save", "-o", str(tmp_path / "ours.tar"), "two:1", "alpine")
    ids = {name: minirun.ok("images", "-q", "--no-trunc", name) for name in ("two:1", "alpine:latest")}
    layers = minirun.ok(
        "image", "inspect", "-f", "{{.GraphDriver.Data.UpperDir}}:{{.GraphDriver.Data.LowerDir}}", "two:1"
    )
    with Docker(tmp_path / "docker", alpine_tar, {}, "true") as docker:
        docker.sh("docker rmi alpine")
        assert docker.sh(f"docker load -i {tmp_path}/ours.tar") == "Loaded image: two:1\nLoaded image: alpine:latest\n"
        for name, image in ids.items():
            assert docker.sh(f"docker image inspect -f '{{{{.Id}}}}' {name}") == f"{image}\n"
        docker.sh(f"docker save -o {tmp_path}/theirs.tar two:1 alpine")
        theirs = docker.sh(
            "docker image inspect -f '{{.GraphDriver.Data.UpperDir}}:{{.GraphDriver.Data.LowerDir}}' two:1"
        ).strip()
        portraits = [
            docker.sh(
                f"mkdir -p /run/look; mount -t overlay -o lowerdir={pile} overlay /run/look; "
                f"{SNAPSHOT % '/run/look'}; cd /; umount /run/look"
            )
            for pile in (layers, theirs)
        ]
    assert portraits[0] == portraits[1]
    assert "d/new f" in portraits[0] and "user.x" in portraits[0] and "gone" not in portraits[0]
    minirun.ok("rmi", "two:1", "alpine")
    assert sorted(minirun.ok("load", "-i", str(tmp_path / "theirs.tar")).split("\n")) == [
        "Loaded image: alpine:latest",
        "Loaded image: two:1",
    ]
    assert {name: minirun.ok("images", "-q", "--no-trunc", name) for name in ids} == ids
