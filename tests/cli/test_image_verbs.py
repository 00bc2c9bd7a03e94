"""`tag`, `history`, `image inspect`, `image prune`: the texts are those of Docker 20.10."""

from __future__ import annotations

import io
import json
import re
import tarfile

import pytest

DIGEST = "0123456789" * 6 + "0123"


@pytest.fixture
def minirun(new_host):
    """The program on a host of its own: what a test does to the images no other test should see."""
    return new_host.minirun


@pytest.fixture
def small(minirun, tmp_path):
    """Makes an image with one file of some bytes: `small("a:1", 5)`, its id."""

    def make(name: str, size: int, *options: str) -> str:
        path = tmp_path / f"{size}.tar"
        with tarfile.open(path, "w") as file:
            info = tarfile.TarInfo("file")
            info.size = size
            file.addfile(info, io.BytesIO(b"x" * size))
        return minirun.ok("import", *options, str(path), *([name] if name else []))

    return make


def digest_of_layer(minirun, image: str) -> str:
    return minirun.ok("image", "inspect", "-f", "{{index .RootFS.Layers 0}}", image)


# ---- tag ---------------------------------------------------------------------------------------------------------


def test_tag(minirun):
    image = minirun.ok("images", "-q", "--no-trunc")
    assert minirun.ok("tag", "alpine", "host:5000/me/a:1") == ""
    assert minirun.ok("image", "tag", image, "b") == ""
    assert minirun.ok("tag", image.removeprefix("sha256:"), "c") == ""
    assert minirun.ok("tag", image[7:12], "d") == ""
    names = json.loads(minirun.ok("image", "inspect", "alpine"))[0]["RepoTags"]
    assert sorted(names) == ["alpine:latest", "b:latest", "c:latest", "d:latest", "host:5000/me/a:1"]
    assert minirun.ok("run", "--rm", "host:5000/me/a:1", "echo", "x") == "x"


def test_a_name_moves(minirun, small):
    first, second = small("a", 1), small("b", 2)
    minirun.ok("tag", "a", "b")
    assert minirun.ok("images", "-q", "--no-trunc", "b") == first
    assert second in minirun.ok("images", "-q", "--no-trunc", "-f", "dangling=true")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("nosuch", "x"), "Error response from daemon: No such image: nosuch:latest"),
        (
            ("alpine", "Bad:Name"),
            'Error parsing reference: "Bad:Name" is not a valid repository/tag: invalid reference '
            "format: repository name must be lowercase",
        ),
        (
            ("Bad:Name", "x"),
            'Error parsing reference: "Bad:Name" is not a valid repository/tag: invalid reference '
            "format: repository name must be lowercase",
        ),
        (
            ("alpine", "x:y:z"),
            'Error parsing reference: "x:y:z" is not a valid repository/tag: invalid reference format',
        ),
        (
            ("alpine", DIGEST),
            f'Error parsing reference: "{DIGEST}" is not a valid repository/tag: invalid repository name '
            f"({DIGEST}), cannot specify 64-byte hexadecimal strings",
        ),
        (("alpine", f"x@sha256:{DIGEST}"), "refusing to create a tag with a digest reference"),
    ],
)
def test_tag_refuses(minirun, words, text):
    result = minirun("tag", *words)
    assert (result.code, result.out, result.err) == (1, "", text + "\n")


# ---- history -----------------------------------------------------------------------------------------------------


def test_history(minirun, small):
    image = small("a", 1500, "-m", "a remark")
    head, line = minirun.ok("history", "a").split("\n")
    assert head.split("  ")[0] == "IMAGE" and head.endswith("   CREATED BY   SIZE      COMMENT")
    assert re.fullmatch(rf"{image[7:19]}   (Less than a|\d+) seconds? ago +1\.5kB     a remark", line)
    head, line = minirun.ok("history", "-H=false", "--no-trunc", "a").split("\n")
    assert re.fullmatch(rf"{image}   \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ +1500      a remark", line)
    assert "CREATED AT" in head
    assert minirun.ok("image", "history", "-q", "a") == image[7:19]
    assert (
        minirun.ok("history", "--format", "table {{.ID}}\t{{.Comment}}", "a")
        == f"IMAGE          COMMENT\n{image[7:19]}   a remark"
    )
    assert (
        json.loads(minirun.ok("history", "--format", "{{json .}}", "a")).items()
        >= {"Comment": "a remark", "CreatedBy": "", "ID": image[7:19], "Size": "1.5kB"}.items()
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("nosuch",), "Error response from daemon: No such image: nosuch:latest"),
        (("Bad:Name",), "Error response from daemon: invalid reference format: repository name must be lowercase"),
        (
            ("--format", "{{.Nope}}", "alpine"),
            'template parsing error: template: :1:2: executing "" at <.Nope>: '
            "can't evaluate field Nope in type *image.historyContext",
        ),
        (("--format", "{{", "alpine"), "template parsing error: template: :1: unclosed action"),
    ],
)
def test_history_refuses(minirun, words, text):
    result = minirun("history", *words)
    assert (result.code, result.out, result.err) == (1, "", text + "\n")


