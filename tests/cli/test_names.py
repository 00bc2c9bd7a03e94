"""Names on user-defined networks, asked from inside: with what the image has (getent, nslookup, ping), and with dig."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import dns_server
from harness.host import wait_for

DNS_SERVER = Path(dns_server.__file__)


def dig(container, *words):
    """What dig prints in a container's network namespace, as lines; it asks once and waits two seconds."""
    host = container.minirun.machine
    done = host.run(
        "nsenter", f"--net=/proc/{container.pid}/ns/net", "dig", "@127.0.0.11", "+tries=1", "+timeout=2", *words
    )
    return done.stdout.splitlines()


def asked(container, name, kind="A", *words):
    """The answer's data, sorted; "NXDOMAIN" and the like, or "silence", when there is none."""
    lines = dig(container, "+noall", "+comments", "+answer", *words, name, kind)
    status = next((re.search(r"status: (\w+)", line)[1] for line in lines if "status:" in line), "silence")
    data = sorted(line.split(None, 4)[4] for line in lines if line and not line.startswith(";"))
    return data if status == "NOERROR" else status


def address(container, network="foo"):
    """Its address on a network."""
    return container.minirun.ok(
        "inspect", "-f", f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}', container.name
    )


def rests(container):
    """Wait until its monitor is at rest, which is after ten seconds at the latest."""
    monitor = container.monitor()
    return wait_for(lambda: b"reexec" in Path(f"/proc/{monitor}/cmdline").read_bytes(), 15)


@pytest.fixture
def network(minirun):
    """A function that makes a network; it is removed when the test's containers are."""
    made = []

    def make(name, *options):
        minirun.ok("network", "create", *options, name)
        made.append(name)
        return name

    yield make
    if minirun.machine.containers():
        minirun("rm", "-f", *minirun.machine.containers())
    for name in made:
        minirun.ok("network", "rm", name)


@pytest.fixture
def begin(minirun, network):
    """Start a container on the network foo."""
    network("foo")

    def start(name, *options):
        return minirun.begin("--network", "foo", *options, "alpine", "sleep", "300", name=name)

    return start


@pytest.fixture
def resolv_conf(host):
    """A function that gives the host another resolv.conf."""
    host.run("sh", "-ec", "touch /run/resolv.conf; mount --bind /run/resolv.conf /etc/resolv.conf", check=True)
    yield lambda text: host.run("sh", "-ec", "cat > /run/resolv.conf", input=text, check=True)
    host.run("sh", "-ec", "umount /etc/resolv.conf; rm /run/resolv.conf", check=True)


@pytest.fixture
def servers(host, resolv_conf):
    """Two name servers, 1 on the host's loopback and 2 in the outside world, and a resolv.conf that names them."""
    outside = host.run("cat", "/run/outside.pid", check=True).stdout
    begun = []
    for number, where, wrapper in (
        ("1", "127.0.0.1", ()),
        ("2", "203.0.113.2", ("nsenter", f"--net=/proc/{outside}/ns/net")),
    ):
        begun.append(host.popen(*wrapper, sys.executable, str(DNS_SERVER), where, number, stdout=subprocess.PIPE))
        assert begun[-1].stdout.readline() == "ready\n"
    resolv_conf("nameserver 127.0.0.1\nnameserver 203.0.113.2\n")
    yield begun
    for server in begun:
        server.kill()
        server.wait()


# ---- who is known by which name --------------------------------------------------------------------------------


def test_by_all_its_names(begin):
    u1, u2 = begin("u1"), begin("u2", "--network-alias", "db", "--network-alias", "Mixed.Case", "--hostname", "hoho")
    mine, its = address(u1), address(u2)
    for name in ("u2", "U2", "u2.foo", "db", "DB.foo", "mixed.case", "hoho", u2.id[:12], u2.id[:12] + ".foo"):
        assert asked(u1, name) == [its]
        assert asked(u1, name, "A", "+tcp") == [its]
    assert asked(u1, "u1") == [mine]
    assert asked(u2, "u1") == [mine]
    assert asked(u1, ".".join(reversed(its.split("."))) + ".in-addr.arpa", "PTR") == ["u2.foo."]
    assert asked(u1, "u2", "AAAA") == asked(u1, "u2", "MX") == []


