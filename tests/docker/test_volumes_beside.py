"""Volumes, and what else an image says of its containers, in minirun and in a real Docker: the same commands in both,
the same output, errors, exit codes, and the same `inspect`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from harness.twin.engines import Docker, Done, Twin, begin, finish
from harness.twin.scenario import Scenario

pytestmark = pytest.mark.docker

FILES = r"""
mkdir -p /vol/d/e /empty; echo hi > /vol/f; echo x > /vol/d/e/x; chown 7:8 /vol/f; chmod 4640 /vol/f; ln /vol/f /vol/g
ln -s /etc/passwd /vol/abs; ln -s f /vol/rel; mkfifo /vol/fifo; mknod /vol/null c 1 3; mknod /vol/blk b 7 0
chmod 2750 /vol; chown 5:6 /vol; chmod 700 /empty; chown 9:9 /empty; ln -s vol /way; ln -s /vol /abs
touch -d '2001-01-01 00:00:00' /vol/f /vol/d/e/x; truncate -s 1M /vol/holes; chown -h 3:4 /vol/rel
"""
CHANGES = (
    "VOLUME /vol /empty /none/x",
    "ENV A=1 B='x y'",
    "USER 12:13",
    "WORKDIR /no/where",
    "EXPOSE 80 90-91/udp",
    "LABEL a=b c='d e'",
    "HEALTHCHECK --interval=5m --retries=2 CMD true",
    'ENTRYPOINT ["/bin/sh", "-c"]',
    'CMD ["id; pwd; env | sort"]',
)
LOOK = """
find /vol /empty /none -type d -exec stat -c '%n %a %u %g' {} + | sort
find /vol ! -type d -exec stat -c '%n %F %a %u %g %s %h %t:%T' {} + | sort
stat -c '%n %Y' /vol/f /vol/g /vol/d/e/x; readlink /vol/abs /vol/rel; cat /vol/f /vol/d/e/x; sha256sum < /vol/holes
"""
KEYS = (
    "User",
    "ExposedPorts",
    "Env",
    "Cmd",
    "Healthcheck",
    "Volumes",
    "WorkingDir",
    "Entrypoint",
    "Labels",
    "StopSignal",
    "Tty",
    "OpenStdin",
    "OnBuild",
)


@pytest.fixture(scope="module")
def twins(host_pairs) -> Iterator[tuple[Twin, Twin]]:
    """Docker and minirun, each with the images `vi` (volumes) and `ci` (volumes, and all else)."""
    host_pairs.close()
    with host_pairs.opened(Scenario("volumes", "", first=True)) as pair:
        for twin in pair.twins:
            for words in (
                ("run", "--stop-signal", "SIGUSR1", "--name", "base", "alpine", "sh", "-ec", FILES),
                ("commit", "-c", CHANGES[0], "base", "vi"),
                ("commit", *(word for change in CHANGES for word in ("-c", change)), "base", "ci"),
                ("rm", "base"),
            ):
                done = ask(twin, *words)
                assert (done.code, done.err) == (0, ""), done
        yield pair.twins


@pytest.fixture(autouse=True)
def _empty(twins) -> Iterator[None]:
    """Each test begins, and ends, without containers and volumes."""
    yield
    for twin in twins:
        engine = " ".join(twin.words)
        twin.sh(
            f'ids=$({engine} ps -aq); [ -z "$ids" ] || {engine} rm -fv $ids; {engine} volume prune -f; '
            f'names=$({engine} volume ls -q); [ -z "$names" ] || {engine} volume rm $names'
        )


def ask(twin: Twin, *words: str) -> Done:
    return finish(begin(twin, *twin.words, *words))


def told(twin: Twin, *words: str) -> tuple[int, str, str]:
    """What a command leaves, without the names that differ from run to run, and from engine to engine."""
    done = ask(twin, *words)
    return done.code, plain(twin, done.out), plain(twin, done.err)


def plain(twin: Twin, text: str) -> str:
    text = text.replace(str(twin.data), "DATA").replace("minirun", "docker")
    text = re.sub(r"[^ ]*/(rootfs|merged)/", "ROOT/", text)
    text = text.replace("c=,a=b", "a=b,c=")  # labels, in Docker in the order of a Go map
    return re.sub(r"[0-9a-f]{64}", "HEX", re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "MOMENT", text))


def same(twins: tuple[Twin, Twin], *words: str) -> tuple:
    """Both must say the same. Returns: what they say."""
    docker, minirun = (told(twin, *words) for twin in twins)
    if words[0] == "diff" or "ls" in words[1:2]:  # in random order, be it Go's or that of the names
        docker, minirun = ((code, sorted(out.splitlines()), err) for code, out, err in (docker, minirun))
    assert minirun == docker, " ".join(words)
    return docker


def mounts(twin: Twin, name: str) -> list[dict]:
    """`inspect`'s Mounts: Docker has them in random order."""
    shown = json.loads(plain(twin, ask(twin, "inspect", name).out))[0]["Mounts"]
    return sorted(shown, key=lambda point: point["Destination"])


