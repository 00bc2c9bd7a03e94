"""minirun and a real dockerd on one host: each has its own bridge, subnet and chains, and leaves the other's alone."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.twin.engines import Docker, Done, begin, finish, missing

pytestmark = pytest.mark.docker
OUTSIDE = "198.51.100.1"
SLEEP = ("alpine", "sleep", "1000")


class Shared(Docker):
    """A host with both engines.

    Arguments: minirun, its command line; data, the two data roots' parent; minirun_first (bool), a container of ours
    runs already when dockerd is started.
    """

    def __init__(self, minirun: list[str], scratch: Path, archive: Path, store: Path, *, minirun_first: bool) -> None:
        self.program, self.root = tuple(minirun), scratch / "beside-minirun"
        self.root.mkdir(mode=0o710)
        subprocess.run(["cp", "-al", store / "images", self.root / "images"], check=True)
        first = f"{' '.join(minirun)} run -d --name m1 {' '.join(SLEEP)}" if minirun_first else ""
        super().__init__(scratch / "docker", archive, {}, before=first)
        self.environment["MINIRUN_ROOT"] = str(self.root)

    def __exit__(self, *what: object) -> None:
        super().__exit__(*what)
        shutil.rmtree(self.root)

    def minirun(self, *words: str) -> Done:
        """What a command of minirun leaves."""
        return finish(begin(self, *self.program, *words))

    def docker(self, *words: str) -> Done:
        """What a command of Docker's client leaves."""
        return finish(begin(self, *self.words, *words))

    def stop_daemon(self) -> None:
        """Stop dockerd, and with it its containers."""
        self.daemon.terminate()
        self.daemon.wait(60)

    # What the kernel says.

    def rules(self, engine: str) -> list[str]:
        """All rules and chains that have to do with one engine ("DOCKER" or "MINIRUN"), in their order."""
        bridge = f"{engine.lower()}0"
        words = (engine, bridge, self.subnet(bridge).removesuffix("0.0/16"))
        text = self.sh("iptables-save | sed 's/ *\\[[0-9]*:[0-9]*\\]//'")
        found = [line for line in text.splitlines() if any(word in line for word in words)]
        assert len(found) > 15  # 7 chains have at least so many rules
        return found

    def policy(self) -> str:
        """What happens to what no rule of FORWARD knows, and whether the host forwards at all."""
        return self.sh("iptables -S FORWARD | head -1; cat /proc/sys/net/ipv4/ip_forward")

    def subnet(self, bridge: str) -> str:
        """The subnet of a bridge, by its route."""
        (route,) = json.loads(self.sh(f"ip -j route show dev {bridge}"))
        return route["dst"]

    def pings(self, client: Callable[..., Done], name: str, address: str) -> bool:
        """Whether an address answers to a container of docker or minirun (`client`)."""
        return client("exec", name, "ping", "-c", "1", "-W", "3", address).code == 0


def ok(done: Done) -> str:
    """The output of a command that must have succeeded."""
    assert done.code == 0, done
    return done.out.strip()


def address(client: Callable[..., Done], name: str) -> str:
    """A container's address on the default bridge."""
    return ok(client("inspect", "-f", "{{.NetworkSettings.IPAddress}}", name))


@pytest.fixture(scope="module", params=["docker first", "minirun first"])
def shared(
    request: pytest.FixtureRequest,
    host_pairs,
    _scratch: Path,
    alpine_tar: Path,
    image_store: Path,
    minirun_command: list[str],
) -> Iterator[Shared]:
    """A host on which both engines are, and a container of each runs: d1 and m1."""
    if missing():
        pytest.skip(f"needs {missing()}: apt-get install docker.io")
    host_pairs.close()  # its dockerd has the data root
    first = request.param == "minirun first"
    with Shared(minirun_command, _scratch, alpine_tar, image_store, minirun_first=first) as host:
        host.first = "minirun0" if first else "docker0"
        ok(host.docker("run", "-d", "--name", "d1", *SLEEP))
        if not first:
            ok(host.minirun("run", "-d", "--name", "m1", *SLEEP))
        yield host
        ok(host.minirun("rm", "-f", "m1"))
        host.clear()


