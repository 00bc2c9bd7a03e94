"""A container's network as a course on network namespaces looks at it: with ip, nsenter, lsns, brctl, bridge, tcpdump,
conntrack, and without a word to minirun.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from harness.host import PATIENCE, wait_for
from harness.tcpdump import Tcpdump


def shown(host, *argv: str) -> str:
    """What a tool prints; it must succeed."""
    done = host.run(*argv)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
    return done.stdout


def names(host) -> list[str]:
    """The names that `ip netns list` shows. It may add the id by which the kernel calls a namespace: "c1 (id: 0)"."""
    return sorted(line.split()[0] for line in shown(host, "ip", "netns", "list").splitlines())


def namespace(path: str) -> int:
    """The inode of a namespace: what tells it from all others."""
    return os.stat(path).st_ino


def cables(host) -> dict[str, dict]:
    """The host's veth devices, by name."""
    return {
        link["ifname"]: link
        for link in json.loads(shown(host, "ip", "-j", "-d", "link", "show", "type", "veth"))
        if link["ifname"] != "wan0"
    }


def cable_of(host, container) -> str:
    """The name of a container's cable on the host: eth0 says the number of its other end (`eth0@if6`)."""
    (eth0,) = json.loads(shown(host, "ip", "netns", "exec", container.name, "ip", "-j", "link", "show", "eth0"))
    return next(name for name, link in cables(host).items() if link["ifindex"] == eth0["link_index"])


@pytest.fixture
def pair(minirun):
    """Two running containers, c1 and c2: 172.17.0.2 and 172.17.0.3."""
    return [minirun.begin("alpine", "sleep", "1000", name=name) for name in ("c1", "c2")]


# ---- ip netns --------------------------------------------------------------------------------------------------


def test_ip_netns_lists_the_running_containers_by_name(minirun, host, pair):
    minirun.ok("create", "--name", "c3", "alpine", "true")
    minirun.ok("run", "-d", "--name", "alone", "--network", "none", "alpine", "sleep", "1000")
    minirun.ok("run", "-d", "--name", "hosts", "--network", "host", "alpine", "sleep", "1000")
    assert names(host) == ["alone", "c1", "c2"]  # one has the host's network, one has none yet
    assert namespace(f"{host.run_directory}/netns/c1") == namespace(f"/proc/{pair[0].pid}/ns/net")
    assert shown(host, "stat", "-c", "%A %s", "/run/netns/c1") == "-r--r--r-- 0\n"  # as /var/run/docker/netns/...


def test_a_program_of_the_host_in_the_containers_network(host, pair):
    """`ip netns exec` takes the network alone: the program, its files and its rights are the host's."""
    (eth0,) = json.loads(shown(host, "ip", "netns", "exec", "c2", "ip", "-j", "-4", "addr", "show", "eth0"))
    assert eth0["addr_info"][0]["local"] == "172.17.0.3"
    assert shown(host, "ip", "-n", "c1", "route").split("\n")[0] == "default via 172.17.0.1 dev eth0 "
    assert shown(host, "ip", "netns", "exec", "c1", "hostname") == shown(host, "hostname")
    assert shown(host, "ip", "netns", "exec", "c1", "ls", "/sys/class/net").split() == ["eth0", "lo"]
    shown(host, "ip", "netns", "exec", "c1", "ping", "-c", "1", "-W", "2", "172.17.0.3")


def test_which_processes_are_in_it_and_in_which_one_is_a_process(minirun, host, pair):
    one, two = pair
    child = minirun.popen("exec", "c1", "sleep", "50")
    try:
        assert wait_for(lambda: len(shown(host, "ip", "netns", "pids", "c1").split()) == 2)
        assert sorted(map(int, shown(host, "ip", "netns", "pids", "c1").split())) == one.pids()
        assert shown(host, "ip", "netns", "pids", "c2").split() == [str(two.pid)]  # the monitor stays outside
        assert [shown(host, "ip", "netns", "identify", str(pid)) for pid in (one.pid, two.pid, one.monitor())] == [
            "c1\n",
            "c2\n",
            "\n",
        ]
    finally:
        minirun.ok("kill", "c1")
        child.communicate(timeout=PATIENCE)


def test_nsenter_and_lsns(host, pair):
    assert "inet 172.17.0.2/16" in shown(host, "nsenter", "--net=/run/netns/c1", "ip", "addr", "show", "eth0")
    # -l: as a tree, a namespace stands below that of its parent process or does not, as the pids happen to be.
    listed = json.loads(shown(host, "lsns", "-t", "net", "-l", "-J", "-o", "NS,NPROCS,PID,NSFS,COMMAND"))["namespaces"]
    by_file = {file: entry for entry in listed for file in re.split("[,\n]", entry["nsfs"] or "")}
    for container in pair:
        assert f"/run/netns/{container.name}" in by_file, listed
        entry = by_file[f"/run/netns/{container.name}"]
        assert (entry["ns"], entry["nprocs"], entry["pid"], entry["command"]) == (
            namespace(f"/proc/{container.pid}/ns/net"),
            1,
            container.pid,
            "sleep 1000",
        )


