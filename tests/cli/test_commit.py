"""`commit`: a container becomes an image, and what its layer holds."""

from __future__ import annotations

import json
import os
import re
import signal
import tarfile
from pathlib import Path

import pytest

from harness.host import wait_for

SCRIPT = r"""
rm /etc/motd; rm -rf /etc/apk; mkdir /etc/apk; echo n > /etc/apk/new; rm -rf /media; echo f > /media
mkdir -p /opt/a; echo 1 > /opt/a/f; ln /opt/a/f /opt/g; chown 7:8 /opt/g; chmod 4755 /opt/g; mkfifo /opt/fifo
mknod /opt/null c 1 3; ln -s /nowhere /opt/link; touch -d '2001-02-03 04:05:06' /opt/old; rm -r /usr/share/apk
"""
LAYER = """etc/ etc/apk/ etc/apk/.wh..wh..opq etc/apk/new etc/.wh.motd media opt/ opt/a/ opt/a/f opt/fifo opt/g opt/link
opt/null opt/old usr/ usr/share/ usr/share/.wh.apk"""


def blob(host, digest: str) -> Path:
    return host.data / "images/blobs" / digest.replace(":", "/")


def config_of(host, image_id: str) -> dict:
    return json.loads(blob(host, image_id).read_text())


def layers_of(host, image_id: str) -> list[dict]:
    """The descriptors of an image's layers, by its manifest."""
    for entry in json.loads((host.data / "images/index.json").read_text())["manifests"]:
        manifest = json.loads(blob(host, entry["digest"]).read_text())
        if manifest["config"]["digest"] == image_id:
            return manifest["layers"]
    raise AssertionError(f"{image_id} is not in the index")


def on_disk(host) -> list[str]:
    top = host.data / "images"
    return sorted(
        str(path.relative_to(top)) for part in ("blobs/sha256", "layers", "tmp") for path in (top / part).iterdir()
    )


def test_an_image_of_a_container(minirun, host):
    minirun.ok("run", "--name", "c1", "alpine", "sh", "-c", SCRIPT)
    image_id = minirun.ok("commit", "c1", "me/tool:1")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", image_id)
    assert minirun.ok("images", "-q", "--no-trunc", "me/tool") == image_id
    old, new = layers_of(host, image_id)
    assert old == layers_of(host, minirun.ok("images", "-q", "--no-trunc", "alpine"))[0]
    with tarfile.open(blob(host, new["digest"])) as tar:
        entries = {entry.name + "/" * entry.isdir(): entry for entry in tar}
    assert list(entries) == LAYER.split()
    assert not [key for entry in entries.values() for key in entry.pax_headers if "overlay" in key]
    assert all(entries[name].isreg() and not entries[name].size for name in entries if ".wh." in name)
    assert (entries["opt/g"].islnk(), entries["opt/g"].linkname) == (True, "opt/a/f")
    assert entries["opt/old"].mtime == 981173106
    look = (
        "ls /etc/apk; cat /media /opt/g; cd /opt; ls -d /etc/motd /usr/share/apk 2>/dev/null; "
        "stat -c '%n %a %u:%g %h %F' g a/f null fifo link; readlink link"
    )
    seen = minirun.ok("run", "--rm", "me/tool:1", "sh", "-c", look)
    assert seen.splitlines() == [
        "new",
        "f",
        "1",
        "g 4755 7:8 2 regular file",
        "a/f 4755 7:8 2 regular file",
        "null 644 0:0 1 character special file",
        "fifo 644 0:0 1 fifo",
        "link 777 0:0 1 symbolic link",
        "/nowhere",
    ]


def test_the_same_files_make_the_same_layer(minirun, host):
    minirun.ok("run", "--name", "c1", "alpine", "sh", "-c", SCRIPT)
    one, other = minirun.ok("commit", "c1"), minirun.ok("commit", "c1")
    assert one != other  # they were made at different times
    assert layers_of(host, one) == layers_of(host, other)
    assert minirun.ok("images", "-q").split()[:2] == [image[7:19] for image in (other, one)]


def test_the_config_of_an_image(minirun, host):
    minirun.ok(
        "run", "--name", "c1", "-e", "A=1", "-w", "/opt", "-u", "7", "--label", "x=y", "alpine", "sh", "-c", "> /tmp/x"
    )
    image_id = minirun.ok(
        "commit",
        "-a",
        "Jo <jo@lab.example>",
        "-m",
        "a remark",
        "-c",
        "ENV B=$A",
        "--change",
        'CMD ["id", "-u"]',
        "-c",
        "EXPOSE 80",
        "c1",
        "tool",
    )
    config, base = config_of(host, image_id), config_of(host, minirun.ok("images", "-q", "--no-trunc", "alpine"))
    settings = config["config"]
    assert {key: settings[key] for key in ("Env", "Cmd", "WorkingDir", "User", "Labels", "ExposedPorts")} == {
        "Env": ["A=1", "B=1"],
        "Cmd": ["id", "-u"],
        "WorkingDir": "/opt",
        "User": "7",
        "Labels": {"x": "y"},
        "ExposedPorts": {"80/tcp": {}},
    }
    assert (config["author"], config["architecture"], config["os"]) == (
        "Jo <jo@lab.example>",
        base["architecture"],
        "linux",
    )
    assert config["history"] == [
        *base["history"],
        {
            "created": config["created"],
            "author": "Jo <jo@lab.example>",
            "comment": "a remark",
            "created_by": "sh -c > /tmp/x",
        },
    ]
    assert len(config["rootfs"]["diff_ids"]) == 2
    assert minirun.ok("run", "--rm", "tool") == "7"
    assert minirun.ok("run", "--rm", "tool", "sh", "-c", "echo $B; pwd; ls /tmp") == "1\n/opt\nx"


