"""`minirun compare` with a real dockerd and minirun on one host; what it says is held against the tools' own words."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.host import wait_for
from harness.twin.engines import SYSTEM_PATH, Docker, missing

pytestmark = pytest.mark.docker

#: What is different between any container of Docker's and its twin of ours (docs/differences.md): topic, name, aspect.
MEANT = {
    ("namespaces", "cgroup", "whose"),
    ("mounts", "/", "propagation"),
    ("mounts", "/ super", ""),
    ("mounts", "/sys/fs/cgroup/unified", ""),
    ("mounts", "/sys/fs/cgroup/unified options", ""),
    ("mounts", "/sys/fs/cgroup/unified super", ""),
    ("rights", "seccomp", "is"),
    ("rights", "seccomp", "filters"),
}


class Beside(Docker):
    """A host with both engines. `.minirun(...)` runs ours and gives (code, output, errors)."""

    def __init__(self, data: Path, archive: Path, store: Path, program: list[str]) -> None:
        super().__init__(data, archive, {}, "")
        self.program, self.ours = program, data.with_name("minirun-beside")
        self.environment |= {"MINIRUN_ROOT": str(self.ours), "PATH": SYSTEM_PATH}
        self.ours.mkdir(mode=0o710)
        subprocess.run(["cp", "-al", store / "images", self.ours / "images"], check=True)

    def __exit__(self, *what: object) -> None:
        super().__exit__(*what)
        shutil.rmtree(self.ours, ignore_errors=True)

    def minirun(self, *words: str) -> tuple[int, str, str]:
        """Run minirun to its end."""
        done = self.run(*self.program, *words)
        return done.returncode, done.stdout, done.stderr

    def findings(self, *words: str) -> list[tuple[tuple[str, str, str], str, str, str]]:
        """((topic, name, aspect), A, B, reason) of all that is not the same."""
        _code, out, err = self.minirun("compare", "--json", *words)
        assert err == ""
        return [
            ((topic, found["name"], found["aspect"]), found["A"], found["B"], found["reason"])
            for topic, part in json.loads(out)["topics"].items()
            for found in part["findings"]
        ]

    def containers(self) -> list[str]:
        """The IDs that either engine has."""
        return (
            self.run(*self.words, "ps", "-aq", check=True).stdout.split()
            + self.run(*self.program, "ps", "-aq", check=True).stdout.split()
        )


@pytest.fixture(scope="module")
def host(_scratch: Path, alpine_tar: Path, image_store: Path, minirun_command: list[str]) -> Iterator[Beside]:
    """One host for all tests of this module; each removes its containers."""
    if missing():
        pytest.skip(f"needs {missing()}: apt-get install docker.io")
    with Beside(_scratch / "docker-beside", alpine_tar, image_store, minirun_command) as beside:
        beside.sh(" ".join(minirun_command) + " run --rm alpine true")  # minirun0 is there from now on
        yield beside


def test_volumes_are_mounted_alike(host: Beside) -> None:
    found = host.findings(
        "--only",
        "mounts",
        "--run",
        "-v",
        "data:/data:ro",
        "-v",
        "/anon",
        "--tmpfs",
        "/root",
        "--mount",
        "type=volume,dst=/m",
        "alpine",
        "sleep",
        "60",
    )
    # Docker makes its data root shared where the host's root is not, so its volumes have a master here; minirun says
    # at the mount what mode a tmpfs has, as newer versions of runc do.
    meant = MEANT | {("mounts", place, "propagation") for place in ("/data", "/anon", "/m")}
    assert {place for place, *_ in found} <= meant | {("mounts", "/root super", "")}
    assert host.run(*host.words, "volume", "ls", "-q", check=True).stdout == "data\n"
    assert host.minirun("volume", "ls", "-q") == (0, "data\n", "")
    host.run(*host.words, "volume", "rm", "data", check=True)
    assert host.minirun("volume", "rm", "data")[0] == 0


def test_the_same_container_from_both(host: Beside) -> None:
    found = host.findings("--run", "-m", "64m", "--hostname", "box", "alpine", "sleep", "60")
    places = {place for place, *_ in found}
    assert places <= MEANT
    assert ("mounts", "/", "propagation") in places
    assert all("differences.md" in reason for *_, reason in found)
    assert host.containers() == []


def test_two_that_run_side_by_side(host: Beside) -> None:
    """docker0 and minirun0 have different subnets; what was done to one of the two by hand is found, and no more."""
    try:
        host.sh("docker run -d --name web alpine sleep 60 >/dev/null")
        host.sh(f"{' '.join(host.program)} run -d --name web alpine sleep 60 >/dev/null")
        assert {place for place, *_ in host.findings("docker:web", "minirun:web")} <= MEANT
        pids = [
            host.sh(f"{program} inspect -f '{{{{.State.Pid}}}}' web").strip()
            for program in ("docker", " ".join(host.program))
        ]
        assert {place for place, *_ in host.findings(f"pid:{pids[0]}", f"pid:{pids[1]}")} <= MEANT
        assert host.minirun("compare", f"pid:{pids[0]}", "docker:web")[0] == 0
        host.sh(
            f"nsenter -t {pids[1]} -n ip link set eth0 mtu 1400; iptables -I DOCKER-USER -d 172.17.0.2 -j DROP; "
            "iptables -I DOCKER-USER -s 198.51.100.1 -j DROP; docker run -d --name other -p 80:80 alpine sleep 60"
        )
        found = host.findings("docker:web", "minirun:web")
        user = ("rules", "host filter MINIRUN-USER", "")
        assert [sides for *sides, _ in found if sides[0] not in MEANT] == [
            [("links", "eth0", "mtu"), "1500", "1400"],
            [user, "-A DOCKER-USER -s 198.51.100.1/32 -j DROP", ""],
            [user, "-A DOCKER-USER -d 172.17.0.2/32 -j DROP", ""],
            [("sysctls", "net.ipv6.conf.eth0.mtu", "="), "1500", "1400"],
        ]
        rules = host.sh("iptables -S DOCKER-USER").splitlines()
        told = json.loads(host.minirun("compare", "--json", "--all", "--only", "rules", "docker:web", "minirun:web")[1])
        shown = [line["A"] for line in told["topics"]["rules"]["findings"] if line["name"].endswith("MINIRUN-USER")]
        assert [line for line in shown if line] == rules
    finally:
        host.sh(
            f"docker rm -f web other; {' '.join(host.program)} rm -f web; "
            "iptables -F DOCKER-USER; iptables -A DOCKER-USER -j RETURN"
        )


def test_nothing_is_left_after_an_error(host: Beside) -> None:
    assert host.minirun("compare", "--run", "nosuch", "sleep", "60") == (
        125,
        "",
        "minirun: docker has no image nosuch\nhint: `docker pull nosuch`, or `docker import FILE nosuch`\n",
    )
    host.sh("docker tag alpine only-there")
    code, _, err = host.minirun("compare", "--run", "only-there", "sleep", "60")
    assert (code, err.splitlines()[0]) == (125, "minirun: minirun has no image only-there")
    code, _, err = host.minirun("compare", "--run", "alpine", "true")
    assert (code, err.splitlines()[0]) == (125, "minirun: docker: the container ended before it could be looked at")
    code, _, err = host.minirun("compare", "--run", "alpine", "nosuchprogram")
    assert (code, len(err.splitlines())) == (125, 1)
    assert host.minirun("compare", "docker:nosuch", "host") == (125, "", "minirun: docker:nosuch: no such container\n")
    assert host.containers() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("when", ["docker", "minirun"])
def test_nothing_is_left_after_a_signal(host: Beside, number: signal.Signals, when: str) -> None:
    """It is stopped while one of the two containers is there; after SIGKILL the next comparison clears up."""

    def seen() -> set[str]:
        return {path.name for path in volatile.iterdir()} if volatile.is_dir() else set()

    volatile = Path(f"/proc/{host.pid}/root/run") / {"docker": "docker/netns", "minirun": "minirun/containers"}[when]
    before = seen()
    comparison = host.popen(
        *host.program, "compare", "--run", "alpine", "sleep", "60", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert wait_for(lambda: seen() - before, 60)  # a look that costs no process
    comparison.send_signal(number)
    comparison.communicate(timeout=60)
    assert comparison.returncode == (-number if number == signal.SIGKILL else 130)
    if number == signal.SIGKILL:
        assert host.minirun("compare", "--run", "nosuch", "true")[0] == 125
    assert host.containers() == []


def test_the_page_of_the_manual(host: Beside) -> None:
    """docs/compare.md shows what is printed: the topics, and the differences with their reasons."""
    page = (Path(__file__).parent.parent.parent / "docs" / "compare.md").read_text()
    shown = page.partition("# minirun compare --run -m 64m alpine sleep 60\n")[2].partition("```")[0]
    _, out, _ = host.minirun("compare", "--run", "-m", "64m", "alpine", "sleep", "60")
    assert essence(out) == essence(shown) or Path("/sys/fs/cgroup/cgroup.controllers").exists()  # it shows cgroup v1


def essence(printed: str) -> list[str]:
    """What does not depend on the machine: topics, things that are different, reasons."""
    found = []
    for line in printed.splitlines():
        topic = re.match(r"(\w+): ", line)
        thing = re.match(r"  ([|<>] \S+).*(# .*)", line)
        found += [topic[1]] if topic else [" ".join(thing.groups())] if thing else []
    return found
