"""What a container has written, in minirun and in a real Docker: the same script in both, the same `diff`, the same
entries in the export and in the layer that `commit` makes; and each reads the other's archives."""

from __future__ import annotations

import json
import re
import shlex
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.twin.engines import Twin, begin, finish
from harness.twin.scenario import Scenario

pytestmark = pytest.mark.docker

SCRIPT = r"""
echo x > /tmp/new; rm /etc/motd; chmod 700 /srv; chown 5:5 /etc/passwd; touch -d '2001-01-01 00:00:00' /etc/shells
rm -rf /etc/apk; mkdir /etc/apk; echo n > /etc/apk/new; rm -rf /media; echo f > /media
rm /etc/issue; mkdir /etc/issue; touch /etc/issue/in; ln /etc/services /etc/second-name; : >> /etc/group
mkdir -p /opt/a/b; echo 1 > /opt/a/b/f; ln /opt/a/b/f /opt/a/g; mkfifo /opt/fifo; ln -s nowhere /opt/link
mknod /opt/null c 1 3; mknod /opt/disk b 7 200; chown 70000:3000000 /opt/a; chmod 1777 /opt/a; chmod 6755 /opt/a/g
rm -rf /usr/share/apk; rm -rf /var/spool/cron; ln -s /tmp /var/spool/cron; mv /etc/profile /etc/profile2
mkdir /made; mv /made /moved; mkdir -p /opt/gone/x; rm -r /opt/gone; echo y > /dev/shm/x; : >> /etc/hosts
mkdir /tmp/copy; cp -a /etc/init.d/. /tmp/copy; rm -rf /etc/init.d; rm /tmp/copy/devfs; mv /tmp/copy /etc/init.d
cp /bin/ls /opt/caps; touch "/opt/a b" "/opt/$(printf '\303\244')" "/opt/$(head -c 150 /dev/zero | tr '\0' n)"
truncate -s 3M /opt/sparse; dd if=/dev/urandom of=/opt/random bs=1k count=300 2>/dev/null; mknod /tmp/.hidden p
"""


@pytest.fixture(scope="module")
def twins(host_pairs) -> Iterator[tuple[Twin, Twin]]:
    """Docker and minirun, each with a container c1 in which the script has run."""
    host_pairs.close()
    with host_pairs.opened(Scenario("files", "", first=True)) as pair:
        for twin in pair.twins:
            done = ask(twin, "run", "--name", "c1", "alpine", "sh", "-ec", SCRIPT)
            assert (done.code, done.err) == (0, "")
        yield pair.twins


def ask(twin: Twin, *words: str):
    return finish(begin(twin, *twin.words, *words))


def ok(twin: Twin, *words: str) -> str:
    done = ask(twin, *words)
    assert (done.code, done.err) == (0, ""), done
    return done.out


def seen(entry: tarfile.TarInfo) -> tuple:
    """What counts of an entry: all that is not of this minute, or random."""
    if "/.wh." in f"/{entry.name}":
        return entry.name, entry.isreg(), entry.size
    old = entry.mtime if entry.mtime < 1_780_000_000 and not entry.isdir() else "new"
    return (
        entry.name,
        entry.type,
        oct(entry.mode & 0o7777),
        entry.uid,
        entry.gid,
        entry.size,
        entry.linkname,
        (entry.devmajor, entry.devminor) if entry.isdev() else "",
        old,
    )


def layer_of(twin: Twin, image_id: str, scratch: Path) -> list[tuple]:
    """The entries of the top layer of a committed image."""
    config = twin.data / "images/blobs" / image_id.replace(":", "/")
    if config.exists():
        path = twin.data / "images/blobs" / json.loads(config.read_text())["rootfs"]["diff_ids"][-1].replace(":", "/")
    else:
        ok(twin, "save", "-o", str(scratch / "saved.tar"), image_id)
        with tarfile.open(scratch / "saved.tar") as saved:
            (manifest,) = json.load(saved.extractfile("manifest.json"))  # type: ignore[arg-type]
            path = scratch / "layer.tar"
            path.write_bytes(saved.extractfile(manifest["Layers"][-1]).read())  # type: ignore[union-attr]
    with tarfile.open(path) as tar:
        return [seen(entry) for entry in tar]


def test_diff(twins):
    docker, minirun = (ok(twin, "diff", "c1").splitlines() for twin in twins)
    assert minirun == sorted(minirun, key=minirun.index)
    assert sorted(minirun) == sorted(docker)  # Docker's order is that of a Go map
    assert len(minirun) > 40


def test_export(twins, tmp_path):
    found = []
    for number, twin in enumerate(twins):
        assert ok(twin, "export", "-o", str(tmp_path / f"{number}.tar"), "c1") == ""
        with tarfile.open(tmp_path / f"{number}.tar") as tar:
            found.append([seen(entry) for entry in tar])
    assert found[1] == found[0]
    assert len(found[0]) > 1000


