"""A container on the default network: what is inside it, what is on the host, who reaches whom, and what is left."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from harness.network_host import DATA, RUN, Failed, NetworkHost
from minirun import trace
from minirun.kernel.netlink import links
from minirun.network import gc
from minirun.network.bridge import endpoint as bridge_endpoint
from minirun.network.bridge import netns
from minirun.network.controller import Controller

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and iptables need root")


@pytest.fixture
def host():
    with NetworkHost() as made:
        yield made


@pytest.fixture
def world():
    with NetworkHost(outside=True) as made:
        yield made


def connect(pid: int, name: str = "a", **words) -> dict:
    return bridge_endpoint.connect(Controller(DATA, RUN).ensure_default(), identity(name), pid, words)


def identity(name: str) -> str:
    return (name * 64)[:64]


def disconnect(endpoint: dict, **words) -> None:
    bridge_endpoint.disconnect(RUN, endpoint, **words)


def files(host) -> list[str]:
    """The network's reservations and old cables."""
    return sorted(host.text("sh", "-c", f"cd {RUN}/networks/bridge && find . -type f ! -name network.json").split())


# ---- what is made ----------------------------------------------------------------------------------------------

INSIDE_ROUTES = """\
unicast default via 172.17.0.1 dev eth0 table main proto boot scope global
unicast 172.17.0.0/16 dev eth0 table main proto kernel scope link src 172.17.0.2
local 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1
local 127.0.0.1 dev lo table local proto kernel scope host src 127.0.0.1
broadcast 127.255.255.255 dev lo table local proto kernel scope link src 127.0.0.1
local 172.17.0.2 dev eth0 table local proto kernel scope host src 172.17.0.2
broadcast 172.17.255.255 dev eth0 table local proto kernel scope link src 172.17.0.2
"""


def test_inside_the_container(host):
    pid = host.namespace()
    host.call(connect, pid)
    links = host.links(pid)
    assert list(links) == ["lo", "eth0"]
    lo, eth0 = links["lo"], links["eth0"]
    assert set(lo["flags"]) == {"LOOPBACK", "UP", "LOWER_UP"}
    assert [(a["local"], a["prefixlen"], a["scope"]) for a in lo["addr_info"]] == [("127.0.0.1", 8, "host")]  # no ::1
    assert set(eth0["flags"]) == {"BROADCAST", "MULTICAST", "UP", "LOWER_UP"}
    assert (eth0["ifindex"], eth0["link_index"], eth0["link_netnsid"]) == (3, 4, 0)
    assert (eth0["mtu"], eth0["qdisc"], eth0.get("txqlen", 0), eth0["promiscuity"]) == (1500, "noqueue", 0, 0)
    assert (eth0["address"], eth0["linkinfo"]["info_kind"]) == ("02:42:ac:11:00:02", "veth")
    assert [(a["local"], a["prefixlen"], a["broadcast"], a["scope"]) for a in eth0["addr_info"]] == [
        ("172.17.0.2", 16, "172.17.255.255", "global")
    ]
    routes = host.within(pid, "ip", "-d", "route", "show", "table", "all")
    assert [line.split() for line in routes.splitlines()] == [line.split() for line in INSIDE_ROUTES.splitlines()]
    assert host.within(pid, "ip", "-6", "route", "show", "table", "all") == ""
    assert host.within(pid, "ip", "neigh") == ""
    for where in ("all", "default", "lo", "eth0"):
        assert host.sysctl(f"ipv6/conf/{where}/disable_ipv6", pid) == "1"
    assert host.sysctl("ipv4/ip_forward", pid) == "0"
    kind = host.within(
        pid, "sh", "-c", "mount -t sysfs s /mnt && cat /mnt/class/net/eth0/addr_assign_type; umount /mnt"
    )
    assert kind.strip() == "3"


