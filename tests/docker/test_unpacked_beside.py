"""What is unpacked is what Docker and umoci unpack: file by file, as overlayfs shows it, of real and of crafted images.

Where the three are not of one mind, MEANT says so, and why; what it says must be seen.
"""

from __future__ import annotations

import fnmatch
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.twin import tree_snapshot
from harness.twin.crafted_images import DISPUTED, IMAGES, write_docker_archive, write_oci_layout
from harness.twin.engines import Twin, begin, finish

pytestmark = pytest.mark.docker

FIELDS = ("mode", "owner", "size", "device", "mtime", "target", "first name", "xattrs", "content", "holes")
#: After this moment (ns) a time is the one of the unpacking: of a directory that no entry describes.
NOW = 1_600_000_000_000_000_000
TOOL = tree_snapshot.__file__


class Meant(NamedTuple):
    """A difference from a peer that is meant: of which names (patterns) of an image, and in which fields."""

    peer: str
    image: str
    names: str
    fields: str
    why: str


MEANT = (
    Meant(
        "docker",
        "hard-links",
        "c d/a e/f",
        "mode owner",
        "a link's own owner and mode are not applied to its file: the file's capabilities would be lost",
    ),
    Meant("docker", "times", "e/f", "mtime", "a directory that the layer does not describe looks as below"),
    Meant("docker", "hard-links", "d", "mtime", "likewise"),
    Meant("docker", "whiteouts", "c was-file", "mtime", "likewise"),
    Meant("docker", "unsaid", "home home/me", "mode owner mtime", "likewise"),
    Meant("docker", "whiteouts", "e/old", "only there", "deleted and made anew: in Docker the old shines through"),
    Meant("docker", "whiteouts", "e", "mtime", "Docker has touched it by that"),
    Meant("docker", "sparse", "*", "holes", "holes stay holes"),
    Meant("umoci", "sparse", "*", "holes", "likewise"),
    Meant("umoci", "xattrs", "d/in d/many", "xattrs mode", "umoci takes away what a file gets from its directory"),
    Meant("umoci", "strange-times", "*", "mtime", "Docker's bounds"),
    Meant("umoci", "whiteout-device", "a", "only there", "for overlayfs this device is a whiteout"),
)


class Trees:
    """The portraits of the images in one unpacker: `trees[name]`."""

    def __init__(self, twin: Twin) -> None:
        self.twin = twin

    def __getitem__(self, name: str) -> dict[str, list]:
        data = json.loads(ok(self.twin, "image", "inspect", "-f", "{{json .GraphDriver.Data}}", name))
        return snapshot(data["UpperDir"], *filter(None, data.get("LowerDir", "").split(":")))


def snapshot(*directories: str) -> dict[str, list]:
    done = subprocess.run(["unshare", "--mount", sys.executable, TOOL, *directories], check=True, capture_output=True)
    return json.loads(done.stdout)


def umoci(layout: Path, name: str, bundle: Path) -> dict[str, list]:
    subprocess.run(["umoci", "unpack", "--image", f"{layout}:{name}", bundle], check=True, capture_output=True)
    return snapshot(str(bundle / "rootfs"))


def ask(twin: Twin, *words: str):
    return finish(begin(twin, *twin.words, *words))


def ok(twin: Twin, *words: str) -> str:
    done = ask(twin, *words)
    assert (done.code, done.err) == (0, ""), done
    return done.out.strip()


def differences(theirs: dict[str, list], ours: dict[str, list]) -> set[tuple[str, str]]:
    """(name, field) of all that differs, but for the root directory, which no layer describes."""
    found = {(name, "only there") for name in theirs.keys() - ours.keys()}
    found |= {(name, "only here") for name in ours.keys() - theirs.keys()}
    for name in theirs.keys() & ours.keys() - {"."}:
        for field, their, our in zip(FIELDS, theirs[name], ours[name], strict=True):
            if their != our and not (field == "mtime" and min(their, our) > NOW):
                found.add((name, field))
    return found


def beyond(found: set[tuple[str, str]], peer: str, image: str) -> set[tuple[str, str]]:
    """The differences that are not meant. Those that are must be there."""
    for meant in (meant for meant in MEANT if (meant.peer, meant.image) == (peer, image)):
        fitting = {
            (name, field)
            for name, field in found
            if field in meant.fields and any(fnmatch.fnmatchcase(name, pattern) for pattern in meant.names.split())
        }
        assert fitting, f"{meant} is no longer seen"
        found = found - fitting
    return found


@pytest.fixture(scope="module")
def twins(host_pairs, tmp_path_factory) -> Iterator[tuple[Twin, Twin]]:
    """Docker and minirun, with all crafted images."""
    archive = tmp_path_factory.mktemp("archive") / "crafted.tar"
    write_docker_archive(archive, *IMAGES)
    with host_pairs.opened_for_images("unpack") as pair:
        said = [ok(twin, "load", "-i", str(archive)) for twin in pair.twins]
        assert said[0] == said[1]
        assert said[0].count("Loaded image: ") == len(IMAGES)
        yield pair.twins


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_as_docker_unpacks_it(twins, image):
    docker, minirun = (Trees(twin)[image.name] for twin in twins)
    assert len(docker) > 1 or image.name == "whiteout-device"  # where nothing is left
    assert beyond(differences(docker, minirun), "docker", image.name) == set()


