"""The default bridge: what packets do, asked of `ip -j`, iptables and the packets themselves."""

from __future__ import annotations

import json
import re
import threading
import time

import pytest

CHAINS = """\
-P INPUT ACCEPT
-P FORWARD DROP
-P OUTPUT ACCEPT
-N MINIRUN
-N MINIRUN-ISOLATION-STAGE-1
-N MINIRUN-ISOLATION-STAGE-2
-N MINIRUN-USER
-A FORWARD -j MINIRUN-USER
-A FORWARD -j MINIRUN-ISOLATION-STAGE-1
-A FORWARD -o minirun0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o minirun0 -j MINIRUN
-A FORWARD -i minirun0 ! -o minirun0 -j ACCEPT
-A FORWARD -i minirun0 -o minirun0 -j ACCEPT
-A MINIRUN-ISOLATION-STAGE-1 -i minirun0 ! -o minirun0 -j MINIRUN-ISOLATION-STAGE-2
-A MINIRUN-ISOLATION-STAGE-1 -j RETURN
-A MINIRUN-ISOLATION-STAGE-2 -o minirun0 -j DROP
-A MINIRUN-ISOLATION-STAGE-2 -j RETURN
-A MINIRUN-USER -j RETURN
"""
NAT = """\
-P PREROUTING ACCEPT
-P INPUT ACCEPT
-P OUTPUT ACCEPT
-P POSTROUTING ACCEPT
-N MINIRUN
-A PREROUTING -m addrtype --dst-type LOCAL -j MINIRUN
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j MINIRUN
-A POSTROUTING -s 172.17.0.0/16 ! -o minirun0 -j MASQUERADE
-A MINIRUN -i minirun0 -j RETURN
"""


def ip(host, *words):
    return json.loads(host.run("ip", "-j", "-d", *words, check=True).stdout)


def links(host):
    return {link["ifname"]: link for link in ip(host, "link")}


def address(container):
    return container.sh("ip -4 addr show dev eth0 | sed -n 's/.*inet \\([0-9.]*\\).*/\\1/p'")


@pytest.fixture
def web(minirun):
    """A container that answers HTTP on port 80, and says who asked."""
    container = minirun.begin(
        "alpine",
        "sh",
        "-c",
        "mkdir /w; echo hello > /w/index.html; exec nc -lk -p 80 -e sh -c 'echo HTTP/1.0 200 OK; echo; echo hello'",
        name="web",
    )
    assert container.running()
    return container


# ---- who reaches whom ------------------------------------------------------------------------------------------


def test_container_to_container(minirun):
    one = minirun.begin("alpine", "sleep", "100", name="w1")
    two = minirun.begin("alpine", "sleep", "100", name="w2")
    assert "1 packets received" in one.sh(f"ping -c 1 -W 2 {address(two)}")
    assert "1 packets received" in two.sh(f"ping -c 1 -W 2 {address(one)}")


def test_container_to_host_and_back(minirun, host):
    container = minirun.begin("alpine", "sleep", "100")
    assert "1 packets received" in container.sh("ping -c 1 -W 2 172.17.0.1")
    assert "1 packets received" in container.sh("ping -c 1 -W 2 203.0.113.1")
    assert host.run("ping", "-c", "1", "-W", "2", address(container)).returncode == 0


def test_container_to_the_outside_is_seen_as_the_host(minirun, host):
    """MASQUERADE: the outside world sees 203.0.113.1, in a TCP connection and in a ping."""
    with host.serving(*host.to_outside()):
        assert minirun.sh("nc -w 3 198.51.100.1 9000") == "203.0.113.1"
    assert "1 packets received" in minirun.sh("ping -c 1 -W 2 198.51.100.1")


def test_the_outside_does_not_reach_a_container(minirun, host):
    """There is no way from outside but what the container has asked for: FORWARD's policy is DROP."""
    container = minirun.begin("alpine", "nc", "-lk", "-p", "80", "-e", "echo", "hi")
    host.outside_run("ip", "route", "replace", "172.17.0.0/16", "via", "203.0.113.1", check=True)
    try:
        assert host.outside_run("ping", "-c", "1", "-W", "1", address(container)).returncode != 0
        assert host.run("ping", "-c", "1", "-W", "1", address(container)).returncode == 0
    finally:
        host.outside_run("ip", "route", "del", "172.17.0.0/16")


