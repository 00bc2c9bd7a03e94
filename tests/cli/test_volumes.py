"""Volumes: made with a container or by name, filled from the image, kept, removed; and what a kill -9 leaves."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from minirun import store

IMAGE = r"""
mkdir -p /vol/d /empty; echo hi > /vol/f; chown 7:8 /vol/f; chmod 4640 /vol/f; ln /vol/f /vol/second; ln -s f /vol/link
mknod /vol/null c 1 3; chmod 2750 /vol; chown 5:6 /vol; chmod 700 /empty; chown 9:9 /empty; ln -s vol /way
"""


def volumes(minirun) -> list[str]:
    return minirun.ok("volume", "ls", "-q").split()


def mounts(minirun, name) -> dict[str, dict]:
    """`inspect`'s Mounts by their destinations."""
    return {point["Destination"]: point for point in json.loads(minirun.ok("inspect", name))[0]["Mounts"]}


@pytest.fixture
def image(minirun) -> str:
    """An image with two volumes: one with content, one for which the image has no directory."""
    minirun.ok("run", "--name", "base", "alpine", "sh", "-ec", IMAGE)
    minirun.ok("commit", "-c", "VOLUME /vol /none/x", "base", "with-volumes")
    minirun.ok("rm", "base")
    yield "with-volumes"
    minirun("rm", "-f", *minirun.machine.containers())
    minirun.ok("rmi", "with-volumes")


def test_an_image_with_volumes(minirun, host, image):
    minirun.begin(image, "sleep", "1000")
    points = mounts(minirun, "c1")
    assert sorted(points) == ["/none/x", "/vol"]
    for point in points.values():
        name = point["Name"]
        assert re.fullmatch("[0-9a-f]{64}", name)
        assert point == {
            "Type": "volume",
            "Name": name,
            "Source": f"{host.data}/volumes/{name}/_data",
            "Destination": point["Destination"],
            "Driver": "local",
            "Mode": "",
            "RW": True,
            "Propagation": "",
        }
    looks = minirun.ok("exec", "c1", "stat", "-c", "%n %a %u %g %h", "/vol", "/vol/f", "/vol/null", "/none/x")
    assert looks.splitlines() == ["/vol 2750 5 6 3", "/vol/f 4640 7 8 2", "/vol/null 644 0 0 1", "/none/x 755 0 0 2"]
    minirun.ok("exec", "c1", "sh", "-c", "echo more > /vol/more")
    assert (Path(points["/vol"]["Source"]) / "more").read_text() == "more\n"
    # Sorted here, since `ls` counts digits as numbers.
    assert sorted(volumes(minirun)) == sorted(point["Name"] for point in points.values())
    assert minirun.ok("ps", "--no-trunc", "--format", "{{.LocalVolumes}} {{.Mounts}}") == "2 " + ",".join(
        point["Name"] for point in json.loads(minirun.ok("inspect", "c1"))[0]["Mounts"]
    )
    for word in ("/vol", points["/vol"]["Name"]):
        assert minirun.ok("ps", "--format", "{{.Names}}", "-f", f"volume={word}") == "c1"
    for word in ("/vo", points["/vol"]["Name"][:12], points["/vol"]["Source"]):
        assert minirun.ok("ps", "-q", "-f", f"volume={word}") == ""


def test_who_takes_volumes_along(minirun, host, image):
    """`rm` leaves them, `rm -v` and --rm do not; those with a name stay in any case."""
    minirun.ok("run", "--name", "c1", image, "true")
    minirun.ok("rm", "c1")
    assert len(volumes(minirun)) == 2
    minirun.ok("volume", "prune", "-f")
    minirun.begin("-v", "data:/vol", "-v", "/more", image, "sleep", "1000")
    assert len(volumes(minirun)) == 3
    minirun.ok("rm", "-f", "-v", "c1")
    assert volumes(minirun) == ["data"]
    minirun.ok("run", "--rm", "-v", "data:/none", "--mount", "type=volume,dst=/m", image, "true")
    assert volumes(minirun) == ["data"]
    assert minirun("run", "--rm", image, "/nosuch").code == 127
    assert volumes(minirun) == ["data"]
    minirun.ok("create", "--name", "c1", image)
    minirun.ok("rm", "--volumes", "c1")
    assert volumes(minirun) == ["data"]


