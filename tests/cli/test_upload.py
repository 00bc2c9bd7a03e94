"""How blobs go to a registry: whole, in chunks, by a redirect, or not at all because they are there."""

from __future__ import annotations

import itertools
import json
import os
import signal

import pytest

from harness.host import wait_for
from harness.registry.images import Image, layers, short
from harness.registry.servers import FakeRegistry

pytestmark = pytest.mark.usefixtures("forgets")


@pytest.fixture
def image(minirun, fake) -> Image:
    """An image that is here under a name of the fake registry, which has it no more."""
    image = Image(*layers("a"))
    fake.put(image)
    minirun.ok("pull", "-q", f"{fake.name}/x")
    for part in ("manifests", "blobs"):
        for file in (fake.directory / part).iterdir():
            file.unlink()
    (fake.directory / "log").unlink()
    return image


def came(fake: FakeRegistry, image: Image) -> bool:
    """Whether the registry has all of it, byte by byte."""
    return (fake.directory / "manifests/latest").read_bytes() == image.manifest and all(
        (fake.directory / "blobs" / blob).read_bytes() == data for blob, data in image.blobs.items()
    )


def test_a_blob_goes_in_one_request(minirun, fake, image):
    minirun.ok("push", f"{fake.name}/x")
    assert came(fake, image)
    (layer, config) = (line for line in fake.log("uploads/upload") if line["method"] == "PUT")
    assert (layer["size"], config["size"]) == (len(image.blobs[image.layers[0]]), len(image.config))
    assert layer["query"].startswith("state=a%2Fb&digest=sha256%3A")


@pytest.mark.parametrize("behaviour", [{"least": 100_000}, {"most": 9_000_000}], ids=["it says so", "it says no"])
def test_a_registry_that_wants_chunks(minirun, fake, image, behaviour):
    image = Image({"a": os.urandom(20_000_000)})
    fake.put(image, "big")
    minirun.ok("pull", "-q", f"{fake.name}/x:big")
    for blob in image.blobs:
        (fake.directory / "blobs" / blob).unlink()
    minirun.ok("tag", f"{fake.name}/x:big", f"{fake.name}/x")
    fake.behave(**behaviour)
    minirun.ok("push", f"{fake.name}/x")
    assert came(fake, image)
    chunks = [line for line in fake.log("uploads/upload") if line["method"] == "PATCH" and line["size"] > 10_000]
    ends = [0, 8 << 20, 16 << 20, len(image.blobs[image.layers[0]])]
    assert [line["range"] for line in chunks] == [f"{begin}-{end - 1}" for begin, end in itertools.pairwise(ends)]


def test_a_redirect_takes_the_bytes_along_and_no_token(minirun, host, fake, image, tmp_path):
    with FakeRegistry(host, tmp_path / "other", 5002).running() as other:
        fake.behave(token=f"http://{fake.name}/token", moved=f"http://{other.name}")
        minirun.ok("push", f"{fake.name}/x")
        assert came(other, image)
        assert {line["authorization"] for line in other.log()} == {None}
    assert {line["authorization"] for line in fake.log("uploads")} == {"Bearer secret-token"}


def test_a_person_sees_how_far_it_is(terminal, fake, image):
    one = terminal("push", f"{fake.name}/x")
    assert one.wait() == 0
    out = one.rest()
    assert f"{short(image.diff_ids[0])}: Pushed" in out and f"latest: digest: {image.digest}" in out
    assert came(fake, image)


def test_ctrl_c_ends_a_push(minirun, fake, image):
    fake.behave(hold=50)
    push = minirun.popen("push", f"{fake.name}/x")
    assert wait_for(lambda: fake.log("uploads"))
    push.send_signal(signal.SIGINT)
    assert push.wait(timeout=20) == 130


def test_an_upload_that_is_lost_begins_again(minirun, fake, image):
    fake.behave(lost=2)
    minirun.ok("push", f"{fake.name}/x")
    assert came(fake, image)
    assert len([line for line in fake.log("uploads/") if line["method"] == "POST"]) == 4  # config, and three attempts


def test_a_layer_is_taken_from_another_repository(minirun, host, registry):
    image = Image(*layers(*"abcdef"))
    registry.put(image, "from:1")
    minirun.ok("pull", "-q", f"{registry.name}/from:1")
    minirun.ok("tag", f"{registry.name}/from:1", f"{registry.name}/to:1")
    lines = minirun.ok("push", f"{registry.name}/to:1").splitlines()
    ids = [short(layer) for layer in reversed(image.diff_ids)]
    assert lines[:8] == [
        f"The push refers to repository [{registry.name}/to]",
        *(f"{layer}: Preparing" for layer in ids),
        f"{ids[5]}: Waiting",
    ]
    assert sorted(lines[8:14]) == sorted(f"{layer}: Mounted from from" for layer in ids)
    assert lines[14:] == [f"1: digest: {image.digest} size: {len(image.manifest)}"]
    done = host.run("skopeo", "inspect", "--tls-verify=false", f"docker://{registry.name}/to:1")
    assert json.loads(done.stdout)["Digest"] == image.digest, done.stderr