def test_on_the_host(host):
    pids = host.namespace(), host.namespace()
    rules = host.call(Controller(DATA, RUN).ensure_default) and host.rules()
    for number, pid in enumerate(pids):
        host.call(connect, pid, "ab"[number])
    links = host.links()
    near = [link for link in links.values() if link["ifname"].startswith("veth")]
    assert [(link["ifindex"], link["link_index"], link["link_netnsid"]) for link in near] == [(4, 3, 0), (6, 5, 1)]
    for link in near:
        assert re.fullmatch("veth[0-9a-f]{7}", link["ifname"])
        assert set(link["flags"]) == {"BROADCAST", "MULTICAST", "UP", "LOWER_UP"}
        assert (link["master"], link["mtu"], link["qdisc"], link.get("txqlen", 0)) == ("minirun0", 1500, "noqueue", 0)
        assert (link["promiscuity"], int(link["address"][:2], 16) & 3) == (1, 2)  # locally administered, one station
        port = link["linkinfo"]["info_slave_data"]
        assert (port["state"], port["hairpin"], port["isolated"], port["cost"]) == ("forwarding", False, False, 2)
    assert [link["linkinfo"]["info_slave_data"]["id"] for link in near] == ["0x8001", "0x8002"]
    assert "LOWER_UP" in links["minirun0"]["flags"]
    assert (
        host.text("ip", "route").split() == "172.17.0.0/16 dev minirun0 proto kernel scope link src 172.17.0.1".split()
    )
    assert host.sysctl("ipv6/conf/all/disable_ipv6") == "0"  # the switch was the container's, not ours
    assert host.rules() == rules  # a container without published ports touches no rule
    for name in ("minirun0", *(link["ifname"] for link in near)):
        host.wait_for(
            lambda name=name: any(a["local"].startswith("fe80::") for a in host.links()[name]["addr_info"]),
            "the kernel's own IPv6 address",
        )


def test_the_endpoint_says_it_all(host):
    endpoint = host.call(connect, host.namespace())
    assert endpoint.pop("HostInterface") in host.links()
    for key in ("NetworkID", "EndpointID"):
        assert re.fullmatch("[0-9a-f]{64}", endpoint.pop(key))
    assert endpoint == {
        "Network": "bridge",
        "ContainerID": identity("a"),
        "Gateway": "172.17.0.1",
        "IPAddress": "172.17.0.2",
        "IPPrefixLen": 16,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "MacAddress": "02:42:ac:11:00:02",
        "Interface": "eth0",
        "InterfaceIndex": 3,
        "Bridge": "minirun0",
    }


def test_a_mac_of_ones_own(host):
    pid = host.namespace()
    endpoint = host.call(lambda: connect(pid, MacAddress="02:11:22:33:44:55"))
    assert host.links(pid)["eth0"]["address"] == endpoint["MacAddress"] == "02:11:22:33:44:55"


def test_device_numbers_are_counted_on_and_leave_others_alone(host):
    first, second = host.namespace(), host.namespace()
    host.call(connect, first, "a")
    host.text("ip", "link", "add", "name", "br0", "index", "6", "type", "bridge")
    host.call(connect, second, "b")
    assert host.links(second)["eth0"]["ifindex"] == 7
    assert host.links()["br0"]["ifindex"] == 6


def test_network_none(host):
    pid = host.namespace()
    host.call(bridge_endpoint.set_up_loopback, pid)
    lo = host.links(pid)
    assert list(lo) == ["lo"] and "UP" in lo["lo"]["flags"]
    assert [a["local"] for a in lo["lo"]["addr_info"]] == ["127.0.0.1"]
    assert host.within(pid, "ip", "route") == ""