def test_a_restart_keeps_them(minirun, image):
    minirun.ok(
        "run", "--name", "c1", image, "sh", "-c", "[ ! -e /vol/new ] || cat /vol/new; rm -f /vol/f; echo x > /vol/new"
    )
    assert minirun.ok("start", "-a", "c1") == "x"
    assert minirun.ok("run", "--rm", "-v", f"{mounts(minirun, 'c1')['/vol']['Name']}:/v", "alpine", "ls", "/v") == (
        "d\nlink\nnew\nnull\nsecond"
    )


def test_a_name_serves_one_container_after_another(minirun, host):
    minirun.sh("echo one > /v/file", "-v", "data:/v")
    assert minirun.sh("cat /w/file; echo two > /w/file", "--mount", "src=data,dst=/w") == "one"
    assert minirun.sh("cat /v/file; touch /v/x 2>&1 || true", "-v", "data:/v:ro") == (
        "two\ntouch: /v/x: Read-only file system"
    )
    assert (host.data / "volumes/data/_data/file").read_text() == "two\n"


@pytest.mark.parametrize(
    ("options", "there"),
    [
        (["-v", "new:/vol"], True),
        (["-v", "new:/way"], True),
        (["-v", "new:/vol:ro"], True),
        (["-v", "new:/vol:nocopy"], False),
        (["--mount", "src=new,dst=/vol,volume-nocopy"], False),
        (["--mount", "src=new,dst=/vol"], True),
    ],
)
def test_an_empty_volume_is_filled(minirun, host, image, options, there):
    data = host.data / "volumes/new/_data"
    minirun.ok("volume", "create", "new")
    minirun.ok("create", "--name", "c1", *options, image)
    assert sorted(os.listdir(data)) == (["d", "f", "link", "null", "second"] if there else [])
    status = data.stat()
    assert (oct(status.st_mode & 0o7777), status.st_uid, status.st_gid) == (
        ("0o2750", 5, 6) if there else ("0o755", 0, 0)
    )
    assert sorted(os.listdir(host.data / "volumes/new")) == (
        [".lock", "_data", "volume.json"] if there else ["_data", "volume.json"]
    )


def test_the_times_are_the_images(minirun, image):
    old = "touch -d '2001-02-03 04:05:06' /vol/d /vol"
    minirun.ok("run", "--name", "old", "alpine", "sh", "-ec", f"mkdir -p /vol/d; touch /vol/d/x; {old}")
    minirun.ok("commit", "old", "old")
    assert minirun.ok("run", "--rm", "-v", "data:/vol", "old", "stat", "-c", "%Y", "/vol", "/vol/d") == (
        "981173106\n981173106"
    )
    minirun.ok("rmi", "-f", "old")


def test_a_full_disk(minirun, host, image):
    """Nothing of the volume that could not be filled stays, and the line says what to do."""
    minirun.ok("run", "--name", "big", "alpine", "sh", "-ec", "mkdir /big; head -c 3000000 /dev/urandom > /big/x")
    minirun.ok("commit", "big", "big")
    (host.data / "volumes").mkdir(exist_ok=True)
    host.run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(host.data / "volumes"), check=True)
    result = minirun("run", "--rm", "-v", "data:/big", "big", "true")
    left = host.run("ls", str(host.data / "volumes")).stdout
    host.run("umount", str(host.data / "volumes"), check=True)
    assert result.code == 125 and "no space left on device\nhint: the disk is full" in result.err
    assert left == "" and host.containers() != []  # "big"
    minirun.ok("rm", "big")
    minirun.ok("rmi", "big")


def test_a_volume_that_holds_something_is_left_alone(minirun, host, image):
    minirun.sh("echo mine > /v/mine; chown 3:3 /v", "-v", "data:/v")
    assert minirun.ok("run", "--rm", "-v", "data:/vol", image, "sh", "-c", "ls /vol; stat -c %u /vol") == "mine\n3"