def test_none(minirun, host):
    out = minirun.sh(
        "ls /sys/class/net; ip route; ping -c 1 -W 1 127.0.0.1 | grep received; cat /etc/hosts", "--network", "none"
    )
    assert out.split("\n")[0] == "lo"
    assert "1 packets received" in out
    assert "default" not in out
    assert "172.17" not in out


def test_host_network(minirun, host):
    out = minirun.sh("ls /sys/class/net; hostname", "--network", "host")
    assert out.split() == [*host.links(), host.run("hostname").stdout.strip()]


# ---- what it looks like ----------------------------------------------------------------------------------------


def test_the_bridge_is_like_docker0(new_host):
    new_host.minirun.ok("run", "--rm", "alpine", "true")
    bridge = links(new_host)["minirun0"]
    assert re.fullmatch(r"02:42:..:..:..:..", bridge["address"])
    assert set(bridge["flags"]) >= {"BROADCAST", "MULTICAST", "UP"}
    assert (bridge["mtu"], bridge.get("txqlen", 0), bridge["linkinfo"]["info_kind"]) == (1500, 0, "bridge")
    assert bridge["linkinfo"]["info_data"]["stp_state"] == 0
    (info,) = ip(new_host, "-4", "addr", "show", "dev", "minirun0")[0]["addr_info"]
    assert (info["local"], info["prefixlen"], info["broadcast"], info["scope"]) == (
        "172.17.0.1",
        16,
        "172.17.255.255",
        "global",
    )
    assert new_host.run("cat", "/proc/sys/net/ipv6/conf/minirun0/accept_ra").stdout == "0\n"
    assert new_host.run("cat", "/proc/sys/net/ipv4/ip_forward").stdout == "1\n"


def test_the_rules_are_dockers(new_host):
    before = new_host.run("iptables", "-S").stdout
    assert "MINIRUN" not in before
    new_host.minirun.ok("run", "--rm", "alpine", "true")
    assert new_host.run("iptables", "-S").stdout == CHAINS
    assert new_host.run("iptables", "-t", "nat", "-S").stdout == NAT
    new_host.minirun.ok("run", "--rm", "alpine", "true")
    assert new_host.run("iptables", "-S").stdout == CHAINS  # and only once


def test_policy_stays_when_the_host_forwards_already(new_host):
    new_host.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward", check=True)
    new_host.minirun.ok("run", "--rm", "alpine", "true")
    assert "-P FORWARD ACCEPT" in new_host.run("iptables", "-S", "FORWARD").stdout


def test_rules_of_others_stay(new_host):
    new_host.run("iptables", "-A", "FORWARD", "-s", "192.0.2.1", "-j", "DROP", check=True)
    new_host.minirun.ok("run", "--rm", "alpine", "true")
    assert "-A FORWARD -s 192.0.2.1/32 -j DROP" in new_host.run("iptables", "-S", "FORWARD").stdout


def test_a_taken_subnet_is_skipped(new_host):
    new_host.run(
        "sh", "-c", "ip link add d0 type bridge; ip addr add 172.17.5.1/24 dev d0; ip link set d0 up", check=True
    )
    new_host.spoiled = True  # d0 is the test's own
    assert new_host.minirun.sh("ip -4 addr show dev eth0 | grep -o 'inet [0-9./]*'") == "inet 172.18.0.2/16"