def test_with_what_the_image_has(begin):
    u1, u2 = begin("u1"), begin("u2")
    its = address(u2)
    assert u1.sh("getent hosts u2").split()[0] == its
    assert its in u1.sh("nslookup -type=a u2.foo")
    assert f"PING u2 ({its})" in u1.sh("ping -c 1 -W 2 u2")
    assert "name = u2.foo" in u1.sh(f"nslookup {its}")


def test_several_of_one_name(begin):
    addresses = sorted(address(begin(f"c{number}", "--network-alias", "web")) for number in range(3))
    asker = begin("asker")
    assert asked(asker, "web") == addresses
    first = {dig(asker, "+short", "web", "A")[0] for _ in range(40)}
    assert first == set(addresses)


def test_a_name_that_nobody_gave_is_not_known(minirun, begin, servers):
    """Docker's names of its own invention are for `docker ps`, not for others on the network."""
    asker = begin("asker")
    container_id = minirun.ok("run", "-d", "--network", "foo", "alpine", "sleep", "300")
    name = minirun.ok("inspect", "-f", "{{.Name}}", container_id).strip("/")
    assert asked(asker, name) == ["192.0.2.1"]
    (its,) = asked(asker, container_id[:12])
    assert asked(asker, ".".join(reversed(its.split("."))) + ".in-addr.arpa", "PTR") == [f"{container_id[:12]}.foo."]


def test_links_are_for_who_has_them(begin, servers):
    u2 = begin("u2")
    linking, other = begin("linking", "--link", "u2:lnk"), begin("other")
    for name in ("lnk", "lnk.foo", "u2"):
        assert asked(linking, name) == [address(u2)]
    assert asked(other, "lnk") == ["192.0.2.1"]


def test_ipv6(minirun, network):
    network("six", "--ipv6", "--subnet", "2001:db8:1::/64")
    one = minirun.begin("--network", "six", "alpine", "sleep", "300", name="s1")
    minirun.begin("--network", "six", "--network-alias", "alias", "alpine", "sleep", "300", name="s2")
    assert asked(one, "s2", "AAAA") == asked(one, "alias", "AAAA") == ["2001:db8:1::3"]
    assert asked(one, "-x", "2001:db8:1::3") == ["s2.six."]
    assert len(asked(one, "s2")) == 1


def test_the_default_bridge_has_no_names(minirun):
    one = minirun.begin("alpine", "sleep", "300")
    assert "127.0.0.11" not in one.sh("cat /etc/resolv.conf")
    assert "MINIRUN" not in minirun.machine.run("nsenter", f"--net=/proc/{one.pid}/ns/net", "iptables-save").stdout


# ---- coming and going ------------------------------------------------------------------------------------------


def test_a_name_is_there_when_run_has_returned_and_gone_when_the_container_has_ended(minirun, begin, servers):
    asker = begin("asker")
    for _ in range(5):
        web = begin("web")
        assert asked(asker, "web") == [address(web)]
        minirun.ok("rm", "-f", "web")
        assert asked(asker, "web") == ["192.0.2.1"]
    web = begin("web")
    minirun.ok("kill", "web")
    minirun.ok("wait", "web")
    assert asked(asker, "web") == ["192.0.2.1"]
    minirun.ok("start", "web")
    assert asked(asker, "web") == [address(web)]


def test_the_container_itself_can_ask_from_its_first_instruction(minirun, network):
    network("foo")
    for _ in range(3):
        found = minirun.ok("run", "--rm", "--network", "foo", "--name", "me", "alpine", "getent", "hosts", "me")
        assert found.endswith("me")


def test_a_name_goes_with_a_monitor_that_was_killed(minirun, begin, servers):
    asker, web = begin("asker"), begin("web")
    subprocess.run(["kill", "-9", str(web.monitor())], check=True)
    minirun.act()
    assert asked(asker, "web") == ["192.0.2.1"]