@pytest.fixture
def still_works(shared: Shared) -> Iterator[None]:
    """Whatever a test does: afterwards all is as before, for both."""

    def look() -> tuple:
        return shared.rules("DOCKER"), shared.rules("MINIRUN"), shared.policy(), shared.sh("ip -br -4 addr")

    before = look()
    yield
    assert look() == before
    assert shared.pings(shared.docker, "d1", OUTSIDE)
    assert shared.pings(shared.minirun, "m1", OUTSIDE)


# ---- side by side ----------------------------------------------------------------------------------------------


def test_the_second_takes_the_next_subnet(shared):
    second = {"docker0": "minirun0", "minirun0": "docker0"}[shared.first]
    assert (shared.subnet(shared.first), shared.subnet(second)) == ("172.17.0.0/16", "172.18.0.0/16")


def test_both_reach_the_outside_as_the_host(shared, still_works):
    for client, name in ((shared.docker, "d1"), (shared.minirun, "m1")):
        shared.sh("conntrack -F 2>/dev/null")
        assert shared.pings(client, name, OUTSIDE)
        assert f"src={address(client, name)} dst={OUTSIDE}" in shared.sh("conntrack -L --src-nat 2>/dev/null")


def test_they_reach_each_other(shared, still_works):
    """As the rules say: neither engine isolates a bridge that it does not know. Each is the other's outside world,
    which it sees masqueraded, and which accepts what comes from a bridge of its own (`-i X ! -o X -j ACCEPT`)."""
    one, other = address(shared.docker, "d1"), address(shared.minirun, "m1")
    shared.sh("conntrack -F 2>/dev/null")
    assert shared.pings(shared.docker, "d1", other)
    assert shared.pings(shared.minirun, "m1", one)
    flows = shared.sh("conntrack -L --src-nat 2>/dev/null")
    assert f"src={one} dst={other}" in flows
    assert f"src={other} dst={one}" in flows


def test_the_rules_of_both_are_all_there(shared):
    """Written with the same names, the two engines have the same rules."""

    def renamed(engine: str, bridge: str) -> list[str]:
        subnet = shared.subnet(bridge)
        return [
            line.replace(subnet, "SUBNET").replace(bridge, "BRIDGE").replace(engine, "ENGINE")
            for line in shared.rules(engine)
        ]

    assert renamed("MINIRUN", "minirun0") == renamed("DOCKER", "docker0")
    assert shared.policy() == "-P FORWARD DROP\n1\n"


# ---- what minirun does leaves Docker alone ---------------------------------------------------------------------


def test_containers_of_minirun_come_and_go(shared, still_works):
    docker = shared.rules("DOCKER")
    ok(shared.minirun("run", "-d", "--name", "m2", *SLEEP))
    assert shared.rules("DOCKER") == docker
    ok(shared.minirun("restart", "-t", "0", "m2"))
    ok(shared.minirun("stop", "-t", "0", "m2"))
    ok(shared.minirun("rm", "m2"))


def test_minirun0_is_deleted_and_comes_back(shared):
    """The next start lays it anew, and Docker's rules stay as they are, in their order."""
    docker, ours, policy = shared.rules("DOCKER"), shared.rules("MINIRUN"), shared.policy()
    ok(shared.minirun("rm", "-f", "m1"))
    shared.sh("ip link del minirun0")
    ok(shared.minirun("run", "-d", "--name", "m1", *SLEEP))
    assert (shared.rules("DOCKER"), shared.rules("MINIRUN"), shared.policy()) == (docker, ours, policy)
    assert shared.pings(shared.docker, "d1", OUTSIDE)
    assert shared.pings(shared.minirun, "m1", OUTSIDE)


