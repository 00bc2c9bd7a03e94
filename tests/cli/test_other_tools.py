"""The layout on disk and the archives, as skopeo, umoci and podman read and write them: nothing is converted first."""

from __future__ import annotations

import json
import subprocess

import pytest


@pytest.fixture
def minirun(new_host):
    """The program on a host of its own."""
    return new_host.minirun


def tool(minirun, *argv: str) -> str:
    """The output of another tool, in the host."""
    done = minirun.machine.run(*argv)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- skopeo and umoci work in the store itself ---------------------------------------------------------------------


def skopeo(minirun, source: str, target: str) -> None:
    tool(minirun, "skopeo", "--insecure-policy", "copy", "-q", source, target)


@pytest.fixture
def store(minirun) -> str:
    """Our layout as skopeo calls it."""
    return f"oci:{minirun.machine.data}/images"


@pytest.fixture
def theirs(minirun, store, tmp_path) -> str:
    """Another layout, in which is a real image that we have not: two layers, the second of which was committed."""
    minirun.ok("run", "--name", "c1", "alpine", "sh", "-c", "echo new > /etc/new; rm /etc/motd")
    minirun.ok("commit", "c1", "two:1")
    minirun.ok("rm", "c1")
    skopeo(minirun, f"{store}:two:1", f"oci:{tmp_path}/oci:two:1")
    minirun.ok("rmi", "two:1")
    return f"oci:{tmp_path}/oci"


def test_skopeo_writes_into_the_store(minirun, store, theirs):
    skopeo(minirun, f"{theirs}:two:1", f"{store}:brought:1")
    assert sorted(minirun.ok("images", "--format", "{{.Repository}}:{{.Tag}}").split()) == [
        "alpine:latest",
        "brought:1",
    ]
    assert minirun.ok("run", "--rm", "brought:1", "sh", "-c", "cat /etc/new; ls /etc/motd 2>&1 || :") == (
        "new\nls: /etc/motd: No such file or directory"
    )
    assert json.loads(minirun.ok("image", "inspect", "brought:1"))[0]["RepoTags"] == ["brought:1"]
    assert minirun("system", "check").out.endswith("Nothing is left over.\n")
    skopeo(minirun, f"{store}:brought:1", f"{theirs}:back:1")
    minirun.ok("tag", "brought:1", "also:1")
    minirun.ok("rmi", "brought:1")
    skopeo(minirun, f"{store}:also:1", f"{theirs}:once-more:1")
    minirun.ok("rmi", "also:1")
    assert minirun("system", "check").out.endswith("Nothing is left over.\n")


def test_two_runs_of_what_skopeo_brought_unpack_it_once(minirun, store, theirs):
    skopeo(minirun, f"{theirs}:two:1", f"{store}:brought")
    runs = [minirun.popen("run", "--rm", "brought", "cat", "/etc/new") for _ in range(3)]
    assert [run.communicate(timeout=60)[0] for run in runs] == ["new\n"] * 3
    assert not list((minirun.machine.data / "images/tmp").iterdir())


def test_skopeo_takes_a_name_over(minirun, store, theirs):
    """It knows nothing of our containers: what runs goes on, and what nobody has any more is cleared."""
    before = minirun.ok("images", "-q", "alpine")
    minirun.begin("alpine", "sleep", "100")
    skopeo(minirun, f"{theirs}:two:1", f"{store}:alpine:latest")
    assert minirun.ok("images", "-q", "alpine") != before
    assert minirun.ok("run", "--rm", "alpine", "cat", "/etc/new") == "new"
    minirun("system", "check", "--repair")
    assert minirun.ok("exec", "c1", "cat", "/etc/alpine-release")
    assert minirun("system", "check").out.endswith("Nothing is left over.\n")


def test_umoci_unpacks_and_tags_in_the_store(minirun, tmp_path):
    layout = str(minirun.machine.data / "images")
    assert tool(minirun, "umoci", "list", "--layout", layout) == "alpine:latest\n"
    tool(minirun, "umoci", "unpack", "--image", f"{layout}:alpine:latest", str(tmp_path / "bundle"))
    assert (tmp_path / "bundle/rootfs/etc/alpine-release").read_text() == minirun.ok(
        "run", "--rm", "alpine", "cat", "/etc/alpine-release"
    ) + "\n"
    tool(minirun, "umoci", "config", "--image", f"{layout}:alpine:latest", "--config.env", "A=umoci's", "--tag", "v2")
    assert minirun.ok("run", "--rm", "v2", "sh", "-c", "echo $A") == "umoci's"
    assert sorted(minirun.ok("images", "--format", "{{.Repository}}").split()) == ["alpine", "v2"]
    (tmp_path / "bundle/rootfs/etc/added").write_text("by hand")
    tool(minirun, "umoci", "repack", "--image", f"{layout}:v3", str(tmp_path / "bundle"))
    assert minirun.ok("run", "--rm", "v3", "cat", "/etc/added") == "by hand"


# ---- podman ------------------------------------------------------------------------------------------------------


@pytest.fixture
def podman(minirun, tmp_path):
    """podman with a store of its own, in which is our alpine, under two names."""

    def run(*words: str) -> str:
        return tool(
            minirun,
            "podman",
            "--storage-driver",
            "vfs",
            "--root",
            f"{tmp_path}/root",
            "--runroot",
            "/run/podman",
            *words,
        )

    minirun.ok("save", "-o", str(tmp_path / "ours.tar"), "alpine")
    assert run("load", "-q", "-i", str(tmp_path / "ours.tar")) == "Loaded image: localhost/alpine:latest\n"
    run("tag", "alpine", "other/name:3")
    yield run
    run("rmi", "-af")


@pytest.mark.parametrize(
    ("words", "packing"),
    [
        (("--format", "docker-archive", "alpine"), "gzip -1c"),
        (("--format", "docker-archive", "alpine"), "cat"),
        (("--format", "oci-archive", "alpine"), "zstd -1c"),
        (("--format", "oci-archive", "alpine"), "xz -0c"),
        (("--multi-image-archive", "alpine", "other/name:3"), "bzip2 -1c"),
    ],
)
def test_podmans_archives(minirun, podman, tmp_path, words, packing):
    image = minirun.ok("images", "-q", "--no-trunc")
    podman("save", "-q", "-o", str(tmp_path / "theirs.tar"), *words)
    minirun.ok("rmi", "alpine")
    load = " ".join((*minirun.words, "load"))
    loaded = tool(minirun, "sh", "-c", f"{packing} <{tmp_path}/theirs.tar | {load}")
    names = ["localhost/alpine:latest", *(["localhost/other/name:3"] if "other/name:3" in words else [])]
    assert sorted(loaded.splitlines()) == [f"Loaded image: {name}" for name in names]
    assert set(minirun.ok("images", "-q", "--no-trunc").split()) == {image}
    assert minirun.ok("run", "--rm", names[0], "echo", "x") == "x"


@pytest.mark.parametrize("packing", ["zstd"])
def test_podman_and_skopeo_take_what_we_save_compressed(minirun, podman, tmp_path, packing):
    """(Debian's podman 4.3 and skopeo 1.9 read no docker-archive in gzip, Docker's neither.)"""
    archive = tmp_path / "ours.tar"
    subprocess.run([*packing.split(), "-k", archive], check=True)
    [packed] = tmp_path.glob("ours.tar.*")
    podman("rmi", "-af")
    assert podman("load", "-q", "-i", str(packed)) == "Loaded image: localhost/alpine:latest\n"
    skopeo(minirun, f"docker-archive:{packed}:alpine:latest", f"oci:{tmp_path}/oci:x")