def test_a_running_container_sees_what_another_one_fills_in(minirun, host, image):
    minirun.begin("-v", "data:/data", "alpine", "sleep", "1000")
    minirun.ok("run", "--rm", "-v", "data:/vol", image, "true")
    assert minirun.ok("exec", "c1", "ls", "/data") == "d\nf\nlink\nnull\nsecond"


@pytest.mark.parametrize("options", [["-v", "new:/etc/passwd"], ["-v", "/etc/passwd"]])
def test_a_file_is_no_place_for_a_volume(minirun, host, options):
    result = minirun("run", "--rm", *options, "alpine", "true")
    assert result.code == 125 and len(result.err.splitlines()) == 2
    assert re.search(
        "source .*/rootfs/etc/passwd is not directory"
        if "new" in options[1]
        else "cannot mount volume over existing file, file exists .*/rootfs/etc/passwd",
        result.err,
    )
    assert host.volumes() == [] and host.containers() == []


def test_another_mount_at_its_place(minirun, host, image, tmp_path):
    minirun.ok("create", "--name", "c1", "-v", f"{tmp_path}:/vol", "--tmpfs", "/none/x", image)
    assert mounts(minirun, "c1").keys() == {"/vol"} and volumes(minirun) == []
    assert json.loads(minirun.ok("inspect", "c1"))[0]["Config"]["Volumes"] == {"/none/x": {}, "/vol": {}}


def test_commit_diff_and_export_know_nothing_of_a_volume(minirun, image):
    minirun.ok("run", "--name", "c1", "-v", "/anon", image, "sh", "-c", "echo x > /vol/x; echo y > /anon/y")
    assert minirun.ok("diff", "c1") == "A /anon\nA /none\nA /none/x"
    minirun.ok("commit", "c1", "committed")
    inspected = json.loads(minirun.ok("image", "inspect", "committed"))[0]
    assert inspected["Config"]["Volumes"] == {"/anon": {}, "/none/x": {}, "/vol": {}}
    assert minirun.ok("run", "--rm", "committed", "sh", "-c", "ls /vol /anon") == (
        "/anon:\n\n/vol:\nd\nf\nlink\nnull\nsecond"
    )
    minirun.ok("rmi", "committed")


# ---- --volumes-from ----------------------------------------------------------------------------------------------


def test_the_mounts_of_another_container(minirun, host, image, tmp_path):
    minirun.ok(
        "create",
        "--name",
        "c1",
        "-v",
        "data:/data",
        "-v",
        "fixed:/fixed:ro",
        "-v",
        f"{tmp_path}:/host",
        "--tmpfs",
        "/tmp/fs",
        image,
    )
    minirun.ok(
        "run",
        "--name",
        "c2",
        "--volumes-from",
        "c1",
        "alpine",
        "sh",
        "-ec",
        "touch /vol/x /data/x /host/x; [ ! -e /tmp/fs ]; touch /fixed/x 2>/dev/null && exit 1 || exit 0",
    )
    theirs, ours = mounts(minirun, "c1"), mounts(minirun, "c2")
    assert ours == {place: {**point, "Mode": ""} for place, point in theirs.items()}
    inspected = json.loads(minirun.ok("inspect", "c2"))[0]
    assert (inspected["HostConfig"]["VolumesFrom"], inspected["Config"]["Volumes"]) == (["c1"], None)
    assert minirun("run", "--rm", "--volumes-from", "c1:ro", "alpine", "touch", "/data/y").code == 1
    # what is said of a place holds against the other container's, and that against the image's
    minirun.ok("create", "--name", "c3", "--volumes-from", "c2", "-v", "new:/data", image)
    third = mounts(minirun, "c3")
    assert third["/data"]["Name"] == "new" and third["/vol"]["Name"] == theirs["/vol"]["Name"]
    assert third.keys() == theirs.keys()