def test_a_container_that_has_written_nothing_adds_no_layer(minirun, host):
    minirun.ok("run", "--name", "c1", "alpine", "true")
    image_id = minirun.ok("commit", "c1", "same")
    assert layers_of(host, image_id) == layers_of(host, minirun.ok("images", "-q", "--no-trunc", "alpine"))
    assert config_of(host, image_id)["history"][-1]["empty_layer"] is True
    assert minirun.ok("run", "--rm", "same") == ""


def test_layer_upon_layer(minirun, host):
    """What one layer has, the next deletes, and the third has again."""
    image = "alpine"
    scripts = ("mkdir /d; echo 1 > /d/one; echo 1 > /x", "rm -r /d /x", "mkdir /d; echo 3 > /d/three")
    for number, script in enumerate(scripts):
        minirun.ok("run", "--name", f"c{number}", image, "sh", "-c", script)
        image = minirun.ok("commit", f"c{number}")
    assert len(layers_of(host, image)) == 4
    assert minirun.ok("run", "--rm", image, "sh", "-c", "ls /d; ls -d /x 2>/dev/null || echo gone") == "three\ngone"
    assert minirun.ok("diff", "c2") == "A /d\nA /d/three"


def test_a_running_container_goes_on(minirun):
    container = minirun.begin("alpine", "sh", "-c", "while :; do date +%s%N > /tick; done")
    for words in ((), ("-p=false",), ("--pause",)):
        image = minirun.ok("commit", *words, "c1")
        before = minirun.ok("run", "--rm", image, "cat", "/tick")
        assert wait_for(lambda before=before: container.sh("cat /tick") > before)
    assert minirun.ok("ps", "--format", "{{.Status}}").startswith("Up ")


def test_a_bad_change_leaves_nothing(minirun, host):
    minirun.ok("run", "--name", "c1", "alpine", "touch", "/x")
    before = on_disk(host)
    for change, text in (
        ("BOGUS x", "bogus is not a valid change command"),
        ("ENV", "ENV requires at least one argument"),
    ):
        result = minirun("commit", "-c", change, "c1")
        assert (result.code, result.out, result.err) == (1, "", f"Error response from daemon: {text}\n")
    assert on_disk(host) == before


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nosuch"], "Error response from daemon: No such container: nosuch"),
        (["c1", "Foo"], "invalid reference format: repository name must be lowercase"),
        (["c1", "bad:ta:g"], "invalid reference format"),
        ([""], 'Error response from daemon: invalid name or ID supplied: ""'),
    ],
)
def test_errors(minirun, words, text):
    minirun.ok("create", "--name", "c1", "alpine", "true")
    result = minirun("commit", *words)
    assert (result.code, result.out, result.err) == (1, "", text + "\n")


def test_a_name_that_would_delete_another_file(minirun, host):
    minirun.ok("run", "--name", "c1", "alpine", "touch", "/etc/.wh.motd")
    before = on_disk(host)
    result = minirun("commit", "c1")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("Error response from daemon: etc/.wh.motd: a file whose name begins with .wh. cannot")
    assert on_disk(host) == before


def test_a_container_whose_image_was_removed(minirun):
    minirun.ok("run", "--name", "c0", "alpine", "touch", "/x")
    image = minirun.ok("commit", "c0", "short-lived")
    minirun.ok("run", "--name", "c1", "short-lived", "touch", "/y")
    minirun.ok("rmi", "-f", "short-lived")
    result = minirun("commit", "c1")
    assert (result.code, result.out, result.err) == (1, "", f"Error response from daemon: No such image: {image}\n")
    assert minirun.ok("diff", "c1") == "A /y"


def test_a_commit_that_is_killed(minirun, host):
    container = minirun.begin("alpine", "sh", "-c", "truncate -s 100M /big; while :; do date +%s%N > /tick; done")
    assert wait_for(lambda: "tick" in container.sh("ls /"))
    before = on_disk(host)
    process = minirun.popen("commit", "c1", "killed")
    assert wait_for(lambda: list(host.data.glob("images/tmp/*/layer.tar")))
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    seen = container.sh("cat /tick")
    assert wait_for(lambda: container.sh("cat /tick") > seen)
    assert minirun.ok("images", "-q", "killed") == ""
    minirun.ok("commit", "c1")  # whoever begins next clears what is left
    minirun.ok("rmi", minirun("images", "-q").out.split()[0])
    assert [path for path in on_disk(host) if path not in before] == []


def test_a_full_disk(minirun, host, tmp_path):
    """The layer finds no room: one line, nothing is left behind, and the container goes on."""
    container = minirun.begin("alpine", "sh", "-c", "truncate -s 64M /big; exec sleep 100")
    assert wait_for(lambda: "big" in container.sh("ls /"))
    before = on_disk(host)
    tmp = str(host.data / "images/tmp")
    host.run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", tmp, check=True)
    result = minirun("commit", "c1")
    host.run("umount", tmp, check=True)
    assert (result.code, result.out) == (1, "")
    assert "no space left on device" in result.err
    assert on_disk(host) == before
    assert os.path.exists(f"/proc/{container.pid}")
    assert container.sh("echo on") == "on"