def test_commit(twins, tmp_path):
    words = ("commit", "-a", "me", "-m", "a remark", "-c", "ENV A=1", "-c", "CMD id", "-c", "EXPOSE 80", "c1", "made")
    docker, minirun = (layer_of(twin, ok(twin, *words).strip(), tmp_path) for twin in twins)
    assert minirun == docker
    assert len(docker) > 50
    template = "{{json .Config.Cmd}}{{json .Config.Env}}{{json .Config.ExposedPorts}}{{.Author}} {{.Comment}}"
    assert ok(twins[1], "image", "inspect", "-f", template, "made") == ok(
        twins[0], "image", "inspect", "-f", template, "made"
    )
    look = (
        "cd /; find etc opt srv media usr/share tmp var -print0 | sort -z | xargs -0 stat -c '%n %a %u %g %s %F'; "
        "stat -c '%n %h' etc/services etc/second-name opt/a/g opt/a/b/f"
    )
    docker, minirun = (ok(twin, "run", "--rm", "made", "sh", "-c", look) for twin in twins)
    left, right = ([line for line in text.splitlines() if not line.endswith("directory")] for text in (docker, minirun))
    assert right == left


@pytest.mark.parametrize(
    "change",
    [
        "CMD",
        "CMD []",
        "CMD x y",
        "ENTRYPOINT",
        "ENTRYPOINT []",
        "ENTRYPOINT x",
        'ENTRYPOINT ["x", "y"]',
        "USER me",
        "ENV PATH=/x A=$B",
        "LABEL a=b",
        "EXPOSE 80-81/udp",
        "WORKDIR x",
        "VOLUME /v",
        "ONBUILD RUN x",
    ],
)
@pytest.mark.parametrize("options", ["", "--entrypoint /bin/sh"])
def test_changes(twins, options, change):
    said = []
    for twin in twins:
        name = ok(twin, "create", "-e", "B=1", *options.split(), "alpine", "id").strip()
        ok(twin, "commit", "-c", change, name, "changed")
        said.append(ok(twin, "image", "inspect", "-f", "{{json .Config}}", "changed").replace(name[:12], "NAME"))
    assert said[1] == said[0]


CHANGES = """STOPSIGNAL TERM|EXPOSE 90-80|EXPOSE 80/xyz|EXPOSE 8080:80|EXPOSE 65536|EXPOSE 80/TCP 81|ENV A=${B:-x}|
    ENV A=${C:-x}|ENV A=${B:+y}|ENV A=${C?err}|ENV A=${B|ENV A=${}|ENV A=$|ENV A="|ENV A=x\\|ENV A b  c|ENV =x|
    LABEL =x|LABEL "a b"=c|LABEL a|WORKDIR|WORKDIR /a/../b|WORKDIR ..|USER a b|USER|VOLUME []|VOLUME "/a b"|
    VOLUME ["/a"|CMD [1]|CMD ["a"|ONBUILD FROM x|ONBUILD ONBUILD x|# c| |SHELL ["a"]|MAINTAINER me|
    HEALTHCHECK CMD id|HEALTHCHECK --interval=0 CMD x|HEALTHCHECK NONE|HEALTHCHECK --bogus=1 CMD x|RUN x"""


def test_changes_that_are_refused_or_odd(twins):
    said = []
    for twin in twins:
        engine = " ".join(twin.words)
        ok(twin, "create", "--name", "odd", "-h", "name", "-e", "B=1", "alpine", "id")
        told = twin.sh(
            "".join(
                f"echo; printf '%s\\n' {shlex.quote(change)}; if id=$({engine} commit -c {shlex.quote(change)} odd 2>&1); "
                f"then {engine} image inspect -f '{{{{json .Config}}}}' $id; else echo \"$id\"; fi\n"
                for change in map(str.strip, CHANGES.split("|"))
            )
        )
        said.append(re.sub('"Image":"[^"]*"', "", told).split("\n\n"))
    assert len(said[0]) > 40
    for docker, minirun in zip(*said, strict=True):
        assert minirun.replace("minirun", "docker") == docker


def test_each_imports_what_the_other_has_exported(twins, tmp_path):
    lists = []
    for number, (one, other) in enumerate((twins, twins[::-1])):
        archive = str(tmp_path / f"{number}.tar")
        ok(one, "export", "-o", archive, "c1")
        ok(other, "import", archive, "theirs")
        look = "cd /; find etc opt srv media usr var -print0 | sort -z | xargs -0 stat -c '%n %a %u %g %h %F'"
        lists.append(ok(other, "run", "--rm", "theirs", "sh", "-c", look).splitlines())
    assert lists[0] == lists[1]
    assert len(lists[0]) > 500


@pytest.mark.parametrize(
    "words",
    [
        "diff nosuch",
        "export nosuch",
        "commit nosuch",
        "commit c1 Foo",
        "commit -c BOGUS c1",
        "commit -c ENV c1",
        "commit c1 bad:ta:g",
        "diff",
        "export",
        "commit",
        "diff a b",
        "commit a b c",
        "commit -p=x c1",
        "commit ''",
        "diff ''",
        "export -o /nope/x c1",
        "export -o /dev/null c1",
        "diff --help",
        "export --help",
        "commit --help",
        "container commit --help",
        "commit -c 'FROM x' c1",
        "export --bogus c1",
    ],
)
def test_words(twins, words):
    docker, minirun = (twin.sh(f"{' '.join(twin.words)} {words} 2>&1 || echo [$?]") for twin in twins)
    for before in " '\"":
        minirun = minirun.replace(f"{before}minirun", f"{before}docker")
    assert minirun == docker