def test_shared_volumes_go_with_the_last_container(minirun, host, image):
    minirun.ok("create", "--name", "c1", image)
    minirun.ok("create", "--name", "c2", "--volumes-from", "c1", "alpine", "true")
    minirun.ok("rm", "-v", "c1")
    assert len(volumes(minirun)) == 2
    minirun.ok("rm", "-v", "c2")
    assert host.volumes() == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nosuch", "No such container: nosuch"),
        ("", "volumes-from specification cannot be an empty string"),
        ("c1:foo", "invalid mode: foo"),
        ("c1:ro:x", "invalid mode: ro:x"),
        ("c1:nocopy", "invalid mode: nocopy"),
        ("c1:rshared", "invalid mode: rshared"),
    ],
)
def test_volumes_from_what_is_not_there(minirun, host, text, message):
    minirun.ok("create", "--name", "c1", "alpine", "true")
    result = minirun("run", "--rm", "--volumes-from", text, "alpine", "true")
    assert (result.code, result.err) == (
        125,
        f"minirun: Error response from daemon: {message}.\nSee 'minirun run --help'.\n",
    )


# ---- the verbs ---------------------------------------------------------------------------------------------------


def test_create_and_inspect(minirun, host):
    assert minirun.ok("volume", "create", "--label", "a=b", "--label", "c", "data") == "data"
    assert minirun.ok("volume", "create", "data") == "data"  # as it was
    (shown,) = json.loads(minirun.ok("volume", "inspect", "data"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", shown.pop("CreatedAt"))
    assert shown == {
        "Driver": "local",
        "Labels": {"a": "b", "c": ""},
        "Name": "data",
        "Options": {},
        "Scope": "local",
        "Mountpoint": f"{host.data}/volumes/data/_data",
    }
    assert json.loads(minirun.ok("inspect", "data"))[0]["Name"] == "data"
    assert minirun.ok("inspect", "--type", "volume", "-f", "{{.Name}}", "data") == "data"
    minirun.ok("run", "--name", "data", "alpine", "true")
    assert "State" in json.loads(minirun.ok("inspect", "data"))[0]  # containers come first
    assert re.fullmatch("[0-9a-f]{64}", minirun.ok("volume", "create"))
    minirun.ok("run", "--rm", "--mount", "src=other,dst=/x,volume-label=k=v", "alpine", "true")
    (other,) = json.loads(minirun.ok("volume", "inspect", "other"))
    assert (other["Labels"], other["Options"]) == ({"k": "v"}, None)


def test_ls(minirun):
    for words in (["v10"], ["v9", "--label", "a=b"], ["w-1", "--label", "a=c", "--label", "d"]):
        minirun.ok("volume", "create", *words)
    minirun.ok("create", "-v", "v9:/x", "alpine", "true")

    def listed(*filters: str) -> list[str]:
        return minirun.ok("volume", "ls", "-q", *(word for text in filters for word in ("-f", text))).split()

    assert minirun.ok("volume", "ls").splitlines() == [
        "DRIVER    VOLUME NAME",
        "local     v9",
        "local     v10",
        "local     w-1",
    ]
    assert listed("name=^v") == ["v9", "v10"] and listed("name=1") == ["v10", "w-1"]
    assert listed("label=a") == ["v9", "w-1"] and listed("label=a=c", "label=d") == ["w-1"]
    assert listed("dangling=true") == ["v10", "w-1"] and listed("dangling=0") == ["v9"]
    assert listed("driver=local", "name=w") == ["w-1"] and listed("driver=nfs") == []
    assert (
        minirun.ok("volume", "ls", "--format", '{{.Name}}|{{.Labels}}|{{.Links}}|{{.Label "a"}}', "-f", "name=w")
        == "w-1|a=c,d=|N/A|c"
    )
    for words, text in (
        (["-f", "foo=x"], "Invalid filter 'foo'"),
        (["-f", "dangling=x"], "Invalid filter 'dangling=[x]'"),
    ):
        result = minirun("volume", "ls", *words)
        assert (result.code, result.err) == (1, f"Error response from daemon: {text}\n")


def test_rm(minirun, host):
    minirun.ok("volume", "create", "data")
    container = minirun.begin("-v", "data:/x", "alpine", "sleep", "1000")
    result = minirun("volume", "rm", "data", "nosuch", "a/b")
    assert (result.code, result.out) == (1, "")
    assert result.err.splitlines() == [
        f"Error response from daemon: remove data: volume is in use - [{container.id}]",
        "Error: No such volume: nosuch",
        "Error: No such volume: a/b",
    ]
    minirun.ok("stop", "-t", "0", "c1")
    assert minirun("volume", "rm", "-f", "data").code == 1
    minirun.ok("rm", "c1")
    assert minirun.ok("volume", "rm", "data") == "data"
    assert minirun.ok("volume", "rm", "-f", "data") == "data"
    assert host.volumes() == []


def test_prune(minirun, host):
    for words in (["one", "--label", "keep=1"], ["two", "--label", "keep=2"], ["used"], ["big"]):
        minirun.ok("volume", "create", *words)
    minirun.ok("create", "-v", "used:/x", "alpine", "true")
    minirun.sh("head -c 3000 /dev/zero > /v/a; ln /v/a /v/b", "-v", "big:/v")
    assert minirun("volume", "prune", input="n\n").out.endswith("[y/N] Total reclaimed space: 0B\n")
    assert minirun.ok("volume", "prune", "-f", "--filter", "label=keep=1").startswith("Deleted Volumes:\none\n\n")
    assert minirun("volume", "prune", "-f", "--filter", "name=x").err == (
        "Error response from daemon: Invalid filter 'name'\n"
    )
    result = minirun("volume", "prune", "--filter", "label!=keep=2", input="y\n")
    assert result.out.endswith("[y/N] Deleted Volumes:\nbig\n\nTotal reclaimed space: 3kB\n")
    assert volumes(minirun) == ["two", "used"]


# ---- at the same time, and cut short -----------------------------------------------------------------------------


def test_many_at_once(minirun, host, image):
    """Ten containers, of which each would fill the same new volume; it is filled once, and nobody sees half of it."""
    runs = [
        minirun.popen("run", "--rm", "-v", "data:/vol", image, "sh", "-c", "ls /vol; sha256sum < /vol/second")
        for _ in range(10)
    ]
    outputs = {run.communicate(timeout=60) for run in runs}
    assert len(outputs) == 1 and {run.returncode for run in runs} == {0}
    assert outputs.pop()[0].startswith("d\nf\nlink\nnull\nsecond\n")
    assert volumes(minirun) == ["data"]


def test_a_volume_in_use_and_its_removal_at_once(minirun, host):
    """Either the container has it, or it was removed before and is made anew."""
    for _ in range(5):
        minirun.ok("volume", "create", "data")
        run = minirun.popen("run", "--rm", "-v", "data:/v", "alpine", "touch", "/v/x")
        remove = minirun.popen("volume", "rm", "data")
        run.communicate(timeout=60)
        remove.communicate(timeout=60)
        assert run.returncode == 0
        minirun("volume", "rm", "-f", "data")
    assert host.volumes() == []


@pytest.mark.parametrize("options", [["--rm"], ["--rm", "-v", "data:/vol"]])
def test_the_cli_is_killed_while_it_makes_volumes(minirun, host, image, options):
    """A container that is not there has no volumes of its own, and a volume that is there is empty or whole."""
    chance = random.Random(os.environ.get("MINIRUN_TEST_SEED") or 21)
    began = time.monotonic()
    minirun.ok("run", *options, image, "true")
    duration = time.monotonic() - began
    for _ in range(12):
        process = minirun.popen("create", *options, image, "true")
        time.sleep(chance.uniform(0, duration))
        process.kill()
        process.communicate()
        minirun.act()
        containers = minirun.ok("ps", "-aq", "--no-trunc").split()
        used = {name for name in containers for name in [point["Name"] for point in mounts(minirun, name).values()]}
        assert set(volumes(minirun)) - {"data"} == used - {"data"}
        if "data" in volumes(minirun):
            assert len(minirun.ok("run", "--rm", "-v", "data:/v", "alpine", "ls", "/v").split()) in (0, 5)
        if containers:
            minirun.ok("rm", "-v", *containers)
        minirun("volume", "rm", "-f", "data")
        minirun("system", "check", "--repair")
        assert [name for name in host.volumes() if not name.startswith(".")] == []


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ("create -v data:/vol -v /anon with-volumes", "rename"),
        ("create -v data:/vol with-volumes", "chown"),
        ("rm -v c1", "rename"),
        ("volume rm data", "rename"),
        ("volume create data", "mkdir"),
    ],
)
def test_the_cli_is_killed_at_every_call_of_a_kind(minirun, host, image, words, call):
    """strace kills it at the first, the second, ... until it comes to its end."""
    moment, code = 0, None
    while code != 0:
        moment += 1
        if words.startswith("rm"):
            minirun.ok("create", "--name", "c1", image)
        if words.startswith("volume rm"):
            minirun.ok("volume", "create", "data")
        code = host.run(
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            f"trace={call}",
            "-e",
            f"inject={call}:signal=KILL:when={moment}",
            *minirun.words,
            *words.split(),
        ).returncode
        minirun.act()
        containers = minirun.ok("ps", "-aq", "--no-trunc").split()
        used = {point["Name"] for name in containers for point in mounts(minirun, name).values()}
        there = set(volumes(minirun))
        assert there - {"data"} == used - {"data"}
        if "data" in there:
            assert len(minirun.ok("run", "--rm", "-v", "data:/v", "alpine", "ls", "/v").split()) in (0, 5)
        if containers:
            minirun.ok("rm", "-v", *containers)
        minirun.ok("volume", "rm", "-f", "data")
        minirun("system", "check", "--repair")
        assert [name for name in host.volumes() if not name.startswith(".")] == []
    assert moment > 1