def test_connect_and_disconnect(minirun, begin, network, servers):
    network("bar")
    u1, b1 = begin("u1"), minirun.begin("alpine", "sleep", "300", name="b1")
    minirun.ok("network", "connect", "--alias", "xx", "foo", "b1")
    assert asked(u1, "b1") == asked(u1, "xx") == asked(b1, "b1") == [address(b1)]
    assert asked(b1, "u1") == [address(u1)]
    minirun.ok("network", "connect", "--alias", "u1", "bar", "b1")  # bar is asked before foo
    assert asked(b1, "u1") == asked(b1, "u1.bar") == [address(b1, "bar")]
    assert asked(b1, "u1.foo") == asked(u1, "u1") == [address(u1)]
    minirun.ok("network", "disconnect", "bar", "b1")
    assert asked(b1, "u1") == [address(u1)]
    minirun.ok("network", "disconnect", "foo", "b1")
    assert asked(b1, "u1") == asked(u1, "b1") == ["192.0.2.1"]  # it goes on asking its name server
    minirun.ok("network", "connect", "foo", "b1")
    assert asked(b1, "u1") == [address(u1)]


def test_a_monitor_at_rest_answers(begin, servers):
    u1, u2 = begin("u1"), begin("u2")
    its = address(u2)

    for _ in range(2):
        assert asked(u1, "u2") == asked(u1, "u2", "A", "+tcp") == [its]
        assert asked(u1, "ok.x") == asked(u1, "ok.x", "A", "+tcp") == ["192.0.2.1"]
        assert rests(u1)


def test_a_container_that_has_no_name_server_gets_one_at_rest(minirun, begin, servers):
    u1, b1 = begin("u1"), minirun.begin("alpine", "sleep", "300", name="b1")
    assert rests(b1)
    minirun.ok("network", "connect", "foo", "b1")
    assert asked(b1, "u1") == [address(u1)]
    assert asked(b1, "ok.x") == ["192.0.2.1"]


def test_many_come_and_go_while_others_ask(minirun, begin):
    asker = begin("asker")
    wrong = []

    def life(number):
        name = f"life{number}"
        for _ in range(3):
            container_id = minirun.ok("run", "-d", "--network", "foo", "--name", name, "alpine", "sleep", "300")
            its = minirun.ok("inspect", "-f", "{{.NetworkSettings.Networks.foo.IPAddress}}", container_id)
            if asked(asker, name) != [its]:
                wrong.append((name, its, asked(asker, name)))
            minirun.ok("rm", "-f", name)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(life, range(4)))
    assert wrong == []


def test_who_does_not_read_does_not_keep_a_dead_containers_network(minirun, begin, host):
    """The monitor waits for him with the end of the output; the namespace, and with it the address, must go before."""
    begin("asker")
    before = host.links()
    reader = minirun.popen("run", "--rm", "--network", "foo", "alpine", "sh", "-c", "sleep 1; yes | head -c 700000")
    try:
        assert wait_for(lambda: host.links() != before, 10)
        assert wait_for(lambda: host.links() == before, 10), host.links()
        assert reader.poll() is None
    finally:
        assert len(reader.communicate()[0]) == 700000


# ---- asking others ---------------------------------------------------------------------------------------------


def test_what_is_not_known_is_asked_elsewhere(begin, servers):
    """First the server on the host's loopback, which is asked from there, then the one outside."""
    u1 = begin("u1")
    assert asked(u1, "ok.example") == asked(u1, "foo") == asked(u1, "u1", "TXT") == ["192.0.2.1"]
    assert asked(u1, "servfail1.x") == ["192.0.2.2"]
    assert asked(u1, "nx.x") == "NXDOMAIN"
    assert asked(u1, "refused.x") == "REFUSED"
    assert len(asked(u1, "trunc.x")) == 60  # dig asks again over TCP
    assert len(asked(u1, "many.x")) == 60


def test_servers_of_ones_own(begin, servers):
    u1 = begin("u1", "--dns", "203.0.113.2")
    assert u1.sh("cat /etc/resolv.conf") == "nameserver 127.0.0.11\noptions ndots:0"
    assert asked(u1, "ok.x") == ["192.0.2.2"]


