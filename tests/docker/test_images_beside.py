"""`images`, `rmi`, `tag`, `image prune`, `image inspect`, `history` in minirun and in a real Docker: the same lines in
both, and everything that they print. Both have a docker-registry of their own to pull from."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from harness.host import wait_for
from harness.twin.engines import Docker, Twin, begin, finish

pytestmark = pytest.mark.docker

#: A few seconds, which the two hosts do not spend alike.
AGO = re.compile(r"(Less than a second|About a minute|\d+ (second|minute)s?) ago *")
TIME = re.compile(r"\d{4}-\d\d-\d\d.\d\d:\d\d:\d\d( \+0000 UTC|Z)?")
REGISTRY = """
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: /run/registry}}
http: {addr: 127.0.0.1:5000}
"""
#: `make NAME WORDS` imports an image of one file; `id NAME` says which one it is.
SHELL = """
make() { name=$1; shift; mkdir -p /run/d; echo $name > /run/d/x; tar --mtime=@1000 -C /run/d -cf /run/x.tar x
         engine import "$@" /run/x.tar $name; }
id() { engine images -aq --no-trunc $1 | head -n 1; }
"""

SCENARIOS = {
    "filters": """
        make small:1 -c 'LABEL a=b c='
        engine tag small:1 small:2; engine tag small:1 host:5000/other:1
        sleep 1.1; make '' -c 'LABEL a=z' -m 'a <message> & "q"'
        sleep 1.1; make three
        engine images --digests
        engine images small; engine images small:1; engine images small:9; engine images 's*'; engine images '*'
        engine images '*/*'; engine images 'host:5000/*'; engine images host:5000/other:1; engine images '[s-u]*'
        engine images -f dangling=true; engine images -f dangling=false -q
        engine images -f dangling=1; engine images -f dangling=bogus
        engine images -f label=a; engine images -f label=a=b -f label=c; engine images -f label=a=b -f label=a=z
        engine images -f reference=small; engine images -f 'reference=*:1'; engine images -f 'reference=small:*'
        engine images -f reference=small:1 -f reference=three; engine images -f 'reference=['
        engine images -f before=three -q; engine images -f since=small:1 -q; engine images -f before=nosuch
        engine images -f since=Bad:Name; engine images -f before=three -f since=small:1 -q; engine images -f bogus=1
        engine images --format '{{json .}}' three; engine images --format raw; engine images --format raw -q
        engine images --digests --format raw small; engine images --format '{{.VirtualSize}} {{.Size}}' alpine
        engine history --format '{{json .}}' three; engine history --no-trunc three; engine history -q small:1
        engine image inspect Foo; engine image inspect small:2 nosuch -f '{{.RepoTags}} {{.RepoDigests}}'
        engine image prune -f --filter dangling=maybe; engine image prune -f --filter label!=a
        engine image prune -f --filter dangling=false --filter label=c; engine image prune -f --filter bogus=1
        engine images""",
    "removal": """
        engine rmi nosuch Foo; engine rmi -f nosuch; engine tag alpine a:1; engine tag alpine a:2
        engine tag alpine host:5000/x/y:3; engine rmi a:1; engine rmi $(id a:2)
        engine run --name c1 alpine true
        engine rmi a:2 host:5000/x/y:3; engine rmi alpine; engine rmi $(id alpine); engine tag alpine b
        engine rmi $(id alpine); engine rmi b
        make small:1; engine tag small:1 small:2; engine tag small:1 other:1
        engine rmi $(id small:1); engine rmi -f $(id small:1); engine images -a
        engine commit c1 child; engine run --name c2 child true; engine rmi child; engine rmi -f child
        engine rm c1; engine run -d --name c3 alpine sleep 1000; engine rmi alpine; engine rmi -f alpine; engine images
        engine ps --format '{{.Names}} {{.Image}}'; engine rmi -f $(id '')
        engine rm -f c2 c3; engine images; engine tag $(id '') alpine""",
    "digests": """
        make s:1; engine tag s:1 127.0.0.1:5000/r/a:1; engine push -q 127.0.0.1:5000/r/a:1; engine images --digests r/a
        engine rmi s:1 127.0.0.1:5000/r/a:1; engine pull -q 127.0.0.1:5000/r/a:1; engine images --digests
        engine tag 127.0.0.1:5000/r/a:1 127.0.0.1:5000/r/a:2; engine tag 127.0.0.1:5000/r/a:1 other:2
        engine images --digests '*/*/*'; engine images --digests other; engine images '*/*/*'
        engine images --format '{{.Repository}}:{{.Tag}}@{{.Digest}}' other
        engine image inspect -f '{{json .RepoTags}}{{json .RepoDigests}}' other:2
        engine rmi 127.0.0.1:5000/r/a:1; engine rmi 127.0.0.1:5000/r/a:2; engine images --digests other
        engine rmi other:2
        engine pull -q 127.0.0.1:5000/r/a:1; make 127.0.0.1:5000/r/a:1
        engine images --digests '*/*/*'; engine images; engine images -f dangling=true; engine image prune -f
        engine images --digests; engine rmi 127.0.0.1:5000/r/a:1; engine images""",
    "words": """
        engine tag alpine UPPER; engine tag alpine a/b/c/d:tag; engine tag alpine -x; engine tag alpine x_y--z.w
        engine tag alpine x:; engine tag alpine :x; engine tag alpine localhost/x; engine tag alpine; engine tag
        engine tag '' x; engine tag alpine ''; engine tag nosuch x; engine rmi; engine image prune x
        engine images Foo; engine images -f label; engine images -f =x; engine images --bogus; engine image inspect
        engine history nosuch; engine history alpine x; engine inspect --type image nosuch; engine images a b""",
}


@pytest.fixture(scope="module")
def twins(host_pairs) -> Iterator[tuple[Twin, Twin]]:
    with host_pairs.opened_for_images("images") as pair:
        servers = []
        for twin in pair.twins:
            twin.file("/run/etc/registry.yml", REGISTRY)
            servers.append(
                twin.popen(
                    "docker-registry",
                    "serve",
                    "/run/etc/registry.yml",
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            assert wait_for(lambda twin=twin: finish(begin(twin, "curl", "-sf", "http://127.0.0.1:5000/v2/")).code == 0)
        # the same image in both: an import is of its own minute
        docker, minirun = pair.twins
        docker.sh(
            "docker save -o /var/tmp/minirun-test-$$.tar alpine; mv /var/tmp/minirun-test-$$.tar "
            f"{docker.data}/alpine.tar"
        )
        minirun.sh(f"{' '.join(minirun.words)} rmi alpine; {' '.join(minirun.words)} load -i {docker.data}/alpine.tar")
        yield pair.twins
        for server in servers:
            server.kill()
            server.wait()


def heard(twin: Twin, lines: str) -> list[str]:
    """What each command of a scenario prints, with its exit code; ids are numbered as they come up."""
    commands = [
        command.strip() for line in lines.strip().splitlines() for command in re.split(r"; (?=engine|make)", line)
    ]
    engine = f'engine() {{ {" ".join(twin.words)} "$@"; }}\n'
    numbers: dict[str, str] = {}
    told = []
    for command in commands:
        done = finish(begin(twin, "sh", "-c", f"{engine}{SHELL}{command}"))
        text = f"{done.out}{done.err}[{done.code}]"
        for found in re.findall(r"\b[0-9a-f]{64}\b", text):
            text = text.replace(found, numbers.setdefault(found, f"<{len(numbers)}>"))
        for known, number in numbers.items():
            text = text.replace(known[:12], number)
        text = re.sub(r"\b[0-9a-f]{12}\b", "<12>", text)
        text = re.sub(r" +", " ", AGO.sub("AGO ", TIME.sub("TIME", text)))
        told.append(f"{command}\n{text.replace('docker', 'minirun') if isinstance(twin, Docker) else text}")
    return told


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_is_said(twins, name):
    docker, minirun = (heard(twin, SCENARIOS[name]) for twin in twins)
    for theirs, ours in zip(docker, minirun, strict=True):
        # over several repositories of one image Docker goes as its map of them happens to lie
        if sorted(theirs.splitlines()) != sorted(ours.splitlines()) or ours.startswith("engine rmi"):
            assert ours == theirs
    assert len(docker) > 15