def test_the_monitor_is_killed_and_the_volumes_go_all_the_same(minirun, host, image):
    container = minirun.begin("--rm", image, "sleep", "1000")
    monitor, pid = container.monitor(), container.pid
    os.kill(monitor, signal.SIGKILL)
    assert minirun.ok("ps", "-aq") == ""
    minirun.act()
    assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text()
    assert host.volumes() == []


def test_what_was_left_half_done_is_finished_by_whoever_comes_next(minirun, host, image):
    """A copy that was whole is moved in, by `start`, `create` or `system check --repair`; another one is dropped."""
    top = host.data / "volumes/data"
    minirun.ok("create", "--name", "c1", "-v", "data:/v", "alpine", "ls", "/v")
    for next_command in (
        ["start", "-a", "c1"],
        ["run", "--rm", "-v", "data:/v", "alpine", "ls", "/v"],
        ["system", "check", "--repair"],
    ):
        minirun.machine.run(
            "sh",
            "-ec",
            'mkdir "$1"/.filled "$1"/.filling; chmod 711 "$1"/.filled; cd "$1"/.filled; '
            "touch a b; touch ../.filling/c; touch ../_data/a",
            "sh",
            str(top),
            check=True,
        )
        assert minirun(*next_command).code == 0
        assert sorted(os.listdir(top / "_data")) == ["a", "b"]
        assert oct((top / "_data").stat().st_mode & 0o7777) == "0o711"
        assert not (top / ".filled").exists()
        subprocess.run(
            ["sh", "-c", 'rm -r "$1"/_data/* "$1"/.filling', "sh", top], check=False, stderr=subprocess.DEVNULL
        )