def same_mounts(twins: tuple[Twin, Twin], name: str) -> list[dict]:
    docker, minirun = (mounts(twin, name) for twin in twins)
    assert (minirun, [list(point) for point in minirun]) == (docker, [list(point) for point in docker])
    assert docker
    return docker


def test_the_two_are_what_they_are_called(twins):
    assert [isinstance(twin, Docker) for twin in twins] == [True, False]


@pytest.mark.parametrize(
    "options",
    """

-v data:/vol
-v data:/vol:ro
-v data:/vol:nocopy
-v data:/way
-v data:/abs
-v /vol
-v /anon --tmpfs /none/x
-v /run/somewhere:/vol
-v data:/vol/d
-v one:/1:rw -v two:/2:Z -v three:/3:ro,z -v four://4/./x/:nocopy,ro
--mount src=data,dst=/vol
--mount type=volume,dst=/vol
--mount dst=/vol,src=data,volume-nocopy
--mount src=data,dst=/empty,readonly
--mount src=data,dst=/x,volume-label=a=b,volume-driver=local
-v /vol --tmpfs /vol
""".splitlines()[1:],
)
def test_a_container_with_volumes(twins, options):
    assert same(twins, "run", "--name", "c1", *options.split(), "vi", "sh", "-c", LOOK)[1]
    same_mounts(twins, "c1")
    same(twins, "inspect", "-f", "{{json .Config.Volumes}} {{json .HostConfig.VolumesFrom}}", "c1")
    docker, minirun = (json.loads(ask(twin, "inspect", "-f", "{{json .HostConfig.Binds}}", "c1").out) for twin in twins)
    assert sorted(minirun or []) == sorted(docker or [])  # in Docker in the order of a Go map
    same(twins, "volume", "ls")
    same(twins, "ps", "-a", "--format", "{{.LocalVolumes}}")
    same(twins, "ps", "-a", "--format", "{{.Names}}", "-f", "volume=data")
    same(twins, "ps", "-a", "--format", "{{.Names}}", "-f", "volume=/vol")
    same(twins, "start", "-a", "c1")
    same(twins, "rm", "-v", "c1")
    same(twins, "volume", "ls", "-q")
    same(twins, "run", "--rm", *options.split(), "vi", "true")
    assert "HEX" not in str(same(twins, "volume", "ls", "-q"))


@pytest.mark.parametrize(
    "options",
    """
-v a/b:/v
-v _a:/v
-v data:v
-v data:/
-v data:/v:bad
-v data:/v:ro,rw
-v data:/v:rshared
-v /tmp:/v:nocopy
-v /v:ro
-v one:/v -v two:/v/
-v one:/v --mount dst=/v
-v one:/v --tmpfs /v
-v /tmp:/v --tmpfs /v
-v data:/etc/passwd
-v /etc/passwd
--mount dst=/etc/passwd
--mount dst=/v,readonly
--mount src=a,dst=/v
--mount src=/a,dst=/v
--mount dst=/v,volume-opt=foo=1,src=data
--mount type=volume,src=data
--mount type=volume,dst=/v,bind-propagation=rslave
--volumes-from nosuch
--volumes-from=
--volumes-from nosuch:foo
--volumes-from x:nocopy
""".splitlines()[1:],
)
def test_what_is_refused(twins, options):
    code, out, err = same(twins, "run", "--rm", *options.split(), "alpine", "true")
    assert (code, out) == (125, "") and err


def test_volumes_from(twins):
    script = "ls /vol /data; touch /vol/x /fixed/x; echo $?"
    same(twins, "create", "--name", "c1", *"-v data:/data -v fixed:/fixed:ro -v /run/h:/host vi true".split())
    for name, options in (
        ("c2", "--volumes-from c1"),
        ("c3", "--volumes-from c1:ro"),
        ("c4", "--volumes-from c2:rw,z -v new:/data -v /more"),
    ):
        same(twins, "run", "--name", name, *options.split(), "alpine", "sh", "-c", script)
        same_mounts(twins, name)
        same(twins, "inspect", "-f", "{{json .Config.Volumes}} {{json .HostConfig.VolumesFrom}}", name)
    for name in ("c1", "c3", "c2", "c4"):
        same(twins, "rm", "-v", name)
        same(twins, "volume", "ls")