def test_the_told_shell_lines_make_the_same_container(host):
    pid = host.namespace()

    def told():
        Controller(DATA, RUN).ensure_default()
        lines: list[str] = []
        trace.listen(lambda kind, _call, line: lines.append(line) if kind == "action" else None)
        connect(pid)
        return lines

    lines = host.call(told)
    with NetworkHost() as twin:
        twin_pid = twin.namespace()
        twin.call(Controller(DATA, RUN).ensure_default)
        inside = False
        for line in lines:
            if line.startswith("nsenter --net=/proc/") and line.endswith("/ns/net"):  # our way in, and later out
                inside = not inside
            elif inside:
                twin.within(twin_pid, "sh", "-c", line)
            else:
                twin.text("sh", "-c", line.replace(f"/proc/{pid}/", f"/proc/{twin_pid}/"))
        assert twin.links(twin_pid) == host.links(pid)
        routes = ("ip", "-d", "route", "show", "table", "all")
        assert twin.within(twin_pid, *routes) == host.within(pid, *routes)
        assert [link for link in twin.links() if link.startswith("veth")] == [
            link for link in host.links() if link.startswith("veth")
        ]


# ---- who reaches whom ------------------------------------------------------------------------------------------

CLIENT = """
import socket, sys
print(socket.create_connection((sys.argv[1], 9000), timeout=5).recv(100).decode())
"""


def test_containers_reach_each_other_the_host_and_the_world(world):
    one, two = world.namespace(), world.namespace()
    world.call(connect, one, "a")
    world.call(connect, two, "b")

    def seen(pid: int, address: str) -> str:
        return world.within(pid, sys.executable, "-c", CLIENT, address).strip()

    with world.serving(*world.to_outside()), world.serving("nsenter", f"--net=/proc/{two}/ns/net"), world.serving():
        assert seen(one, "172.17.0.3") == "172.17.0.2"  # bridged: real address
        assert seen(one, "172.17.0.1") == "172.17.0.2"  # the host
        assert seen(one, "203.0.113.2") == "203.0.113.1"  # the world sees the host: MASQUERADE
        assert seen(two, "198.51.100.1") == "203.0.113.1"
        assert world.text(sys.executable, "-c", CLIENT, "172.17.0.3").strip() == "172.17.0.1"  # the host → container
    assert "ttl=63" in world.within(one, "ping", "-c1", "-W5", "203.0.113.2")
    assert "ttl=64" in world.within(one, "ping", "-c1", "-W5", "172.17.0.3")
    assert "lladdr 02:42:ac:11:00:03" in world.within(one, "ip", "neigh", "show", "172.17.0.3")
    if world.run("conntrack", "--version").returncode == 0:
        tracked = world.text("conntrack", "-L", "--src-nat")
        assert re.search(
            r"tcp .* src=172\.17\.0\.2 dst=203\.0\.113\.2 .* src=203\.0\.113\.2 dst=203\.0\.113\.1 ", tracked
        )


def test_the_world_does_not_reach_a_container_by_itself(world):
    pid = world.namespace()
    world.call(connect, pid)
    assert world.outside_run("ip", "route", "add", "172.17.0.0/16", "via", "203.0.113.1").returncode == 0
    assert world.outside_run("ping", "-c1", "-W1", "172.17.0.2").returncode != 0
    assert world.outside_run("ping", "-c1", "-W1", "172.17.0.1").returncode == 0  # INPUT is open, as with Docker


# ---- many at once ----------------------------------------------------------------------------------------------


def test_thirty_at_once_on_a_host_without_the_bridge(host):
    pids = [host.namespace() for _ in range(30)]
    begun = [host.start(connect, pid, f"{number:02}") for number, pid in enumerate(pids)]
    endpoints = [host.answer(one) for one in begun]
    assert {endpoint["IPAddress"] for endpoint in endpoints} == {f"172.17.0.{number}" for number in range(2, 32)}
    assert len({endpoint["NetworkID"] for endpoint in endpoints}) == 1
    indexes = sorted(link["ifindex"] for link in host.links().values() if link["ifname"].startswith("veth"))
    assert indexes == list(range(4, 64, 2))
    rules = [line for line in host.rules().splitlines() if line.startswith("-A")]
    assert len(rules) == len(set(rules)) and len(rules) == 15
    for pid, endpoint in zip(pids, endpoints, strict=True):
        assert host.links(pid)["eth0"]["addr_info"][0]["local"] == endpoint["IPAddress"]
    for one in [host.start(disconnect, endpoint) for endpoint in endpoints]:
        host.answer(one)
    assert not [name for name in files(host) if name.startswith("./172")]


