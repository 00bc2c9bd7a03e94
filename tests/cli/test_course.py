"""The exercises of a course on Linux networks, as docs/network-course.md has them: first by hand with RED and BLUE,
then found again in what `minirun run` made.

RED is 10.10.0.1, BLUE is 10.10.0.2, br0 is 10.10.0.254; the outside world is 198.51.100.1, behind 203.0.113.2.
"""

from __future__ import annotations

import json
import re

import pytest

from harness.host import wait_for
from harness.tcpdump import Tcpdump

RED, BLUE, BR0, OUTSIDE = "10.10.0.1", "10.10.0.2", "10.10.0.254", "198.51.100.1"
PAIR = """
    ip netns add RED; ip netns add BLUE
    ip link add red netns RED type veth peer name blue netns BLUE
    ip -n RED addr add 10.10.0.1/24 dev red; ip -n RED link set red up
    ip -n BLUE addr add 10.10.0.2/24 dev blue; ip -n BLUE link set blue up
"""
SWITCH = """
    ip link add br0 type bridge; ip link set br0 up
    for name in RED BLUE; do
        ip netns add $name
        ip link add v$name type veth peer name eth0 netns $name
        ip link set v$name master br0; ip link set v$name up
        ip -n $name link set eth0 up
    done
    ip -n RED addr add 10.10.0.1/24 dev eth0; ip -n BLUE addr add 10.10.0.2/24 dev eth0
"""
CLEAR = """
    ip link del br0; ip netns del RED; ip netns del BLUE
    iptables -F MINIRUN-USER; iptables -A MINIRUN-USER -j RETURN
"""


def sh(host, script: str) -> str:
    """What a script prints on the host; all of its commands must succeed."""
    done = host.run("sh", "-euc", script)
    assert done.returncode == 0, f"{script}: {done.stderr}"
    return done.stdout


def ping(host, name: str, address: str) -> bool:
    """Whether an address answers to somebody in a named network namespace."""
    return host.run("ip", "netns", "exec", name, "ping", "-c", "1", "-W", "1", address).returncode == 0


def reaches(host, name: str, address: str) -> bool:
    """Whether it answers, if not to the first ping then to a later one: a port takes a moment to see its carrier, and a
    machine that is busy may need more than a second for an answer."""
    return bool(wait_for(lambda: ping(host, name, address), 10))


def neighbours(host, name: str) -> dict[str, str]:
    """Who is known by MAC in a namespace: address to MAC."""
    listed = json.loads(sh(host, f"ip -n {name} -j neigh"))
    return {entry["dst"]: entry["lladdr"] for entry in listed if "lladdr" in entry}


def mac(host, name: str, link: str) -> str:
    """The MAC of a link in a namespace."""
    return json.loads(sh(host, f"ip -n {name} -j link show {link}"))[0]["address"]


def port_of(host, container) -> str:
    """The name of a container's cable on the host."""
    number = json.loads(sh(host, f"ip -n {container.name} -j link show eth0"))[0]["link_index"]
    return next(link["ifname"] for link in json.loads(sh(host, "ip -j link")) if link["ifindex"] == number)


def counted(host, table: str, chain: str, rule: str) -> int:
    """How many packets a rule has seen, -1 when there is no such rule. Arguments: rule, as in `iptables -S`."""
    for line in sh(host, f"iptables-save -c -t {table}").splitlines():
        numbers, _, words = line.partition("] ")
        if words == f"-A {chain} {rule}":
            return int(numbers[1:].partition(":")[0])
    return -1


def dropped(host) -> int:
    """How many packets FORWARD's policy has dropped."""
    return int(re.search(r"^:FORWARD DROP \[(\d+):", sh(host, "iptables-save -c -t filter"), re.M)[1])


@pytest.fixture
def containers(minirun, host):
    """Two containers, c1 and c2, and no connection that conntrack would remember."""
    pair = [minirun.begin("alpine", "sleep", "1000", name=name) for name in ("c1", "c2")]
    sh(host, "conntrack -F 2>&1")
    return pair


@pytest.fixture
def switch(host, containers):
    """RED and BLUE on br0, beside minirun0."""
    sh(host, SWITCH)
    yield
    sh(host, CLEAR)


# ---- (a) a cable -----------------------------------------------------------------------------------------------