# ---- the switch ------------------------------------------------------------------------------------------------


def test_brctl_and_bridge(host, pair):
    one, two = (cable_of(host, container) for container in pair)
    assert {one, two} == set(cables(host))
    rows = [line.split() for line in shown(host, "brctl", "show").splitlines()]
    mac = Path(f"/proc/{host.pid}/root/sys/class/net/minirun0/address").read_text().strip()
    ports = sorted((one, two))
    assert rows[1:] == [["minirun0", f"8000.{mac.replace(':', '')}", "no", ports[0]], [ports[1]]]
    links = {link["ifname"]: link for link in json.loads(shown(host, "bridge", "-j", "link"))}
    assert {name: (link["master"], link["state"]) for name, link in links.items()} == {
        one: ("minirun0", "forwarding"),
        two: ("minirun0", "forwarding"),
    }


def test_what_the_switch_has_learned(host, pair):
    """Nothing but the addresses of its own ports, until somebody speaks; then who is behind which port."""

    def learned() -> dict[str, str]:
        entries = json.loads(shown(host, "bridge", "-j", "fdb", "show", "br", "minirun0", "dynamic"))
        return {entry["mac"]: entry["ifname"] for entry in entries if entry["mac"].startswith("02:42:ac:11:00:0")}

    assert learned() == {}
    pair[0].sh("ping -c 1 -W 2 172.17.0.3")
    assert learned() == {
        f"02:42:ac:11:00:0{number}": cable_of(host, container) for number, container in zip((2, 3), pair, strict=True)
    }
    assert "02:42:ac:11:00:03" in shown(host, "brctl", "showmacs", "minirun0")


# ---- packets ---------------------------------------------------------------------------------------------------


def test_tcpdump_on_the_cable_and_on_the_switch(host, pair):
    """The first packet asks for an address; then the packets go by the containers' own MAC addresses."""
    one = pair[0]
    inside = ("ip", "netns", "exec", "c2")
    with (
        Tcpdump(host, cable_of(host, one)) as cable,
        Tcpdump(host, "minirun0", "arp or icmp") as switch,
        Tcpdump(host, "eth0", "icmp", inside=inside) as far,
    ):
        one.sh("ping -c 1 -W 2 172.17.0.3")
        text = cable.text(4)
        assert "Request who-has 172.17.0.3 tell 172.17.0.2" in text
        assert "Reply 172.17.0.3 is-at 02:42:ac:11:00:03" in text
        for seen, packets in ((cable, 4), (switch, 4), (far, 2)):
            text = seen.text(packets)
            assert "02:42:ac:11:00:02 > 02:42:ac:11:00:03, ethertype IPv4" in text
            assert "172.17.0.2 > 172.17.0.3: ICMP echo request" in text
            assert "172.17.0.3 > 172.17.0.2: ICMP echo reply" in text
    assert "172.17.0.3 dev eth0 lladdr 02:42:ac:11:00:03" in shown(host, "ip", "-n", "c1", "neigh")


def test_conntrack_shows_both_sides_of_masquerade(host, pair):
    """Outside only the host is seen; conntrack remembers who it was."""
    shown(host, "conntrack", "-F")
    with Tcpdump(host, "minirun0", "icmp") as near, Tcpdump(host, "wan0", "icmp") as far:
        pair[0].sh("ping -c 1 -W 2 198.51.100.1")
        assert "172.17.0.2 > 198.51.100.1: ICMP echo request" in near.text(2)
        assert "203.0.113.1 > 198.51.100.1: ICMP echo request" in far.text(2)
        assert "172.17.0.2" not in far.text(2)
    (line,) = [line for line in shown(host, "conntrack", "-L", "--src-nat").splitlines() if "198.51.100.1" in line]
    words = line.split()
    assert words[0] == "icmp"
    assert [word for word in words if word.startswith(("src=", "dst="))] == [
        "src=172.17.0.2",
        "dst=198.51.100.1",
        "src=198.51.100.1",
        "dst=203.0.113.1",
    ]