# ---- the end ---------------------------------------------------------------------------------------------------


def test_the_address_is_free_at_once_and_the_cable_goes_with_the_namespace(host):
    one, two = host.namespace(), host.namespace()
    first = host.call(connect, one, "a")
    host.end(one)
    host.call(disconnect, first)
    second = host.call(connect, two, "b")
    assert second["IPAddress"] == first["IPAddress"]
    host.call(disconnect, first)  # again: what is another's by now is not touched
    assert "./172.17.0.2" in files(host)
    host.wait_for(lambda: first["HostInterface"] not in host.links(), "the kernel pulls the cable out")
    host.call(connect, host.namespace(), "c")
    assert files(host) == ["./172.17.0.2", "./172.17.0.3"]  # the old cable is forgotten


def test_nothing_is_left_after_the_last_one(host):
    host.call(Controller(DATA, RUN).ensure_default)
    before = host.rules(), list(host.links())
    pid = host.namespace()
    endpoint = host.call(connect, pid)
    host.end(pid)
    host.call(disconnect, endpoint)
    host.wait_for(lambda: list(host.links()) == before[1], "the cable goes")
    assert host.rules() == before[0]
    host.wait_for(lambda: host.text("ip", "route").strip().endswith("linkdown"), "the bridge has no carrier")


def test_disconnect_of_a_living_container_pulls_the_cable_out_now(host):
    pid = host.namespace()
    endpoint = host.call(connect, pid)
    host.call(lambda: disconnect(endpoint, unplug=True))
    assert list(host.links(pid)) == ["lo"]
    assert files(host) == []
    host.call(lambda: disconnect(endpoint, unplug=True))


def test_disconnect_after_the_whole_run_directory_is_gone(host):
    endpoint = host.call(connect, host.namespace())
    host.text("rm", "-r", RUN)
    host.call(disconnect, endpoint)


def test_a_cable_whose_namespace_somebody_holds_open_is_pulled_out_later(host):
    one, two = host.namespace(), host.namespace()
    endpoint = host.call(connect, one, "a")
    host.text("sh", "-c", f"touch /run/held && mount --bind /proc/{one}/ns/net /run/held")
    host.end(one)
    host.call(disconnect, endpoint)
    host.text("sleep", "0.1")
    cable = endpoint["HostInterface"]
    assert cable in host.links()
    left = host.call(lambda: [str(leftover) for leftover in gc.leftovers(RUN, set())])
    assert left == [f"link {cable} remains of container aaaaaaaaaaaa, which is gone"]
    host.call(connect, two, "b")
    assert cable in host.links()  # it may be going at this very moment: patience

    def without_patience():
        bridge_endpoint.VETH_GRACE = 0
        connect(host_pid, "c")

    host_pid = host.namespace()
    host.call(without_patience)
    assert cable not in host.links()
    assert files(host) == ["./172.17.0.2", "./172.17.0.3"]


# ---- what belongs to nobody ------------------------------------------------------------------------------------


def test_leftovers_of_the_dead_are_found_and_cleared_and_the_living_left_alone(host):
    pids = {name: host.namespace() for name in "abc"}
    endpoints = {name: host.call(connect, pid, name) for name, pid in pids.items()}
    host.text("touch", f"{RUN}/networks/bridge/172.17.0.9")  # whose taker was killed before he signed
    living = {identity("b")}
    found = host.call(lambda: [str(leftover) for leftover in gc.leftovers(RUN, living)])
    assert found == [
        "address 172.17.0.2 is held for container aaaaaaaaaaaa, which is gone",
        "address 172.17.0.4 is held for container cccccccccccc, which is gone",
        "address 172.17.0.9 is held for nobody",
    ]
    for _ in range(2):
        host.call(lambda: gc.clear(RUN, gc.leftovers(RUN, living)))
        assert files(host) == ["./172.17.0.3"]
        cables = {link for link in host.links() if link.startswith("veth")}
        assert cables == {endpoints["b"]["HostInterface"]}
    assert list(host.links(pids["b"])) == ["lo", "eth0"]
    assert host.call(lambda: gc.leftovers(RUN, living)) == []