def test_check_finds_what_was_left(minirun, host):
    minirun.ok("volume", "create", "data")
    top = host.data / "volumes"
    for name in (".making-0123", ".removed-4567"):
        (top / name / "_data").mkdir(parents=True)
    half = top / "data/.filling"
    half.mkdir()
    host.run("sh", "-c", "sleep 11", check=True)  # what is new may have its maker still
    told = minirun("system", "check").out
    assert all(
        text in told
        for text in (
            ".making-0123: remains of a volume",
            ".removed-4567: remains of a volume",
            "volume data: was left while it was filled",
        )
    )
    minirun("system", "check", "--repair")
    assert host.volumes() == ["data"] and not half.exists()
    assert "Nothing is left over." in minirun.ok("system", "check")


def test_remains_of_a_container_take_its_volumes_along(minirun, host, image):
    """`rm -v` was killed after the rename: the next command that acts finishes it, one that asks does not see it."""
    minirun.ok("create", "--name", "c1", image)
    (container,) = host.containers()
    directory = host.data / "containers" / container
    (host.data / "names/c1").unlink()
    store.write_text(f"{directory}/.with-volumes", "")
    directory.rename(directory.with_name(f".removed-{container}"))
    assert len(host.volumes()) == 2
    assert minirun.ok("ps", "-aq") == ""
    assert len(host.volumes()) == 2
    minirun.act()
    assert host.volumes() == []