def test_a_loopback_server_of_ones_own_is_in_the_container(begin, servers):
    u1 = begin("u1", "--dns", "127.0.0.1")
    assert asked(u1, "ok.x") == "silence"


def test_nothing_leaves_an_internal_network_by_way_of_a_question(minirun, network, servers):
    """Not even to the server on the host's loopback, which Docker 20.10 asks (CVE-2024-29018)."""
    network("inn", "--internal")
    i1 = minirun.begin("--network", "inn", "alpine", "sleep", "300", name="i1")
    i2 = minirun.begin("--network", "inn", "--dns", "203.0.113.2", "alpine", "sleep", "300", name="i2")
    assert asked(i1, "ok.x") == "silence"
    assert asked(i2, "i1") == [address(i1, "inn")]
    assert asked(i2, "ok.x") == "silence"
    minirun.ok("network", "connect", "bridge", "i1")  # now it has a way out
    assert asked(i1, "ok.x") == ["192.0.2.1"]
    minirun.ok("network", "disconnect", "bridge", "i1")
    assert asked(i1, "ok.x") == "silence"


@pytest.mark.parametrize(
    ("options", "resolv"),
    [
        (("--dns-search", "example.org"), "search example.org\nnameserver 127.0.0.11\noptions ndots:0"),
        (
            ("--dns-search", "one.x", "--dns-search", "two.x", "--dns-option", "ndots:1"),
            "search one.x two.x\nnameserver 127.0.0.11\noptions ndots:1",
        ),
        (("--dns-search", "."), "nameserver 127.0.0.11\noptions ndots:0"),
    ],
)
def test_search_domains(begin, servers, options, resolv):
    """The server knows `deep` in any domain and not without one; the image's C library appends one if ndots says so."""
    u1 = begin("u1", "--dns", "203.0.113.2", *options)
    assert u1.sh("cat /etc/resolv.conf") == resolv
    found = u1.sh("getent ahostsv4 deep || true").split()
    assert found[:1] == (["192.0.2.2"] if "ndots:1" in options else [])
    assert asked(u1, "deep") == ([] if "ndots:1" in options else "NXDOMAIN")


def test_ndots_of_ones_own(begin, servers):
    """Who has wished for ndots will ask again with a domain; a name without one is not asked for elsewhere."""
    u1 = begin("u1", "--dns", "203.0.113.2", "--dns-option", "ndots:2")
    assert asked(u1, "nosuch") == []
    assert asked(u1, "nosuch.x") == ["192.0.2.2"]
    assert asked(u1, "u1") == [address(u1)]


@pytest.mark.parametrize(
    ("host_text", "text"),
    [
        (
            "search lab.example\nnameserver 127.0.0.53\noptions edns0\n",
            "search lab.example\nnameserver 127.0.0.11\noptions edns0 ndots:0",
        ),
        (
            "# c\ndomain d.example\nnameserver 127.0.0.1\nnameserver 192.0.2.1\noptions timeout:1\n",
            "nameserver 127.0.0.11\noptions timeout:1 ndots:0",
        ),
        ("", "nameserver 127.0.0.11\noptions ndots:0"),
    ],
)
def test_resolv_conf(begin, resolv_conf, host_text, text):
    resolv_conf(host_text)
    assert begin("u1").sh("cat /etc/resolv.conf") == text


@pytest.mark.timing("twenty slow answers must overlap")
def test_many_questions_at_once(begin, servers):
    u1 = begin("u1")
    begun = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: asked(u1, f"slow.x{number}" if number % 2 else "u1"), range(40)))
    assert answers == [[address(u1)], ["192.0.2.1"]] * 20
    assert time.monotonic() - begun < 0.5 * 20


def test_port_53_is_free(begin):
    """The name server is not where it seems to be."""
    u1 = begin("u1")
    u1.minirun.ok("exec", "-d", "u1", "nc", "-l", "-p", "53", "-e", "echo", "hello")
    assert wait_for(lambda: u1.sh("nc 127.0.0.1 53 </dev/null || true") == "hello")
    assert asked(u1, "u1") == asked(u1, "u1", "A", "+tcp") == [address(u1)]