def test_an_address_that_found_a_new_owner_meanwhile_is_not_cleared(host):
    endpoint = host.call(connect, host.namespace(), "a")

    def stale():
        found = gc.leftovers(RUN, set())
        disconnect(endpoint)
        bridge_endpoint.create(Controller(DATA, RUN).ensure_default(), identity("b"))
        gc.clear(RUN, found)

    host.call(stale)
    assert "./172.17.0.2" in files(host)


def test_no_leftovers_where_there_never_was_a_network(host):
    assert host.call(lambda: gc.leftovers(RUN, set())) == []


# ---- failures --------------------------------------------------------------------------------------------------


def state(host) -> tuple:
    return list(host.links()), host.rules(), [name for name in files(host) if "172" in name]


@pytest.mark.parametrize("what", ["no such process", "no namespace", "no way out", "name taken", "bridge gone"])
def test_a_failed_connect_leaves_nothing(host, what):
    pid = host.namespace()
    host.call(Controller(DATA, RUN).ensure_default)
    if what == "name taken":
        host.within(pid, "ip", "link", "add", "eth0", "type", "bridge")

    def fail():
        network = Controller(DATA, RUN).ensure_default()
        target = {"no such process": 4194303, "no namespace": "/etc/hostname"}.get(what, pid)
        if what == "no way out":
            network.bridge.gateway = "198.51.100.1"
        if what == "bridge gone":
            network.bridge.name = "nosuch0"
        bridge_endpoint.connect(network, identity("a"), target)

    before = state(host)
    with pytest.raises(Failed) as caught:
        host.call(fail)
    assert caught.value.kind == "KernelError"
    assert str(caught.value).startswith(
        {
            "no such process": "open /proc/4194303/ns/net: no such file or directory",
            "no namespace": "setns --net: invalid argument",
            "no way out": "RTM_NEWROUTE default via 198.51.100.1: network is unreachable",
            "name taken": "RTM_NEWLINK veth",
            "bridge gone": "if_nametoindex nosuch0: no such device",
        }[what]
    )
    assert state(host) == before


def test_a_number_that_another_program_was_given_meanwhile(host):
    pid = host.namespace()

    def race():
        network = Controller(DATA, RUN).ensure_default()
        endpoint = bridge_endpoint.create(network, identity("a"))
        with links.Socket() as netlink:
            netlink.do(links.new_bridge(endpoint["InterfaceIndex"] + 1, name="br0"))
        bridge_endpoint.join(network, endpoint, pid)
        return endpoint

    endpoint = host.call(race)
    assert host.links(pid)["eth0"]["ifindex"] == endpoint["InterfaceIndex"] == 5


def test_the_network_is_full(host):
    host.text("sh", "-c", "ip link add minirun0 type bridge && ip addr add 10.9.9.1/30 dev minirun0")
    host.call(connect, host.namespace(), "a")
    words = r"^no available IPv4 addresses on this network's address pools: bridge \([0-9a-f]{64}\)$"
    with pytest.raises(Failed, match=words):
        host.call(connect, host.namespace(), "b")


def test_after_an_error_we_are_at_home(host):
    pid = host.namespace()

    def fail():
        home = os.readlink("/proc/self/ns/net")

        def first():
            raise ValueError(os.readlink("/proc/self/ns/net"))

        with links.Netns(f"/proc/{pid}/ns/net") as other:
            try:
                links.open_in(other, first=first)
            except ValueError as error:
                return home, str(error), os.readlink("/proc/self/ns/net")

    home, there, after = host.call(fail)
    assert there == os.readlink(f"/proc/{pid}/ns/net") != home == after


