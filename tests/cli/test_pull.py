"""`pull`, and `run --pull`: from a real docker-registry, and from one that misbehaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from harness.host import wait_for
from harness.registry.images import OCI, SIZE, Image, digest, index, layers, short
from harness.registry.servers import FakeRegistry

pytestmark = pytest.mark.usefixtures("forgets")


def entries(host) -> list[dict]:
    return json.loads((host.data / "images/index.json").read_text())["manifests"]


def left_over(host) -> list[str]:
    return sorted(path.name for path in (host.data / "images/tmp").iterdir())


# ---- a real registry ----


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_pull_prints_what_docker_prints(minirun, host, registry, docker):
    image = Image(*layers("a", "b"), docker=docker)
    registry.put(image, "some/thing:1")
    name = f"{registry.name}/some/thing:1"
    lines = minirun.ok("pull", name).splitlines()
    a, b = map(short, image.layers)
    assert lines[:3] == ["1: Pulling from some/thing", f"{a}: Pulling fs layer", f"{b}: Pulling fs layer"]
    assert sorted(lines[3:9]) == sorted(
        f"{layer}: {word}" for layer in (a, b) for word in ("Verifying Checksum", "Download complete", "Pull complete")
    )
    assert lines[9:] == [f"Digest: {image.digest}", f"Status: Downloaded newer image for {name}", name]
    assert minirun.ok("pull", name).splitlines() == [
        "1: Pulling from some/thing",
        f"Digest: {image.digest}",
        f"Status: Image is up to date for {name}",
        name,
    ]
    assert minirun.ok("pull", "-q", name) == name
    assert minirun.ok("images", "-q", "--no-trunc", name) == image.id
    assert left_over(host) == []


def test_the_tag_is_latest_and_layers_that_are_here_stay(minirun, registry):
    base = layers("a")
    registry.put(Image(*base), "x:base")
    minirun.ok("pull", f"{registry.name}/x:base")
    image = Image(*base, *layers("b"))
    registry.put(image, "x")
    lines = minirun.ok("pull", f"{registry.name}/x").splitlines()
    assert lines[:4] == [
        "Using default tag: latest",
        "latest: Pulling from x",
        f"{short(image.layers[0])}: Already exists",
        f"{short(image.layers[1])}: Pulling fs layer",
    ]


def test_a_second_pull_is_one_question(minirun, fake):
    fake.put(Image(*layers("a")), "1")
    name = f"{fake.name}/x:1"
    minirun.ok("pull", name)
    fake.behave(named=True)
    before = len(fake.log())
    told = minirun.ok("pull", name)
    assert [(line["method"], line["path"]) for line in fake.log()[before:]] == [("HEAD", "/v2/x/manifests/1")]
    fake.behave(named=True, token=f"http://{fake.name}/token")  # now it is more than one, and comes to the same
    before = len(fake.log())
    assert minirun.ok("pull", name) == told
    assert [line["path"] for line in fake.log()[before:]][:3] == ["/v2/x/manifests/1", "/v2/", "/token"]
    fake.behave(named=True)
    fake.put(Image(*layers("b")), "1")
    assert minirun.ok("pull", name).splitlines()[-2] == f"Status: Downloaded newer image for {name}"


def test_pull_by_digest(minirun, registry):
    image = Image(*layers("a"))
    registry.put(image, "x:1")
    name = f"{registry.name}/x@{image.digest}"
    lines = minirun.ok("pull", name).splitlines()
    assert (lines[0], lines[-1]) == (f"{name}: Pulling from x", name)
    assert minirun.ok("images", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}", f"{registry.name}/x@*").split() == [
        f"{registry.name}/x",
        "<none>",
        image.digest,
    ]
    assert minirun.ok("pull", name).splitlines()[-2] == f"Status: Image is up to date for {name}"
    assert minirun.ok("create", "--network", "none", name, "true")


def test_what_is_pulled_runs(minirun, host, registry):
    done = host.run(
        "skopeo",
        "copy",
        "--insecure-policy",
        "--dest-tls-verify=false",
        f"oci:{host.data}/images:alpine:latest",
        f"docker://{registry.name}/alpine",
    )
    assert done.returncode == 0, done.stderr
    result = minirun("run", "--rm", f"{registry.name}/alpine", "echo", "hello")
    assert (result.code, result.out) == (0, "hello\n")
    lines = result.err.splitlines()
    assert lines[:2] == [f"Unable to find image '{registry.name}/alpine:latest' locally", "latest: Pulling from alpine"]
    assert lines[-1] == f"Status: Downloaded newer image for {registry.name}/alpine:latest"
    result = minirun("run", "--rm", "--pull", "always", f"{registry.name}/alpine", "echo", "hello")
    assert (result.code, result.out) == (0, "hello\n")
    assert result.err.splitlines()[-1] == f"Status: Image is up to date for {registry.name}/alpine:latest"
    assert minirun.ok("run", "--rm", f"{registry.name}/alpine", "echo", "hello") == "hello"


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("127.0.0.1:9/x", 'Get "http://127.0.0.1:9/v2/": dial tcp 127.0.0.1:9: connect: connection refused'),
        ("127.0.0.1:5000/no", "manifest for 127.0.0.1:5000/no:latest not found: manifest unknown: manifest unknown"),
        (
            f"127.0.0.1:5000/no@sha256:{'1' * 64}",
            f"manifest for 127.0.0.1:5000/no@sha256:{'1' * 64} not found: manifest unknown: manifest unknown",
        ),
    ],
)
def test_what_cannot_be_pulled(minirun, registry, word, text):
    result = minirun("pull", word)
    assert (result.code, result.err) == (1, f"Error response from daemon: {text}\n")
    result = minirun("run", word, "true")
    assert (result.code, result.out) == (125, "")
    assert f"minirun: Error response from daemon: {text}.\nSee 'minirun run --help'.\n" in result.err
    assert ("hint: no registry can be reached; without one, rootfs/alpine" in result.err) == ("refused" in text)


def test_never_means_never(minirun, registry):
    registry.put(Image(*layers("a")), "x")
    result = minirun("run", "--pull", "never", f"{registry.name}/x", "true")
    assert (result.code, result.err) == (
        125,
        f"minirun: Error response from daemon: No such image: {registry.name}/x:latest.\nSee 'minirun run --help'.\n",
    )


def test_a_pull_is_explained(minirun, registry):
    image = Image(*layers("a"))
    registry.put(image, "x:1")
    name = f"{registry.name}/x:1"
    first, second = (minirun("--explain", "pull", "-q", name) for _ in range(2))
    assert (first.code, first.out, second.out) == (0, f"{name}\n", f"{name}\n")
    stages = [line.partition(" ")[2].strip() for line in first.err.splitlines() if "   # " not in line]
    assert stages == [
        "ask the registry which image this is",
        "read the image's config",
        "fetch the layers that are not here",
        "unpack the layer",
    ]
    told = [line.split() for line in first.err.splitlines() if "   # " in line]
    for method, path in (
        ("HEAD", "manifests/1"),
        ("GET", f"manifests/{image.digest}"),
        ("GET", f"blobs/{image.id}"),
        ("GET", f"blobs/{image.layers[0]}"),
    ):
        assert any(words[1] == "curl" and words[-1] == method and words[-3].endswith(path) for words in told), path
    assert [line.split()[-1] for line in second.err.splitlines() if "   # " in line] == ["HEAD"]


# ---- one that misbehaves ----


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_an_index_leads_to_the_image_for_the_platform(minirun, fake, docker):
    here, there = Image(*layers("a")), Image(*layers("b"), architecture="riscv64")
    for image in (here, there):
        fake.put(image, "unused")
    data = index(here.descriptor("amd64"), there.descriptor("riscv64"), docker=docker)
    for name in ("many", digest(data)):
        (fake.directory / "manifests" / name).write_bytes(data)
    name = f"{fake.name}/x:many"
    assert f"Digest: {digest(data)}" in minirun.ok("pull", "--platform", "linux/riscv64", name)
    assert minirun.ok("images", "-q", "--no-trunc", name) == there.id
    assert "Downloaded newer image" in minirun.ok("pull", "--platform", "linux/amd64", name)
    assert minirun.ok("images", "-q", "--no-trunc", name) == here.id
    assert "up to date" in minirun.ok("pull", "--platform", "amd64", name)
    result = minirun("pull", "--platform", "linux/s390x", name)
    assert (result.code, result.out) == (1, "many: Pulling from x\n")
    assert result.err == (
        "no matching manifest for linux/s390x in the manifest list entries\n"
        f"hint: {name} is there for linux/amd64, linux/riscv64\n"
    )
    assert minirun.ok("pull", "--platform", "linux/amd64", f"{fake.name}/x@{digest(data)}")
    assert minirun.ok("create", "--network", "none", f"{fake.name}/x@{digest(data)}")


def test_a_manifest_in_an_index_in_an_index(minirun, fake):
    image, attestation = Image(*layers("a")), Image(*layers("b"), architecture="unknown", os="unknown")
    for one in (image, attestation):
        fake.put(one, "unused")
    unknown = {**attestation.descriptor("unknown"), "platform": {"os": "unknown", "architecture": "unknown"}}
    inner = index(unknown, image.descriptor("amd64"))
    outer = index({"mediaType": f"{OCI}index.v1+json", "digest": digest(inner), "size": len(inner)})
    for name, data in (("outer", outer), (digest(outer), outer), (digest(inner), inner)):
        (fake.directory / "manifests" / name).write_bytes(data)
    assert f"Digest: {digest(outer)}" in minirun.ok("pull", f"{fake.name}/x:outer")
    assert minirun.ok("images", "-q", "--no-trunc", f"{fake.name}/x:outer") == image.id
    result = minirun("run", "--network", "none", "--platform", "linux/s390x", f"{fake.name}/x:outer", "true")
    assert (result.code, result.err) == (
        125,
        (
            f"Unable to find image '{fake.name}/x:outer' locally\nouter: Pulling from x\n"
            "minirun: no matching manifest for linux/s390x in the manifest list entries.\nSee 'minirun run --help'.\n"
            f"hint: {fake.name}/x:outer is there for linux/amd64\n"
        ),
    )


def test_an_image_for_another_machine(minirun, registry):
    registry.put(Image(*layers("a"), architecture="arm64"), "arm:1")
    name = f"{registry.name}/arm:1"
    minirun.ok("pull", "-q", name)
    assert minirun.ok("pull", "--platform", "amd64", name).splitlines()[-3:] == [
        f"Status: Image is up to date for {name}",
        f"WARNING: image with reference {name} was found but does not match "
        "the specified platform: wanted linux/amd64, actual: linux/arm64",
        name,
    ]
    result = minirun("create", "--network", "none", name, "true")
    assert result.code == 0
    assert result.err == (
        "WARNING: The requested image's platform (linux/arm64) does not match the detected host "
        "platform (linux/amd64) and no specific platform was requested\n"
    )
    assert minirun.ok("create", "--network", "none", "--platform", "linux/arm64/v8", name, "true")
    mismatch = (
        f"Error response from daemon: image with reference {name} was found but does not match the specified "
        "platform: wanted linux/amd64, actual: linux/arm64"
    )
    result = minirun("create", "--network", "none", "--platform", "amd64", name, "true")
    lines = result.err.splitlines()
    assert (result.code, lines[0], lines[-1]) == (1, f"Unable to find image '{name}' locally", mismatch)
    result = minirun("run", "--network", "none", "--platform", "amd64", "--pull", "never", name, "true")
    assert (result.code, result.err) == (125, f"minirun: {mismatch}.\nSee 'minirun run --help'.\n")
    text = 'error parsing specified platform: "bogus": unknown operating system or architecture: invalid argument'
    result = minirun("create", "--platform", "bogus", name)
    assert (result.code, result.err) == (1, f"{text}\n")
    result = minirun("run", "--platform", "bogus", name)
    assert (result.code, result.err) == (125, f"minirun: {text}.\nSee 'minirun run --help'.\n")


def test_pull_of_all_tags(minirun, registry):
    images = {tag: Image({tag: tag.encode() * 1000}) for tag in "abc"}
    for tag, image in images.items():
        registry.put(image, f"many:{tag}")
    name = f"{registry.name}/many"
    lines = minirun.ok("pull", "-a", name).splitlines()
    assert lines[-2:] == [f"Status: Downloaded newer image for {name}", name]
    places = {tag: lines.index(f"{tag}: Pulling from many") for tag in images}
    for tag, image in images.items():
        assert lines[places[tag] + 5] == f"Digest: {image.digest}"
    minirun.ok("rmi", f"{name}:c")
    assert minirun.ok("pull", "-a", name).splitlines()[-2] == f"Status: Downloaded newer image for {name}"
    lines = minirun.ok("pull", "-a", name).splitlines()
    assert lines[-2:] == [f"Status: Image is up to date for {name}", name] and len(lines) == 8
    assert minirun.ok("pull", "-a", "-q", name) == name
    result = minirun("pull", "-a", f"{name}:a")
    assert (result.code, result.err) == (1, "tag can't be used with --all-tags/-a\n")
    result = minirun("pull", "-a", f"{registry.name}/none")
    assert (result.code, result.err) == (
        1,
        f"Error response from daemon: repository {registry.name}/none not found: name unknown: repository name not "
        "known to registry\n",
    )


def test_the_tags_come_in_pages(minirun, fake):
    tags = [f"v{number}" for number in range(5)]
    for tag in tags:
        fake.put(Image({"a": b""}), tag)
    fake.behave(page=2)
    lines = minirun.ok("pull", "-a", f"{fake.name}/x").splitlines()
    assert [line.partition(":")[0] for line in lines if ": Pulling from" in line] == tags
    assert [line["query"] for line in fake.log("tags/list")] == ["", "last=v1&n=2", "last=v3&n=2"]


def test_a_line_that_breaks_is_resumed(minirun, fake):
    image = Image(*layers("a", "b"))
    fake.put(image)
    fake.behave(cut=100_000, fail=1)
    minirun.ok("pull", f"{fake.name}/x")
    for layer in image.layers:
        ranges = [line["range"] for line in fake.log(layer)]
        assert "bytes=100000-" in ranges and ranges.count(None) <= 2
    assert minirun.ok("images", "-q", "--no-trunc", f"{fake.name}/x") == image.id


def test_after_kill_9_it_goes_on_where_it_was(minirun, host, fake):
    image = Image(*layers("a"))
    fake.put(image)
    fake.behave(slow=30)
    pull = minirun.popen("pull", f"{fake.name}/x")
    download = host.data / "images/tmp" / f"download-{image.layers[0][7:]}"
    assert wait_for(lambda: download.exists() and download.stat().st_size > SIZE // 3)
    pull.send_signal(signal.SIGKILL)
    pull.wait()
    have = download.stat().st_size
    assert minirun.ok("images", "-q", f"{fake.name}/x") == ""
    fake.behave()
    minirun.ok("pull", f"{fake.name}/x")
    assert fake.log(image.layers[0])[-1]["range"] == f"bytes={have}-"
    assert left_over(host) == []


def test_what_kill_9_leaves_is_found(minirun, host, fake):
    image = Image(*layers("a"))
    fake.put(image)
    fake.behave(slow=30)
    pull = minirun.popen("pull", f"{fake.name}/x")
    download = host.data / "images/tmp" / f"download-{image.layers[0][7:]}"
    assert wait_for(lambda: download.exists() and download.stat().st_size > SIZE // 3)
    assert download.name not in minirun("system", "check", "--repair").out
    pull.send_signal(signal.SIGKILL)
    pull.wait()
    assert download.name in minirun("system", "check", "--repair").out
    assert left_over(host) == []


def test_two_pulls_at_once_fetch_each_layer_once(minirun, host, fake):
    image = Image(*layers("a", "b"))
    fake.put(image)
    fake.behave(slow=1)
    pulls = [minirun.popen("pull", f"{fake.name}/x") for _ in range(2)]
    for pull in pulls:
        out, err = pull.communicate(timeout=60)
        assert (pull.returncode, err) == (0, ""), out
    assert [len(fake.log(layer)) for layer in image.layers] == [1, 1]
    assert left_over(host) == []


def test_a_redirect_takes_no_token_along(minirun, host, fake, tmp_path):
    image = Image(*layers("a"))
    fake.put(image)
    with FakeRegistry(host, tmp_path / "other", 5002).running() as other:
        other.put(image)
        fake.behave(token=f"http://{fake.name}/token", away=f"http://{other.name}")
        minirun.ok("pull", f"{fake.name}/x")
        assert {line["authorization"] for line in other.log()} == {None}
    assert "Bearer secret-token" in {line["authorization"] for line in fake.log("blobs")}
    (asked,) = fake.log("/token")
    assert asked["query"] == "service=the%2C+registry&scope=repository%3Ax%3Apull"


def test_a_redirect_leads_to_no_file(minirun, fake):
    fake.put(Image(*layers("a")))
    fake.behave(away="file:///etc")
    result = minirun("pull", f"{fake.name}/x")
    assert result.code == 1 and "refusing to go on to 'file:///etc/blobs/" in result.err


def test_too_many_requests(minirun, fake):
    fake.put(Image(*layers("a")))
    fake.behave(busy=3600)
    result = minirun("pull", "-q", f"{fake.name}/x")
    assert (result.code, result.err) == (
        1,
        "Error response from daemon: toomanyrequests: slow down\n"
        "hint: the registry takes requests again in 3600 seconds\n",
    )


def test_a_registry_that_is_busy_is_asked_again_when_it_says(minirun, fake):
    fake.put(Image(*layers("a")))
    fake.behave(busy=2, once=True)
    minirun.ok("pull", "-q", f"{fake.name}/x")
    first, second = fake.log()[:2]
    assert first["path"] == second["path"] and second["time"] - first["time"] >= 2


def test_a_registry_that_is_out_of_order(minirun, fake):
    fake.put(Image(*layers("a")))
    fake.behave(fail=1000)
    result = minirun("pull", "-q", f"{fake.name}/x")
    assert (result.code, result.err) == (1, "received unexpected HTTP status: 503 Service Unavailable\n")
    assert len(fake.log("blobs")) == 5  # for the config; and it is given up


IMPATIENT = """
import sys
from urllib3 import Timeout
from minirun.cli import main
from minirun.image.registry import http
http.TIMEOUT = Timeout(connect=1, read=1)
sys.exit(main.serve(sys.argv[1:]))
"""


def test_a_server_that_stalls_is_left_and_asked_for_the_rest(host, fake):
    image = Image({"a": bytes(100) + os.urandom(8000)})
    fake.put(image)
    fake.behave(slow=20)
    done = host.run(sys.executable, "-Pc", IMPATIENT, "pull", "-q", f"{fake.name}/x")
    assert (done.returncode, done.stderr) == (0, "")
    ranges = [line["range"] for line in fake.log(image.layers[0])]
    assert ranges[0] is None and ranges[1] == f"bytes={len(image.blobs[image.layers[0]]) // 2}-"
    fake.behave(mute=20)
    done = host.run(sys.executable, "-Pc", IMPATIENT, "pull", "-q", f"{fake.name}/y")
    assert (done.returncode, done.stderr) == (
        1,
        f'Error response from daemon: Get "http://{fake.name}/v2/": read tcp {fake.name}: i/o timeout\n',
    )


def test_ctrl_c_ends_it(minirun, fake):
    fake.put(Image(*layers("a")))
    fake.behave(slow=50)
    pull: subprocess.Popen = minirun.popen("pull", f"{fake.name}/x")
    assert wait_for(lambda: fake.log("blobs/")[1:])
    pull.send_signal(signal.SIGINT)
    assert pull.wait(timeout=20) == 130
