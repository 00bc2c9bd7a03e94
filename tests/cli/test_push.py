"""`push`: to a real docker-registry."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from pathlib import Path

import pytest

from harness.host import wait_for
from harness.registry.images import Image, layers, short
from harness.registry.servers import DockerRegistry, FakeRegistry

pytestmark = pytest.mark.usefixtures("forgets")


def test_push_prints_what_docker_prints(minirun, host, registry, tmp_path):
    image = Image(*layers("a", "b"))
    with FakeRegistry(host, tmp_path / "fake").running() as fake:
        fake.put(image)
        minirun.ok("pull", f"{fake.name}/x")
    name = f"{registry.name}/some/thing"
    minirun.ok("tag", f"{fake.name}/x", name)
    a, b = map(short, image.diff_ids)
    lines = minirun.ok("push", name).splitlines()
    assert lines[:4] == [
        "Using default tag: latest",
        f"The push refers to repository [{name}]",
        f"{b}: Preparing",
        f"{a}: Preparing",
    ]
    assert sorted(lines[4:6]) == sorted([f"{a}: Pushed", f"{b}: Pushed"])
    assert lines[6:] == [f"latest: digest: {image.digest} size: {len(image.manifest)}"]
    assert sorted(minirun.ok("push", f"{name}:latest").splitlines()[3:5]) == sorted(
        f"{layer}: Layer already exists" for layer in (a, b)
    )
    assert minirun.ok("push", "-q", name) == f"{name}:latest"
    done = host.run("skopeo", "inspect", "--tls-verify=false", f"docker://{name}")
    assert json.loads(done.stdout)["Digest"] == image.digest, done.stderr


def test_push_of_all_tags(minirun, registry):
    for name, files in (("a", "a"), ("c", "c"), ("b", "a")):
        registry.put(Image({files: files.encode() * 1000}), f"many:{name}")
    minirun.ok("pull", "-q", "-a", f"{registry.name}/many")
    for tag in "cba":
        minirun.ok("tag", f"{registry.name}/many:{tag}", f"{registry.name}/new:{tag}")
    lines = minirun.ok("push", "-a", f"{registry.name}/new").splitlines()
    assert lines[0] == f"The push refers to repository [{registry.name}/new]"
    assert [line.partition(": digest: ")[0] for line in lines if ": digest: " in line] == ["a", "b", "c"]
    assert minirun.ok("push", "-a", "-q", f"{registry.name}/new") == f"{registry.name}/new"
    minirun.ok("rmi", *(f"{registry.name}/{name}:{tag}" for name in ("many", "new") for tag in "abc"))
    minirun.ok("pull", "-q", "-a", f"{registry.name}/new")
    assert sorted(minirun.ok("images", "--format", "{{.Tag}}", f"{registry.name}/new").split()) == ["a", "b", "c"]


def test_an_imported_image_is_one_that_skopeo_takes(minirun, host, registry, tmp_path):
    minirun.ok("tag", "alpine", f"{registry.name}/alpine:1")
    minirun.ok("push", "-q", f"{registry.name}/alpine:1")
    done = host.run(
        "skopeo",
        "copy",
        "--insecure-policy",
        "--src-tls-verify=false",
        f"docker://{registry.name}/alpine:1",
        f"dir:{tmp_path}/copy",
    )
    assert done.returncode == 0, done.stderr
    manifest = json.loads(Path(tmp_path / "copy/manifest.json").read_text())
    assert manifest["config"]["digest"] == minirun.ok("images", "-q", "--no-trunc", "alpine")


@pytest.mark.parametrize(
    ("words", "out", "err"),
    [
        (
            ["nosuch"],
            "Using default tag: latest\nThe push refers to repository [docker.io/library/nosuch]\n",
            "An image does not exist locally with the tag: nosuch\n",
        ),
        ([f"127.0.0.1:9/x@sha256:{'1' * 64}"], "", "cannot push a digest reference\n"),
        (
            ["-a", "nosuch"],
            "The push refers to repository [docker.io/library/nosuch]\n",
            "An image does not exist locally with the tag: nosuch\n",
        ),
        (["-q", "nosuch"], "", "An image does not exist locally with the tag: nosuch\n"),
        (["-a", "x:1"], "", "tag can't be used with --all-tags/-a\n"),
        (
            ["--disable-content-trust=false", "x"],
            "",
            "minirun has no content trust: images are checked against their digests, not against signatures\n",
        ),
    ],
)
def test_what_cannot_be_pushed(minirun, words, out, err):
    result = minirun("push", *words)
    assert (result.out, result.err) == (out, err)
    assert result.code == 1


def test_push_to_nobody(minirun):
    minirun.ok("tag", "alpine", "127.0.0.1:9/x:1")
    result = minirun("push", "-q", "127.0.0.1:9/x:2")
    assert (result.code, result.err) == (1, "tag does not exist: 127.0.0.1:9/x:2\n")
    result = minirun("push", "127.0.0.1:9/x:1")
    assert (result.code, result.err) == (
        1,
        'Get "http://127.0.0.1:9/v2/": dial tcp 127.0.0.1:9: connect: connection refused\n',
    )


def manifest_in(host, registry, name: str, tag: str = "latest") -> dict:
    """A manifest as the registry has it."""
    done = host.run(
        "curl",
        "-s",
        "-H",
        "Accept: application/vnd.oci.image.manifest.v1+json",
        f"http://{registry.name}/v2/{name}/manifests/{tag}",
    )
    return json.loads(done.stdout)


def test_what_was_made_here_travels_compressed(minirun, host, registry):
    name = f"{registry.name}/made"
    minirun.ok("run", "--name", "maker", "alpine", "sh", "-c", "echo hello > /etc/hello")
    image_id = minirun.ok("commit", "maker", name)
    minirun.ok("rm", "maker")
    minirun.ok("push", "-q", name)
    manifest = manifest_in(host, registry, "made")
    assert [layer["mediaType"] for layer in manifest["layers"]] == 2 * ["application/vnd.oci.image.layer.v1.tar+gzip"]
    assert manifest["config"]["digest"] == image_id
    # the digest it has there is told here, as after a pull; and it is all here under that digest
    [digest] = json.loads(minirun.ok("image", "inspect", "-f", "{{json .RepoDigests}}", name))
    assert minirun.ok("run", "--rm", name, "cat", "/etc/hello") == "hello"
    done = host.run("skopeo", "inspect", "--tls-verify=false", f"docker://{digest}")
    assert done.returncode == 0, done.stderr
    assert "Image is up to date" in minirun.ok("pull", name)


def test_what_is_packed_is_packed_once_and_the_plain_form_goes(minirun, host, registry):
    minirun("system", "check", "--repair")  # a pull that another test has cut short leaves its layers for the next one
    blobs = host.data / "images/blobs/sha256"
    minirun.ok("run", "--name", "maker", "alpine", "touch", "/one")
    minirun.ok("commit", "maker", f"{registry.name}/one")
    minirun.ok("commit", "maker", f"{registry.name}/two")
    minirun.ok("rm", "maker")
    minirun.ok("push", "-q", f"{registry.name}/one")
    before = set(blobs.iterdir())
    minirun.ok("push", "-q", f"{registry.name}/two")
    new = set(blobs.iterdir()) - before
    assert [json.loads(path.read_text())["layers"] for path in new] == [
        manifest_in(host, registry, "two")["layers"]
    ]  # nothing but the manifest
    assert minirun.ok("system", "check").endswith("Nothing is left over.")


def test_a_push_that_is_killed_while_it_packs_changes_nothing(minirun, host, registry, tmp_path):
    name = f"{registry.name}/large"
    (tmp_path / "large").write_bytes(os.urandom(50_000_000))
    host.run("tar", "cf", tmp_path / "large.tar", "-C", tmp_path, "large", check=True)
    minirun.ok("import", str(tmp_path / "large.tar"), name)
    index = host.data / "images/index.json"
    before = index.read_text()
    pushing = minirun.popen("push", name)
    drafts = host.data / "images/tmp"
    assert wait_for(lambda: any(path.stat().st_size > 100_000 for path in drafts.glob("draft-*/*")))
    pushing.kill()
    pushing.communicate()
    assert index.read_text() == before
    minirun.ok("push", "-q", name)
    assert not list(drafts.glob("draft-*"))
    [layer] = manifest_in(host, registry, "large")["layers"]
    assert layer["mediaType"].endswith("+gzip")
    packed = (host.data / "images/blobs" / layer["digest"].replace(":", "/")).read_bytes()
    diff_id = f"sha256:{hashlib.sha256(gzip.decompress(packed)).hexdigest()}"
    assert json.loads(minirun.ok("image", "inspect", "-f", "{{json .RootFS.Layers}}", name)) == [diff_id]


def test_another_repository_has_no_digest_before_it_is_pushed_to(minirun, host, registry):
    DockerRegistry.put(registry, Image(*layers("a")), "x:1")
    minirun.ok("pull", "-q", f"{registry.name}/x:1")
    minirun.ok("tag", f"{registry.name}/x:1", f"{registry.name}/y")
    digests = json.loads(minirun.ok("image", "inspect", "-f", "{{json .RepoDigests}}", f"{registry.name}/y"))
    assert [digest.partition("@")[0] for digest in digests] == [f"{registry.name}/x"]
    minirun.ok("push", "-q", f"{registry.name}/y")
    digests = json.loads(minirun.ok("image", "inspect", "-f", "{{json .RepoDigests}}", f"{registry.name}/y"))
    assert [digest.partition("@")[0] for digest in digests] == [f"{registry.name}/x", f"{registry.name}/y"]


def test_a_damaged_layer_is_not_packed(minirun, host, registry, tmp_path):
    """Nobody is sent what the image's config does not know, and the image stays as it was."""
    name = f"{registry.name}/damaged"
    (tmp_path / "file").write_bytes(b"x" * 5000)
    host.run("tar", "cf", tmp_path / "layer.tar", "-C", tmp_path, "file", check=True)
    minirun.ok("import", str(tmp_path / "layer.tar"), name)
    [diff_id] = json.loads(minirun.ok("image", "inspect", "-f", "{{json .RootFS.Layers}}", name))
    blob, index = host.data / "images/blobs" / diff_id.replace(":", "/"), host.data / "images/index.json"
    before, data = index.read_text(), bytearray(blob.read_bytes())
    data[1000] ^= 1
    blob.write_bytes(data)
    result = minirun("push", "-q", name)
    assert (result.code, result.err) == (1, f"layer {diff_id} is damaged: its content does not match its digest\n")
    assert index.read_text() == before
    assert not list((host.data / "images/tmp").glob("draft-*"))