def test_a_two_namespaces_and_a_cable(host):
    """ARP asks and is answered, then the ping goes by MAC; a second ping asks nobody."""
    sh(host, PAIR)
    assert neighbours(host, "RED") == {}
    with Tcpdump(host, "blue", "arp or icmp", inside=("ip", "netns", "exec", "BLUE")) as seen:
        assert reaches(host, "RED", BLUE)
        text = seen.text(4)
        assert [line.partition(", ethertype ")[2].split()[0] for line in text.splitlines()[:4]] == [
            "ARP",
            "ARP",
            "IPv4",
            "IPv4",
        ]
        red, blue = mac(host, "RED", "red"), mac(host, "BLUE", "blue")
        request, reply, there, back = text.splitlines()[:4]
        assert f"{red} > ff:ff:ff:ff:ff:ff" in request and f"Request who-has {BLUE} tell {RED}" in request
        assert f"{blue} > {red}" in reply and f"Reply {BLUE} is-at {blue}" in reply
        assert f"{red} > {blue}" in there and f"{RED} > {BLUE}: ICMP echo request" in there
        assert f"{blue} > {red}" in back and f"{BLUE} > {RED}: ICMP echo reply" in back
        assert neighbours(host, "RED") == {BLUE: blue}
        assert neighbours(host, "BLUE") == {RED: red}
        assert reaches(host, "RED", BLUE)
        assert seen.text(6).count("Request who-has 10.10.0.2 ") == 1
    sh(host, "ip -n BLUE link set blue down")
    assert not ping(host, "RED", BLUE)
    sh(host, "ip netns del RED; ip netns del BLUE")


def test_a_again_the_cable_of_a_container(minirun, host):
    """eth0 is one end of a veth pair: what goes in comes out on the host, the same ARP and the same ping."""
    container = minirun.begin("alpine", "sleep", "1000")
    port = port_of(host, container)
    assert json.loads(sh(host, f"ip -j -d link show {port}"))[0]["linkinfo"]["info_kind"] == "veth"
    assert neighbours(host, "c1") == {}
    with Tcpdump(host, port, "arp or icmp") as seen:
        assert reaches(host, "c1", "172.17.0.1")
        lines = seen.text(4).splitlines()
        assert "Request who-has 172.17.0.1 tell 172.17.0.2" in lines[0]
        assert f"Reply 172.17.0.1 is-at {json.loads(sh(host, 'ip -j link show minirun0'))[0]['address']}" in lines[1]
        assert "172.17.0.2 > 172.17.0.1: ICMP echo request" in lines[2]
    assert list(neighbours(host, "c1")) == ["172.17.0.1"]
    sh(host, f"ip link set {port} down")
    assert not ping(host, "c1", "172.17.0.1")
    sh(host, f"ip link set {port} up")
    assert reaches(host, "c1", "172.17.0.1")


# ---- (b) a switch of one's own beside minirun0 -----------------------------------------------------------------


def test_b_arp_passes_and_ip_does_not(host, switch):
    """bridge-nf shows IP to iptables, where no rule knows br0: the policy drops it. ARP is not IP."""
    before = dropped(host)
    with Tcpdump(host, "vBLUE", "arp or icmp") as seen:
        assert not ping(host, "RED", BLUE)
        assert "is-at" in seen.text(2)
        assert "ICMP" not in seen.text(2)
    assert neighbours(host, "RED") == {BLUE: mac(host, "BLUE", "eth0")}
    assert dropped(host) == before + 1


def test_b_minirun_user_lets_it_pass(minirun, host, switch):
    """An accept in MINIRUN-USER comes first, and stays whatever minirun does."""
    rule = "-i br0 -o br0 -j ACCEPT"
    sh(host, f"iptables -I MINIRUN-USER {rule}")
    assert reaches(host, "RED", BLUE)
    assert counted(host, "filter", "MINIRUN-USER", rule) == 2  # there and back
    minirun.ok("restart", "-t", "0", "c1")
    minirun.begin("alpine", "sleep", "1000", name="c3")
    assert reaches(host, "RED", BLUE)
    sh(host, f"iptables -D MINIRUN-USER {rule}")
    sh(host, "conntrack -F 2>&1")
    assert not ping(host, "RED", BLUE)


@pytest.mark.parametrize(
    ("remedy", "back"),
    [
        (
            "echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables",
            "echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables",
        ),
        ("iptables -P FORWARD ACCEPT", "iptables -P FORWARD DROP"),
    ],
)
def test_b_the_two_other_ways(host, switch, remedy, back):
    """Both open more than br0, which is why Docker's documentation speaks of the USER chain."""
    assert not ping(host, "RED", BLUE)
    sh(host, remedy)
    assert reaches(host, "RED", BLUE)
    sh(host, back)