def test_the_counters_of_the_rules(host, pair):
    """`iptables -vnL` counts what went which way: two packets between containers, ARP not among them."""

    def count(rule: str) -> int:
        listed = shown(host, "iptables", "-vxnL", "FORWARD").splitlines()[2:]
        return next(int(line.split()[0]) for line in listed if line.split()[2:] and rule in " ".join(line.split()))

    between, answers = "ACCEPT 0 -- minirun0 minirun0", "ACCEPT 0 -- * minirun0 0.0.0.0/0 0.0.0.0/0 ctstate"
    shown(host, "conntrack", "-F")  # an earlier ping with the same id would make this one an answer
    before = count(between), count(answers)
    pair[0].sh("ping -c 1 -W 2 172.17.0.3")
    assert (count(between), count(answers)) == (before[0] + 1, before[1] + 1)


# ---- names come and go -----------------------------------------------------------------------------------------


def test_a_name_goes_with_its_container(minirun, host):
    for number, end in enumerate((("stop", "-t", "0"), ("kill",), ("rm", "-f"))):
        minirun.begin("alpine", "sleep", "1000", name=f"c{number}")
        assert names(host) == [f"c{number}"]
        minirun.ok(*end, f"c{number}")
        assert wait_for(lambda: names(host) == [])
    minirun.ok("start", "c0")
    assert names(host) == ["c0"]
    minirun.ok("restart", "-t", "0", "c0")
    (pid,) = shown(host, "ip", "netns", "pids", "c0").split()
    assert shown(host, "ip", "netns", "identify", pid) == "c0\n"


@pytest.mark.parametrize("victim", ["monitor", "both"])
def test_kill_9_leaves_a_name_to_nobody(minirun, host, victim):
    container = minirun.begin("alpine", "sleep", "1000")
    pids = [container.monitor(), *([container.pid] if victim == "both" else [])]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    minirun.act()
    assert wait_for(lambda: names(host) == [] and not cables(host))
    assert container.name in minirun.ok("ps", "-a", "--format", "{{.Names}}")


def test_a_name_that_somebody_has_is_left_to_him(minirun, host):
    """c1 is another course's namespace, c2 a file that nobody mounted anything on."""
    host.spoiled = True
    shown(host, "ip", "netns", "add", "c1")
    shown(host, "sh", "-c", "umask 0; : > /run/netns/c2")
    before = shown(host, "stat", "-c", "%n %i %a %Y", "/run/netns/c1", "/run/netns/c2")
    for name in ("c1", "c2"):
        minirun.begin("alpine", "sleep", "1000", name=name)
        minirun.ok("restart", "-t", "0", name)
    assert shown(host, "ip", "-n", "c1", "link").count("\n") == 2  # its own loopback and nothing else
    minirun.ok("rm", "-f", "c1", "c2")
    minirun.ok("system", "check", "--repair")
    assert shown(host, "stat", "-c", "%n %i %a %Y", "/run/netns/c1", "/run/netns/c2") == before


def test_a_name_that_was_deleted_by_hand(minirun, host):
    """`ip netns del` takes the name, not the network: the container goes on, and ends as always."""
    container = minirun.begin("alpine", "sleep", "1000")
    shown(host, "ip", "netns", "del", "c1")
    assert names(host) == []
    assert "1 packets received" in container.sh("ping -c 1 -W 2 172.17.0.1")
    shown(host, "ip", "netns", "add", "c1")  # and now it is somebody else's
    minirun.ok("rm", "-f", "c1")
    assert names(host) == ["c1"]
    shown(host, "ip", "netns", "del", "c1")


def test_somebody_watches_while_a_container_ends(minirun, host):
    """A tcpdump inside holds the namespace: the name goes at once, and the link when tcpdump has had enough."""
    container = minirun.begin("alpine", "sleep", "1000")
    watcher = host.popen(
        "ip", "netns", "exec", "c1", "tcpdump", "-nli", "eth0", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with contextlib.closing(watcher.stderr), contextlib.closing(watcher.stdout):
        next(line for line in watcher.stderr if line.startswith("listening"))
        minirun.ok("rm", "-f", container.name)
        assert names(host) == []
        watcher.send_signal(signal.SIGINT)
        watcher.wait(10)
    host.assert_clean()


def test_a_new_container_inherits_no_connection(minirun, host, pair):
    """c2's connections are forgotten before its address is another's; those of c1 with others stay.

    The kernel's own word to a multicast group, when a link comes or goes, is nobody's connection.
    """

    def flows(address: str) -> list[str]:
        return [
            line
            for line in shown(host, "conntrack", "-L").splitlines()
            if f"={address} " in line and "224.0.0.22" not in line
        ]

    shown(host, "conntrack", "-F")
    pair[0].sh("ping -c 1 -W 2 172.17.0.3; ping -c 1 -W 2 198.51.100.1")
    assert [len(flows(address)) for address in ("172.17.0.3", "198.51.100.1")] == [1, 1]
    minirun.ok("rm", "-f", "c2")
    assert (flows("172.17.0.3"), len(flows("198.51.100.1"))) == ([], 1)