def test_a_network_of_minirun_comes_and_goes(shared, still_works):
    """It takes a subnet that neither has, and its rules come between nobody's."""
    docker = shared.rules("DOCKER")
    ok(shared.minirun("network", "create", "extra"))
    assert shared.rules("DOCKER") == docker
    subnet = ok(shared.minirun("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "extra"))
    assert subnet not in (shared.subnet("docker0"), shared.subnet("minirun0"))
    ok(shared.minirun("run", "--rm", "--network", "extra", "alpine", "ping", "-c", "1", "-W", "3", OUTSIDE))
    ok(shared.docker("run", "--rm", "alpine", "ping", "-c", "1", "-W", "3", OUTSIDE))
    ok(shared.minirun("network", "rm", "extra"))


def test_reload(shared):
    """What dockerd does to its own rules when it starts, done to ours: Docker's keep their order."""
    docker, policy, before = shared.rules("DOCKER"), shared.policy(), shared.rules("MINIRUN")
    ok(shared.minirun("network", "reload"))
    assert (shared.rules("DOCKER"), shared.policy()) == (docker, policy)
    assert sorted(shared.rules("MINIRUN")) == sorted(before)
    assert shared.pings(shared.docker, "d1", OUTSIDE)
    assert shared.pings(shared.minirun, "m1", OUTSIDE)


def test_reset_takes_away_ours_alone(shared):
    """Also forwarding and FORWARD's policy stay: Docker lives on them, whoever set them first."""
    docker, policy, subnet = shared.rules("DOCKER"), shared.policy(), shared.subnet("docker0")
    ok(shared.minirun("rm", "-f", "m1"))
    shared.minirun("system", "reset-network")
    assert "MINIRUN" not in shared.sh("iptables-save")
    assert "minirun0" not in shared.sh("iptables-save; ip link")
    assert (shared.rules("DOCKER"), shared.policy(), shared.subnet("docker0")) == (docker, policy, subnet)
    assert shared.pings(shared.docker, "d1", OUTSIDE)
    ok(shared.minirun("run", "-d", "--name", "m1", *SLEEP))
    assert shared.rules("DOCKER") == docker
    assert shared.pings(shared.minirun, "m1", OUTSIDE)


def test_a_port_belongs_to_who_was_first(shared, still_works):
    """Both words are Docker's. Nothing of the loser is left."""
    for first, second in ((shared.docker, shared.minirun), (shared.minirun, shared.docker)):
        ok(first("run", "-d", "--name", "p1", "-p", "8080:80", *SLEEP))
        before = shared.sh("iptables-save | grep -v '^#' | sed 's/ *\\[[0-9]*:[0-9]*\\]//'")
        lost = second("run", "-d", "--name", "p2", "-p", "8080:80", *SLEEP)
        assert lost.code == 125
        assert lost.err.strip().endswith("0.0.0.0:8080: bind: address already in use.")
        assert shared.sh("iptables-save | grep -v '^#' | sed 's/ *\\[[0-9]*:[0-9]*\\]//'") == before
        ok(second("rm", "-f", "p2"))
        ok(first("rm", "-f", "p1"))


# ---- what Docker does leaves minirun alone ---------------------------------------------------------------------


def test_containers_of_docker_come_and_go(shared, still_works):
    ours = shared.rules("MINIRUN")
    ok(shared.docker("run", "-d", "--name", "d2", "-p", "8080:80", *SLEEP))
    assert shared.rules("MINIRUN") == ours
    assert shared.pings(shared.minirun, "m1", OUTSIDE)
    ok(shared.docker("rm", "-f", "d2"))


def test_a_network_of_docker_comes_and_goes(shared, still_works):
    ours = shared.rules("MINIRUN")
    ok(shared.docker("network", "create", "extra"))
    assert shared.rules("MINIRUN") == ours
    subnet = ok(shared.docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "extra"))
    assert subnet not in (shared.subnet("docker0"), shared.subnet("minirun0"))
    assert shared.pings(shared.minirun, "m1", OUTSIDE)
    ok(shared.minirun("run", "--rm", "alpine", "ping", "-c", "1", "-W", "3", OUTSIDE))
    ok(shared.docker("network", "rm", "extra"))


def test_dockerd_stops_and_starts(shared):
    """Our container does not notice, and our next start finds all in its place."""
    ours, policy = shared.rules("MINIRUN"), shared.policy()
    subnets = shared.subnet("docker0"), shared.subnet("minirun0")
    shared.stop_daemon()
    assert shared.rules("MINIRUN") == ours
    assert shared.pings(shared.minirun, "m1", OUTSIDE)
    ok(shared.minirun("run", "--rm", "alpine", "ping", "-c", "1", "-W", "3", OUTSIDE))
    shared.start_daemon()
    assert (shared.rules("MINIRUN"), shared.policy()) == (ours, policy)
    assert (shared.subnet("docker0"), shared.subnet("minirun0")) == subnets
    ok(shared.docker("start", "d1"))
    assert shared.pings(shared.docker, "d1", OUTSIDE)
    assert shared.pings(shared.minirun, "m1", OUTSIDE)
