"""The sensitivity of the comparison: two equal hosts, then one deliberate difference at a time, and each must be seen.

The differences are made on minirun's host with the standard tools, and undone: at the end the two are equal again.
"""

from __future__ import annotations

import re

import pytest

from harness.twin.engines import begin, finish
from harness.twin.host_pair import HostPair
from harness.twin.network_state import begin_look, finish_look
from harness.twin.scenario import Scenario

pytestmark = pytest.mark.docker

ESTABLISHED = "-o minirun0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
#: What is done, how it is undone, in which sections it must show. $c1: in the container's network namespace.
DIFFERENCES = {
    "a rule is missing": (
        "iptables -D FORWARD -i minirun0 -o minirun0 -j ACCEPT",
        "iptables -A FORWARD -i minirun0 -o minirun0 -j ACCEPT",
        "host: iptables -t filter",
    ),
    "two rules have changed places": (
        f"iptables -D FORWARD {ESTABLISHED}; iptables -I FORWARD 4 {ESTABLISHED}",
        f"iptables -D FORWARD {ESTABLISHED}; iptables -I FORWARD 3 {ESTABLISHED}",
        "host: iptables -t filter",
    ),
    "a rule is there twice": (
        "iptables -t nat -A MINIRUN -i minirun0 -j RETURN",
        "iptables -t nat -D MINIRUN -i minirun0 -j RETURN",
        "host: iptables -t nat",
    ),
    "a rule in raw": ("iptables -t raw -A PREROUTING -j ACCEPT", "iptables -t raw -F", "host: iptables -t raw"),
    "a rule in mangle": ("iptables -t mangle -A INPUT -j ACCEPT", "iptables -t mangle -F", "host: iptables -t mangle"),
    "a rule for IPv6": ("ip6tables -A FORWARD -j DROP", "ip6tables -F FORWARD", "host: ip6tables -t filter"),
    "another policy": ("iptables -P FORWARD ACCEPT", "iptables -P FORWARD DROP", "host: iptables -t filter"),
    "an empty chain": ("iptables -N ZZ", "iptables -X ZZ", "host: iptables -t filter"),
    "another MTU": ("ip link set minirun0 mtu 1400", "ip link set minirun0 mtu 1500", "host: (ip|bridge|sysctl)"),
    "another queue length": ("ip link set minirun0 txqlen 10", "ip link set minirun0 txqlen 0", "host: ip"),
    "hairpin is on": (
        "bridge link set dev $cable hairpin on",
        "bridge link set dev $cable hairpin off",
        "host: (ip|bridge)",
    ),
    "a wrong sysctl": (
        "sysctl -w net.ipv4.conf.minirun0.rp_filter=1",
        "sysctl -w net.ipv4.conf.minirun0.rp_filter=0",
        "host: sysctl",
    ),
    "a wrong sysctl in the container": (
        "$c1 sysctl -w net.ipv4.ip_unprivileged_port_start=1024",
        "$c1 sysctl -w net.ipv4.ip_unprivileged_port_start=0",
        "c1: sysctl",
    ),
    "a route": ("ip route add 10.0.0.0/8 dev minirun0", "ip route del 10.0.0.0/8 dev minirun0", "host: ip -4"),
    "a routing rule": ("ip rule add from 10.0.0.1 table main pref 100", "ip rule del pref 100", "host: ip rule"),
    "another metric in the container": (
        "$c1 ip route replace default via 172.17.0.1 metric 5; $c1 ip route del default via 172.17.0.1 metric 0",
        "$c1 ip route add default via 172.17.0.1; $c1 ip route del default via 172.17.0.1 metric 5",
        "c1: ip -4",
    ),
    "a neighbour": (
        "ip neigh add 172.17.0.9 lladdr 02:42:ac:11:00:09 dev minirun0",
        "ip neigh del 172.17.0.9 dev minirun0",
        "host: ip neigh",
    ),
    "an address without broadcast": (
        "ip addr add 172.17.0.8/32 dev minirun0",
        "ip addr del 172.17.0.8/32 dev minirun0",
        "host: ip",
    ),
    "another MAC in the container": (
        "$c1 ip link set eth0 address 02:42:ac:11:00:09",
        "$c1 ip link set eth0 address 02:42:ac:11:00:02; ip neigh flush dev minirun0",
        "c1: ip|host: bridge fdb",
    ),
    "one link more": ("ip link add d0 type bridge", "ip link del d0", "host: (ip|bridge|sysctl)"),
    "another line in /etc/hosts": (
        "echo '192.0.2.1 a' >> $root/etc/hosts",
        "sed '$d' $root/etc/hosts > /run/hosts; cat /run/hosts > $root/etc/hosts",
        "c1: /etc/hosts",
    ),
    "the namespace has lost its name": (
        "umount /run/netns/c1",
        "mount --bind /proc/$pid/ns/net /run/netns/c1",
        "host: netns files",
    ),
    "somebody listens": ("listen 127.0.0.1 7777", "kill $(cat /run/listen.7777)", "host: ss"),
    "a connection is remembered": (
        "conntrack -I -s 192.0.2.1 -d 192.0.2.2 -p tcp --sport 1 --dport 2 --timeout 60 --state ESTABLISHED",
        "conntrack -D -s 192.0.2.1",
        "host: (conntrack|sysctl)",
    ),
}


@pytest.fixture(scope="module")
def pair(host_pairs) -> HostPair:
    """Two equal hosts with one container."""
    scenario = Scenario("one container", "run -d --name c1 --hostname c1 alpine sleep 600")
    with host_pairs.opened(scenario) as pair:
        assert pair.run(scenario) == []
        yield pair


def on_minirun(pair: HostPair, script: str) -> None:
    """Run a script on minirun's host, and look at that host anew."""
    twin = pair.twins[1]
    pid = twin.sh(f"{twin.words[0]} inspect -f '{{{{.State.Pid}}}}' c1").strip()
    done = finish(
        begin(
            twin,
            "sh",
            "-ec",
            f'pid={pid}; root=/proc/$pid/root; c1="nsenter --net=/proc/$pid/ns/net"; '
            f"cable=$(ls /sys/class/net/minirun0/brif); {script}",
        )
    )
    assert done.code == 0, done


def differing(pair: HostPair) -> list[str]:
    """The titles of the sections that differ at this moment.

    Both hosts are looked at anew: what the kernel does at leisure (the link-local address of a link that came up) may
    have been done in neither when they were found equal.
    """
    sections = pair.transcripts[0]
    start = next(number for number, section in enumerate(sections) if section.title.startswith("look "))
    title = sections[start].title.partition(",")[0]
    for sections, begun in zip(pair.transcripts, [begin_look(twin, title) for twin in pair.twins], strict=True):
        sections[start:] = finish_look(begun)
    return [line.removeprefix("== ") for line in pair.compare() if line.startswith(("== ", "not the same"))]


@pytest.mark.parametrize("what", DIFFERENCES)
def test_a_difference_is_seen(pair, what):
    do, undo, where = DIFFERENCES[what]
    on_minirun(pair, do)
    found = differing(pair)
    on_minirun(pair, undo)
    assert found, "the comparison did not see it"
    strangers = [title for title in found if not re.search(rf", ({where})", title)]
    assert not strangers, "seen where it is not"


def test_the_two_are_equal_again(pair):
    assert differing(pair) == []