# ---- image inspect -----------------------------------------------------------------------------------------------


def test_image_inspect_has_dockers_keys_in_their_order(minirun):
    [shown] = json.loads(minirun.ok("image", "inspect", "alpine"))
    assert list(shown) == [
        "Id",
        "RepoTags",
        "RepoDigests",
        "Parent",
        "Comment",
        "Created",
        "Container",
        "ContainerConfig",
        "DockerVersion",
        "Author",
        "Config",
        "Architecture",
        "Os",
        "Size",
        "VirtualSize",
        "GraphDriver",
        "RootFS",
        "Metadata",
    ]
    assert list(shown["ContainerConfig"]) == [
        "Hostname",
        "Domainname",
        "User",
        "AttachStdin",
        "AttachStdout",
        "AttachStderr",
        "Tty",
        "OpenStdin",
        "StdinOnce",
        "Env",
        "Cmd",
        "Image",
        "Volumes",
        "WorkingDir",
        "Entrypoint",
        "OnBuild",
        "Labels",
    ]
    assert (shown["Comment"], shown["RootFS"]["Type"]) == ("Imported from -", "layers")


# ---- image prune -------------------------------------------------------------------------------------------------


def test_prune_removes_what_has_no_name(minirun, small):
    image = small("", 1500)
    layer = digest_of_layer(minirun, image)
    assert (
        minirun.ok("image", "prune", "-f")
        == f"Deleted Images:\ndeleted: {image}\ndeleted: {layer}\n\nTotal reclaimed space: 1.5kB"
    )
    assert minirun.ok("image", "prune", "-f") == "Total reclaimed space: 0B"
    assert minirun.ok("images", "-q", "alpine")


def test_prune_asks(minirun, small):
    small("", 1500)
    question = "WARNING! This will remove all dangling images.\nAre you sure you want to continue? [y/N] "
    assert minirun("image", "prune", input="n\n").out == f"{question}Total reclaimed space: 0B\n"
    assert len(minirun.ok("images", "-q").split()) == 2
    assert minirun("image", "prune", input="y\n").out.startswith(f"{question}Deleted Images:\ndeleted: ")
    question = question.replace("dangling images", "images without at least one container associated to them")
    assert minirun("image", "prune", "-a", input="").out == f"{question}Total reclaimed space: 0B\n"


def test_prune_all_keeps_what_a_container_has(minirun, small):
    used, other = minirun.ok("images", "-q", "--no-trunc"), small("b:1", 1500)
    layer = digest_of_layer(minirun, other)
    minirun.ok("tag", "b:1", "c:2")
    minirun.begin("alpine", "true")
    assert minirun.ok("image", "prune", "-af").split("\n") == [
        "Deleted Images:",
        "untagged: b:1",
        "untagged: c:2",
        f"deleted: {other}",
        f"deleted: {layer}",
        "",
        "Total reclaimed space: 1.5kB",
    ]
    assert minirun.ok("images", "-q", "--no-trunc") == used


@pytest.mark.parametrize(
    ("condition", "goes"),
    [("label=keep", "b"), ("label=keep=no", ""), ("label!=keep", "a"), ("until=1h", ""), ("until=2100-01-01", "ab")],
)
def test_prune_through_a_filter(minirun, small, condition, goes):
    images = {"a": small("a", 1), "b": small("b", 2, "-c", "LABEL keep=yes")}
    minirun.begin("alpine", "true")
    out = minirun.ok("image", "prune", "-af", "--filter", condition)
    assert {name for name, image in images.items() if f"deleted: {image}" in out} == set(goes)


def test_prune_refuses_a_filter_that_is_none(minirun):
    result = minirun("image", "prune", "-f", "--filter", "color=red")
    assert (result.code, result.err) == (1, "Error response from daemon: Invalid filter 'color'\n")