VERBS = r"""
create data
create data
create --label a=b --label c v10
create --name v9
create --name v9 v10
create
create a
create a/b
create -d nosuch xx
create -o foo=bar xx
create x y
create --label =x
inspect data v10
inspect -f {{.Name}}|{{.Options}}|{{.Labels}}|{{.Mountpoint}}|{{.Scope}} v9 v10
inspect data nosuch
inspect
ls
ls -q
ls --format {{json%.}}
ls --format raw
ls --format raw -q
ls --format table%{{.Labels}}\t{{.Links}}\t{{.Size}}\t{{.Scope}}\t{{.Label%"a"}}
ls --format {{.Nope}}
ls --format table -q
ls -f name=^v
ls -f label=a=b -f label=c
ls -f driver=loc
ls -f dangling=0
ls -f dangling=1 -f dangling=false
ls -f dangling=x
ls -f foo=x
ls x
rm
rm nosuch v9
rm -f nosuch
rm a/b
prune -f --filter label=a=x
prune -f --filter name=x
prune -f --filter label=a
prune
prune x
create --help
ls --help
inspect --help
prune --help
--help

"""


def test_the_verbs(twins):
    for line in VERBS.splitlines()[1:]:
        same(twins, "volume", *(word.replace("%", " ") for word in line.split()))
    same(twins, "inspect", "data")
    same(twins, "inspect", "--type", "volume", "-f", "{{.Name}}", "data")


def test_a_volume_in_use(twins):
    for words in (
        "create --name c1 -v data:/x alpine true",
        "volume rm data",
        "volume prune -f",
        "volume rm -f data",
        "volume ls -q -f dangling=true",
        "rm c1",
        "volume ls -q -f dangling=true",
        "volume rm data",
    ):
        same(twins, *words.split())


def test_what_a_volume_takes(twins):
    same(twins, "run", "--rm", "-v", "data:/vol", "vi", "true")
    assert same(twins, "volume", "prune", "-f")[1] == "Deleted Volumes:\ndata\n\nTotal reclaimed space: 1.049MB\n"


def test_commit_diff_and_export(twins):
    same(twins, "run", "--name", "c1", "-v", "/anon", "vi", "sh", "-c", "echo x > /vol/x; echo y > /anon/y")
    same(twins, "diff", "c1")
    same(twins, "commit", "c1", "cc")
    same(twins, "inspect", "-f", "{{json .Config.Volumes}}", "cc")
    same(twins, "run", "--rm", "cc", "ls", "/vol", "/anon")


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--entrypoint", "/bin/echo"],
        ["-u", "root", "-w", "/tmp", "-e", "A=2", "-e", "C=3"],
        ["-l", "a=z", "-l", "n"],
        ["--expose", "70"],
        ["--stop-signal", "9"],
        ["--no-healthcheck"],
        ["-h", "name"],
    ],
    ids=" ".join,
)
def test_what_else_the_image_says(twins, options):
    for name, command in (("c1", []), ("c2", ["id; echo $A $B; pwd"])):
        same(twins, "run", "--name", name, "-h", "host", *options, "ci", *command)
        docker, minirun = (json.loads(plain(twin, ask(twin, "inspect", name).out))[0] for twin in twins)
        for key in KEYS:
            assert minirun["Config"].get(key) == docker["Config"].get(key), key
        assert (minirun["Path"], minirun["Args"]) == (docker["Path"], docker["Args"])
    same(twins, "inspect", "-f", " ".join(f"{{{{json .Config.{key}}}}}" for key in KEYS[:-3] if key != "Env"), "ci")


def test_the_stop_signal_of_the_image(twins):
    script = "trap 'exit 33' USR1; echo ready; while :; do sleep 0.05; done"
    same(twins, "run", "-d", "--name", "c1", "ci", script)
    for twin in twins:
        twin.sh(f"until {' '.join(twin.words)} logs c1 | grep -q ready; do sleep 0.05; done")
    same(twins, "stop", "c1")
    assert same(twins, "inspect", "-f", "{{.State.ExitCode}}", "c1")[1] == "33\n"


def test_the_ports_of_the_image(twins):
    same(twins, "run", "-d", "-P", "--name", "c1", "ci", "sleep 1000")
    for twin in twins:
        ports = ask(twin, "port", "c1").out.splitlines()
        assert sorted({line.partition(" ")[0] for line in ports}) == ["80/tcp", "90/udp", "91/udp"]
    same(twins, "ps", "--format", "{{.Labels}}")
