"""Images that come and go at the same time, and `kill -9` in between: nothing twice, nothing half-made, nothing left.

MINIRUN_ROUNDS (default 3) says how often each command is killed.
"""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import tarfile
import time

import pytest

from harness.registry.images import Image, digest
from harness.registry.servers import FakeRegistry

ROUNDS = int(os.environ.get("MINIRUN_ROUNDS", "3"))


@pytest.fixture
def minirun(new_host):
    """The program on a host of its own."""
    return new_host.minirun


@pytest.fixture
def fake(new_host, tmp_path):
    with FakeRegistry(new_host, tmp_path / "fake").running() as registry:
        yield registry


def files(name: str, count: int = 300) -> dict[str, bytes]:
    """A layer of some files, one of which tells it from others."""
    return {f"only-{name}": b"x", **{f"{name}/{number}": os.urandom(1000) for number in range(count)}}


def archive(path, **images: Image) -> str:
    """A docker-archive with these images, by name."""
    with tarfile.open(path, "w") as tar:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))

        items = []
        for name, image in images.items():
            add(f"{image.id[7:]}.json", image.config)
            for layer in image.layers:
                add(layer[7:], image.blobs[layer])
            items.append(
                {
                    "Config": f"{image.id[7:]}.json",
                    "RepoTags": [f"{name}:1"],
                    "Layers": [layer[7:] for layer in image.layers],
                }
            )
        add("manifest.json", json.dumps(items).encode())
    return str(path)


# ---- the same layers at the same time ----------------------------------------------------------------------------


def together(minirun, tmp_path, *commands: tuple[str, ...]) -> str:
    """Run several commands at once. Returns: the files that they have made, as strace saw it."""
    running = []
    for number, words in enumerate(commands):
        line = [
            "strace",
            "-f",
            "-qq",
            "-e",
            "trace=openat",
            "-o",
            str(tmp_path / f"trace-{number}"),
            *minirun.words,
            *words,
        ]
        running.append(
            minirun.machine.popen(*line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        )
    for process in running:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, ""), out
    lines = "".join((tmp_path / f"trace-{number}").read_text() for number in range(len(commands))).splitlines()
    return "\n".join(line for line in lines if "O_EXCL" in line)


def test_a_layer_that_several_loads_bring_is_unpacked_once(minirun, tmp_path):
    base, middle = files("base", 1000), files("middle")
    images = {name: Image(base, middle, files(name)) for name in ("a", "b", "c")}
    commands = [("load", "-i", archive(tmp_path / f"{name}.tar", **{name: image})) for name, image in images.items()]
    made = together(minirun, tmp_path, *commands)
    assert {name: made.count(f'"only-{name}"') for name in ("base", "middle", *images)} == {
        "base": 1,
        "middle": 1,
        "a": 1,
        "b": 1,
        "c": 1,
    }
    whole(minirun)
    assert sorted(minirun.ok("images", "--format", "{{.Repository}}").split()) == ["a", "alpine", "b", "c"]


def test_a_layer_that_several_pulls_bring_is_fetched_and_unpacked_once(minirun, tmp_path, fake):
    base, middle = files("base", 1000), files("middle")
    images = {name: Image(base, middle, files(name)) for name in ("a", "b")}
    for name, image in images.items():
        fake.put(image, name)
    words = [("pull", f"{fake.name}/x:{name}") for name in images]
    made = together(minirun, tmp_path, *words, words[0], ("load", "-i", archive(tmp_path / "c.tar", c=images["a"])))
    assert [made.count(f'"only-{name}"') for name in ("base", "middle", "a", "b")] == [1, 1, 1, 1]
    assert [len(fake.log(layer)) for layer in images["a"].layers[:2]] == [1, 1]
    whole(minirun)


# ---- kill -9 -----------------------------------------------------------------------------------------------------


def whole(minirun) -> None:
    """Every image that is listed is there with all that belongs to it."""
    top = minirun.machine.data / "images"
    for image in json.loads((top / "index.json").read_text())["manifests"]:
        manifest = json.loads((top / "blobs" / image["digest"].replace(":", "/")).read_text())
        for blob in (manifest["config"], *manifest["layers"]):
            data = (top / "blobs" / blob["digest"].replace(":", "/")).read_bytes()
            assert digest(data) == blob["digest"]
    ids = minirun.ok("images", "-aq").split()
    if ids:
        for line in minirun.ok("image", "inspect", "-f", "{{json .GraphDriver.Data}}", *ids).split("\n"):
            data = json.loads(line)
            assert all(map(os.path.isdir, (data["UpperDir"], *filter(None, data.get("LowerDir", "").split(":")))))


def killed(minirun, delay: float, *words: str) -> bool:
    """Run a command and kill it after some seconds. Returns: whether it was still at work."""
    process = minirun.popen(*words, start_new_session=True)
    try:
        process.communicate(timeout=delay)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    return process.returncode < 0


def again_and_again(minirun, prepare, *words: str) -> None:
    """Kill a command at random moments; the same command succeeds afterwards, and a repair leaves nothing."""
    prepare()
    begun = time.monotonic()
    minirun.ok(*words)
    lasts = time.monotonic() - begun
    number = at_work = 0
    while number < ROUNDS or not at_work:
        number += 1
        prepare()
        if killed(minirun, random.uniform(0.02, lasts), *words):
            at_work += 1
        else:
            lasts *= 0.8  # the first time was a slow one
        whole(minirun)
        if number % 3 == 2:
            minirun("system", "check", "--repair")
            whole(minirun)
        result = minirun(*words)
        gone = words[0] == "rmi" and "No such image" in result.err  # it was through with its work
        assert gone or (result.code, result.err) == (0, ""), result
        whole(minirun)
    minirun("system", "check", "--repair")
    assert minirun("system", "check").out.endswith("Nothing is left over.\n")


@pytest.fixture
def two() -> dict[str, Image]:
    """Two images that have a layer in common."""
    base = files("base")
    return {name: Image(base, files(name)) for name in ("a", "b")}


def remove(minirun) -> None:
    minirun(
        "rmi",
        "-f",
        *[
            name
            for name in minirun.ok("images", "--format", "{{.Repository}}:{{.Tag}}").split()
            if not name.startswith("alpine:")
        ],
    )


def test_a_load_that_is_killed(minirun, tmp_path, two):
    again_and_again(minirun, lambda: remove(minirun), "load", "-i", archive(tmp_path / "a.tar", **two))


def test_a_pull_that_is_killed(minirun, fake, two):
    fake.put(two["a"])
    again_and_again(minirun, lambda: remove(minirun), "pull", f"{fake.name}/x")


def test_a_removal_that_is_killed(minirun, tmp_path, two):
    source = archive(tmp_path / "a.tar", **two)
    again_and_again(minirun, lambda: minirun.ok("load", "-i", source), "rmi", "a:1")
    assert "b:1" in minirun.ok("images", "--format", "{{.Repository}}:{{.Tag}}")


def test_a_prune_that_is_killed(minirun, tmp_path, two):
    source = archive(tmp_path / "a.tar", **two)
    again_and_again(minirun, lambda: minirun.ok("load", "-i", source), "image", "prune", "-af")