@pytest.mark.parametrize("image", [image for image in IMAGES if image.name != "variants"], ids=lambda image: image.name)
def test_as_umoci_unpacks_it(twins, image, tmp_path):
    """(umoci knows no global PAX header.)"""
    write_oci_layout(tmp_path / "oci", image)
    theirs, ours = umoci(tmp_path / "oci", image.name, tmp_path / "bundle"), Trees(twins[1])[image.name]
    assert beyond(differences(theirs, ours), "umoci", image.name) == set()


@pytest.mark.parametrize(("image", "docker_takes_it", "we_take_it"), DISPUTED, ids=lambda it: getattr(it, "name", None))
def test_what_is_disputed(twins, tmp_path, image, docker_takes_it, we_take_it):
    write_docker_archive(tmp_path / "a.tar", image)
    docker, minirun = (ask(twin, "load", "-q", "-i", str(tmp_path / "a.tar")) for twin in twins)
    assert (docker.code == 0, minirun.code == 0) == (docker_takes_it, we_take_it), f"{docker} {minirun}"
    if not we_take_it:
        assert minirun.err.count("\n") == 1
        assert ask(twins[1], "image", "inspect", image.name).code == 1
    elif image.name not in ("link-to-itself", "sparse-of-old", "contiguous"):  # umoci refuses these as well
        write_oci_layout(tmp_path / "oci", image)
        theirs = umoci(tmp_path / "oci", image.name, tmp_path / "bundle")
        assert differences(theirs, Trees(twins[1])[image.name]) <= {("f", "mtime")}


def test_sparse_files_of_old(twins):
    """GNU's own form, with a second and a third block of places; neither Docker nor umoci reads it."""
    tree, known = Trees(twins[1])["sparse-of-old"], Trees(twins[0])["sparse"]
    assert [tree[name][-2] for name in ("f", "two", "all", "many")] == [
        known[name][-2] for name in ("a", "two", "all", "many")
    ]
    assert all(tree[name][-1] for name in ("f", "two", "all", "many"))


REAL = {
    # Debian as it is on this machine: programs that are setuid, thousands of links, files that are hard links.
    "debian": [
        "--one-file-system",
        "-cC",
        "/",
        "./etc",
        "./usr/bin/su",
        "./usr/bin/perl",
        "./usr/share/perl5",
        "./usr/share/zoneinfo/Europe",
        "./var/lib/dpkg/alternatives",
    ],
    "busybox": ["-c", "--transform=s,.*/busybox$,bin/busybox,;s,.*/mawk,bin/mawk,", "/bin/busybox", "/usr/bin/mawk"],
}


@pytest.fixture(scope="module")
def real(twins, tmp_path_factory) -> Path:
    """DockerRegistry images, all of which come out of Docker: an OCI layout with each of them, which minirun has as well.

    alpine has four layers, of which containers have written three.
    """
    directory = tmp_path_factory.mktemp("real")
    docker, minirun = twins
    for name, words in REAL.items():
        packing = " ".join(("tar", "--numeric-owner", "--xattrs", *(f"'{word}'" for word in words)))
        docker.sh(f"{packing} 2>/dev/null | {' '.join(docker.words)} import - {name}")
    docker.sh("""
        docker() { /usr/bin/docker "$@"; }
        docker run --name r1 alpine sh -ec '
            rm -r /etc/apk /media; mkdir -p /etc/apk/new /opt/a; echo f > /media; cp -a /bin /opt/bin
            ln /etc/services /etc/second; chown 5:6 /etc/passwd; chmod 6755 /opt/bin/busybox; mkfifo /opt/p
            for i in $(seq 300); do echo $i > /opt/a/$i; ln -s /opt/a/$i /opt/l$i; done; truncate -s 1M /opt/holes'
        docker commit r1 two; docker run --name r2 two sh -ec '
            rm -r /opt/a; mkdir /opt/a; echo new > /opt/a/1; mv /etc/init.d /etc/moved; rm /opt/l*; ln -s x /opt/l1
            rm /media; mkdir /media; touch /media/back; rm -r /usr/share/apk; mknod /opt/null c 1 3; : >> /etc/second'
        docker commit r2 three; docker run --name r3 three sh -ec '
            rm -r /opt/bin /var; mkdir -m 1777 /var; echo 1 > /usr/share/apk; cp -a /lib /lib2
            touch -d 2001-01-01 /lib2'
        docker commit r3 real; docker rm r1 r2 r3
    """)
    for name in ("real", *REAL):
        ok(docker, "save", "-o", str(directory / "image.tar"), name)
        ok(minirun, "load", "-i", str(directory / "image.tar"))
        docker.sh(
            f"skopeo --insecure-policy copy -q --dest-compress-level 1 docker-archive:{directory}/image.tar "
            f"oci:{directory}/oci:{name}"
        )
    return directory / "oci"


@pytest.mark.parametrize(("name", "files"), [("real", 1000), ("debian", 1000), ("busybox", 2)])
def test_real_images(twins, real, tmp_path, name, files):
    docker, minirun = (Trees(twin)[name] for twin in twins)
    assert len(docker) > files
    assert differences(docker, minirun) == set()
    assert differences(umoci(real, name, tmp_path / "bundle"), minirun) == set()