def test_b_again_the_ports_of_minirun0(host, containers):
    """Two containers are RED and BLUE, minirun0 is br0; and here a rule accepts what goes from port to port."""
    ports = {link["ifname"] for link in json.loads(sh(host, "bridge -j link")) if link["master"] == "minirun0"}
    assert ports == {port_of(host, container) for container in containers}
    rule = "-i minirun0 -o minirun0 -j ACCEPT"
    before = counted(host, "filter", "FORWARD", rule), dropped(host)
    assert reaches(host, "c1", "172.17.0.3")
    assert neighbours(host, "c1") == {"172.17.0.3": "02:42:ac:11:00:03"}
    assert (counted(host, "filter", "FORWARD", rule), dropped(host)) == (before[0] + 1, before[1])
    sh(host, f"iptables -D FORWARD {rule}; conntrack -F 2>&1")
    assert not ping(host, "c1", "172.17.0.3")  # and without the rule they are in the same case as RED and BLUE
    sh(host, f"iptables -A FORWARD {rule}")


def test_b_who_reaches_whom_across_the_two(host, containers, switch):
    """As measured with Docker: a container reaches RED, masqueraded as br0; RED does not reach a container."""
    sh(host, f"ip addr add {BR0}/24 dev br0; ip -n RED route add default via {BR0}")
    assert reaches(host, "RED", BR0)  # br0 itself: INPUT, not FORWARD
    assert not ping(host, "RED", "172.17.0.2")
    with Tcpdump(host, "vRED", "icmp") as seen:
        assert reaches(host, "c1", RED)
        assert f"{BR0} > {RED}: ICMP echo request" in seen.text(2)


# ---- (c) the way out -------------------------------------------------------------------------------------------


def test_c_only_masquerade_leads_out(host, switch):
    """Three things are missing, one after the other: a route, FORWARD's consent, and a source that can be answered."""
    assert "unreachable" in host.run("ip", "netns", "exec", "RED", "ping", "-c", "1", "-W", "1", OUTSIDE).stderr
    sh(host, f"ip addr add {BR0}/24 dev br0; ip -n RED route add default via {BR0}")
    before = dropped(host)
    assert not ping(host, "RED", OUTSIDE)
    assert dropped(host) == before + 1
    sh(
        host,
        """iptables -I MINIRUN-USER -i br0 ! -o br0 -j ACCEPT
                iptables -I MINIRUN-USER -o br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT""",
    )
    with Tcpdump(host, "wan0", "icmp") as seen:
        assert not ping(host, "RED", OUTSIDE)
        assert f"{RED} > {OUTSIDE}: ICMP echo request" in seen.text(1)  # it went out as it was; nobody knows 10.10.0.1
        assert "reply" not in seen.text(1)  # the ping has waited in vain
    sh(host, "iptables -t nat -A POSTROUTING -s 10.10.0.0/24 ! -o br0 -j MASQUERADE; conntrack -F 2>&1")
    with Tcpdump(host, "br0", "icmp") as near, Tcpdump(host, "wan0", "icmp") as far:
        assert reaches(host, "RED", OUTSIDE)
        for seen, source in ((near, RED), (far, "203.0.113.1")):
            assert f"{source} > {OUTSIDE}: ICMP echo request" in seen.text(2)
            assert f"{OUTSIDE} > {source}: ICMP echo reply" in seen.text(2)
    assert f"src={RED} dst={OUTSIDE}" in sh(host, "conntrack -L --src-nat 2>/dev/null")
    sh(host, "iptables -t nat -D POSTROUTING -s 10.10.0.0/24 ! -o br0 -j MASQUERADE")


def test_c_again_the_way_out_of_a_container(host, containers):
    """The same three, made by minirun: the default route, two FORWARD rules, MASQUERADE. Without the last: silence."""
    assert sh(host, "ip -n c1 route").splitlines()[0].split() == "default via 172.17.0.1 dev eth0".split()
    masquerade = "-s 172.17.0.0/16 ! -o minirun0 -j MASQUERADE"
    rules = (
        ("filter", "FORWARD", "-i minirun0 ! -o minirun0 -j ACCEPT"),
        ("filter", "FORWARD", "-o minirun0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
        ("nat", "POSTROUTING", masquerade),
    )
    before = [counted(host, *rule) for rule in rules]
    assert reaches(host, "c1", OUTSIDE)
    assert [counted(host, *rule) for rule in rules] == [number + 1 for number in before]
    sh(host, f"iptables -t nat -D POSTROUTING {masquerade}; conntrack -F 2>&1")
    with Tcpdump(host, "wan0", "icmp") as seen:
        assert not ping(host, "c1", OUTSIDE)
        assert f"172.17.0.2 > {OUTSIDE}: ICMP echo request" in seen.text(1)
    sh(host, f"iptables -t nat -I POSTROUTING {masquerade}")