# ---- names under /run/netns ------------------------------------------------------------------------------------


def test_a_namespace_gets_a_name_for_ip_netns(host):
    pid = host.namespace()
    host.call(connect, pid)
    inode = host.call(netns.inode, pid)
    assert host.call(netns.publish, pid, "web") is True
    assert host.text("ip", "netns", "list").split()[0] == "web"
    assert "172.17.0.2" in host.text("ip", "netns", "exec", "web", "ip", "addr")
    assert str(pid) in host.text("ip", "netns", "pids", "web").split()
    host.text("ip", "netns", "add", "RED")  # both kinds live side by side
    assert host.call(netns.withdraw, "web", inode) is True
    assert host.call(netns.withdraw, "web", inode) is False
    assert host.text("ip", "netns", "list").split()[0] == "RED"
    assert host.text("ls", "/run/netns").split() == ["RED"]


def test_a_name_that_the_user_took_is_not_touched(host):
    pid = host.namespace()
    host.text("ip", "netns", "add", "web")
    taken = host.text("stat", "-c", "%i", "/run/netns/web")
    assert host.call(netns.publish, pid, "web") is False
    assert host.call(netns.withdraw, "web", host.call(netns.inode, pid)) is False
    assert host.text("stat", "-c", "%i", "/run/netns/web") == taken


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "../etc/x"])
def test_a_name_that_is_no_file_name_is_not_published(host, name):
    assert host.call(netns.publish, host.namespace(), name) is False


def test_a_named_namespace_ends_when_its_name_is_taken_away(host):
    pid = host.namespace()
    endpoint = host.call(connect, pid)
    inode = host.call(netns.inode, pid)
    host.call(netns.publish, pid, "web")
    host.end(pid)
    host.text("sleep", "0.1")
    assert endpoint["HostInterface"] in host.links()  # the name holds it
    host.call(netns.withdraw, "web", inode)
    host.wait_for(lambda: endpoint["HostInterface"] not in host.links(), "the kernel takes the namespace down")


# ---- the hot path ----------------------------------------------------------------------------------------------


def test_the_network_floor_imports_nothing_heavy():
    script = """
import sys
sys.path[:0] = sys.argv[1:]
from minirun.network import controller
from minirun.network.bridge import netns
from minirun.network.dns import resolv_conf
heavy = ("re json typing dataclasses enum pathlib subprocess signal socket selectors contextlib functools "
         "collections shutil tempfile logging argparse pyroute2 click asyncio importlib.metadata ipaddress "
         "minirun.network.iptables.apply")
print([name for name in heavy.split() if name in sys.modules])
"""
    import prctl

    import minirun

    paths = [os.path.dirname(os.path.dirname(minirun.__file__)), os.path.dirname(prctl.__file__)]
    done = subprocess.run(["/usr/bin/python3", "-IS", "-c", script, *paths], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_start_moves_no_device_deletes_none_and_runs_no_program(host):
    """Each of these waits for a grace period of the kernel, or starts a process: some 20 ms, on every start."""
    host.call(Controller(DATA, RUN).ensure_default)
    pid = host.namespace()

    def told():
        calls: list[tuple[str, str]] = []
        trace.listen(lambda kind, call, line: calls.append((call, line)) if kind == "action" else None)
        disconnect(connect(pid))
        return calls

    calls = host.call(told)
    assert [call for call, _ in calls] == [
        "setns(2)",
        "write(2)",
        "setns(2)",
        "RTM_SETLINK",
        "RTM_NEWLINK",
        "RTM_NEWADDR",
        "RTM_SETLINK",
        "RTM_NEWROUTE",
    ]
    assert not [line for _, line in calls if "link set" in line and "netns" in line]