def test_the_cable(minirun, host):
    container = minirun.begin("alpine", "sleep", "100")
    (name,) = [name for name in links(host) if name.startswith("veth")]
    near = links(host)[name]
    assert re.fullmatch(r"veth[0-9a-f]{7}", name)
    assert (near["master"], near["operstate"], near.get("txqlen", 0), near["mtu"]) == ("minirun0", "UP", 0, 1500)
    assert near["linkinfo"]["info_slave_data"]["state"] == "forwarding"
    far = json.loads(host.run("nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", "-j", "-d", "addr").stdout)
    eth0 = next(link for link in far if link["ifname"] == "eth0")
    assert near["ifindex"] == eth0["ifindex"] + 1
    assert eth0["link_index"] == near["ifindex"]
    assert (eth0["address"], eth0.get("txqlen", 0), eth0["mtu"]) == ("02:42:ac:11:00:02", 0, 1500)
    (info,) = eth0["addr_info"]
    assert (info["local"], info["prefixlen"], info["broadcast"]) == ("172.17.0.2", 16, "172.17.255.255")
    lo = next(link for link in far if link["ifname"] == "lo")
    assert "UP" in lo["flags"]
    assert [info["local"] for info in lo["addr_info"]] == ["127.0.0.1"]
    routes = json.loads(host.run("nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", "-j", "-d", "route").stdout)
    assert [
        (route["dst"], route.get("gateway"), route["dev"], route["protocol"], route["scope"]) for route in routes
    ] == [("default", "172.17.0.1", "eth0", "boot", "global"), ("172.17.0.0/16", None, "eth0", "kernel", "link")]


def test_numbers_of_the_cables(new_host):
    """As Docker: N in the container, N+1 on the host, two for each start."""
    for name in ("w1", "w2"):
        new_host.minirun.begin("alpine", "sleep", "100", name=name)
    found = links(new_host)
    bridge = found["minirun0"]["ifindex"]
    assert sorted(link["ifindex"] for name, link in found.items() if name.startswith("veth")) == [
        bridge + 2,
        bridge + 4,
    ]


# ---- addresses -------------------------------------------------------------------------------------------------


def test_the_lowest_free_address_is_next(minirun):
    """The sequence that was seen with a real Docker."""
    names = iter(("xa", "xb", "xc"))
    assert [address(minirun.begin("alpine", "sleep", "100", name=name)) for name in names] == [
        "172.17.0.2",
        "172.17.0.3",
        "172.17.0.4",
    ]
    minirun.ok("rm", "-f", "xa")
    assert address(minirun.begin("alpine", "sleep", "100", name="xd")) == "172.17.0.2"
    minirun.ok("stop", "-t", "0", "xb")
    assert minirun.ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "xb") == ""
    assert address(minirun.begin("alpine", "sleep", "100", name="xe")) == "172.17.0.3"
    minirun.ok("start", "xb")
    assert minirun.ok("exec", "xb", "hostname", "-i") == "172.17.0.5"
    minirun.ok("restart", "-t", "0", "xc")
    assert minirun.ok("exec", "xc", "hostname", "-i") == "172.17.0.4"
    assert minirun.ok("exec", "xc", "cat", "/sys/class/net/eth0/address") == "02:42:ac:11:00:04"


def test_thirty_at_once_get_thirty_addresses(minirun, host):
    processes = [minirun.popen("run", "-d", "--name", f"p{number}", "alpine", "sleep", "1000") for number in range(30)]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, ""), err
    wanted = {f"172.17.0.{number}" for number in range(2, 32)}
    assert set(host.addresses()) == wanted
    ids = host.containers()
    assert len(ids) == 30
    found = set()
    from_kernel = host.run("sh", "-c", "ip -j -4 addr show", check=True)
    assert json.loads(from_kernel.stdout)
    for pid in {pid for pid, name in host.pids().items() if name == "sleep" and pid not in host.pids_before}:
        shown = json.loads(
            host.run("nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-j", "-4", "addr", "show", "dev", "eth0").stdout
        )
        found |= {info["local"] for link in shown for info in link.get("addr_info", [])}
    assert found == wanted
    macs = {link["address"] for link in ip(host, "link") if link["ifname"].startswith("veth")}
    assert len(macs) == 30


def test_a_bridge_that_was_deleted_comes_back(minirun, host):
    minirun.ok("run", "--rm", "alpine", "true")
    host.run("ip", "link", "del", "minirun0", check=True)
    assert "1 packets received" in minirun.sh("ping -c 1 -W 2 198.51.100.1")


def test_first_starts_at_the_same_moment(new_host):
    """Two commands that both find no bridge: one of them builds it, and both containers are on it."""
    results = []

    def start(number):
        results.append(new_host.minirun("run", "--rm", "alpine", "ping", "-c", "1", "-W", "2", "172.17.0.1"))

    threads = [threading.Thread(target=start, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.code for result in results] == [0] * 4, results
    assert new_host.run("iptables", "-S").stdout == CHAINS
    time.sleep(0)
