"""`compare`, against what `ip`, `iptables`, `sysctl` and /proc say themselves: it is not checked against itself."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest


def findings(minirun, *words, code=1):
    """(topic, name, aspect, A, B) of all that is not the same."""
    result = minirun("compare", "--json", *words)
    assert (result.code, result.err) == (code, ""), result
    data = json.loads(result.out)
    assert data["equal"] is (code == 0)
    return {
        (topic, found["name"], found["aspect"], found["A"], found["B"])
        for topic, part in data["topics"].items()
        for found in part["findings"]
    }


def side_a(minirun, *words):
    """Topic → name → aspect → value (or the lines, under ""), of A."""
    data = json.loads(minirun("compare", "--json", "--all", *words).out)
    seen = {}
    for topic, part in data["topics"].items():
        for found in part["findings"]:
            thing = seen.setdefault(topic, {}).setdefault(found["name"], {})
            if found["aspect"]:
                thing[found["aspect"]] = found["A"]
            else:
                thing.setdefault("", []).append(found["A"])
    return seen


@pytest.fixture
def pair(minirun):
    """Two equal containers."""
    return minirun.begin("alpine", "sleep", "600"), minirun.begin("alpine", "sleep", "600", name="c2")


def cable_of(host, container):
    """The end on the host of a container's cable, as `ip` has it."""
    number = json.loads(
        host.run(
            "nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", "-j", "link", "show", "eth0", check=True
        ).stdout
    )[0]["link_index"]
    links = json.loads(host.run("ip", "-j", "link", check=True).stdout)
    return next(link["ifname"] for link in links if link["ifindex"] == number)


def test_two_equal_containers_are_equal(minirun, pair):
    result = minirun("compare", "minirun:c1", "minirun:c2")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("A = minirun:c1\nB = minirun:c2\nlinks: ")
    assert re.search(r"\nequal: \d{3,} the same\n$", result.out)
    assert not re.search("different|only in", result.out)


#: What is done to c2, with {in} for "in its network namespace", {mnt} for "in its mount namespace"; what must be found.
CHANGES = (
    (
        "{in} ip link set eth0 mtu 1400",
        {("links", "eth0", "mtu", "1500", "1400"), ("sysctls", "net.ipv6.conf.eth0.mtu", "=", "1500", "1400")},
    ),
    (
        "{in} ip addr add 192.0.2.7/24 dev eth0",
        {
            ("addresses", "eth0 inet 192.0.2.7/24"),
            ("routes", "main eth0 192.0.2.0/24"),
            ("routes", "local eth0 192.0.2.7"),
            ("routes", "local eth0 192.0.2.255"),
        },
    ),
    ("{in} ip route add 198.51.100.0/24 via 172.17.0.1", {("routes", "main eth0 198.51.100.0/24")}),
    (
        "{in} ip route replace default via 172.17.0.9",
        {("routes", "main eth0 default", "via", "172.17.0.1", "172.17.0.9")},
    ),
    ("{in} ip route add 203.0.113.0/24 dev eth0 table 77", {("routes", "77 eth0 203.0.113.0/24")}),
    (
        "{in} ip neigh add 172.17.0.77 lladdr 02:00:00:00:00:77 dev eth0 nud permanent",
        {("neighbours", "eth0 172.17.0.77")},
    ),
    ("ip link set {cable} type bridge_slave hairpin on", {("ports", "host <cable of eth0>", "mode", "0", "1")}),
    ("ip route add 198.51.100.7/32 dev {cable}", {("routes", "host main {cable} 198.51.100.7")}),
    (
        "iptables -I MINIRUN-USER -d {address} -j DROP",
        {("rules", "host filter MINIRUN-USER", "", "", "-A MINIRUN-USER -d {address}/32 -j DROP")},
    ),
    ("iptables -A MINIRUN-USER -s 198.51.100.9 -j DROP", set()),  # both meet this one
    (
        "{in} iptables -A OUTPUT -d 192.0.2.1 -j DROP",
        {("rules", "filter OUTPUT", "", "", "-A OUTPUT -d 192.0.2.1/32 -j DROP")},
    ),
    ("{in} iptables -P INPUT DROP", {("rules", "filter INPUT", "", "", "-P INPUT DROP")}),
    ("{in} ip6tables -A INPUT -j DROP", {("rules", "ip6 filter INPUT", "", "", "-A INPUT -j DROP")}),
    ("{in} sysctl -qw net.ipv4.conf.eth0.rp_filter=2", {("sysctls", "net.ipv4.conf.eth0.rp_filter", "=", "0", "2")}),
    (
        "sysctl -qw net.ipv4.conf.{cable}.proxy_arp=1",
        {("sysctls", "host net.ipv4.conf.<cable of eth0>.proxy_arp", "=", "0", "1")},
    ),
    ("{mnt} sh -c 'echo 192.0.2.9 nine >> /etc/hosts'", {("files", "/etc/hosts", "", "", "192.0.2.9 nine")}),
    ("{mnt} chmod 600 /etc/resolv.conf", {("files", "/etc/resolv.conf itself", "mode", "-rw-r--r--", "-rw-------")}),
    (
        "{mnt} mount -t tmpfs -o size=4k mine /mnt",
        {("mounts", "/mnt"), ("mounts", "/mnt options"), ("mounts", "/mnt super")},
    ),
    ("echo 67108864 > {memory}", {("limits", "memory.limit", "is", "none", "67108864")}),
)


def test_each_difference_is_found_and_nothing_else(host, minirun, pair):
    _, other = pair
    words = {
        "in": f"nsenter --net=/proc/{other.pid}/ns/net",
        "cable": cable_of(host, other),
        "mnt": f"nsenter --target {other.pid} --mount",
        "memory": memory_limit(host, other),
        "address": minirun.ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "c2"),
    }
    wanted = set()
    for script, expected in CHANGES:
        assert host.run("sh", "-ec", script.format(**words)).stderr == ""
        wanted |= {tuple(word.format(**words) for word in finding) for finding in expected}
        found = findings(minirun, "minirun:c1", "minirun:c2")
        assert abridged(found, wanted) == wanted, script
    host.run("iptables", "-F", "MINIRUN-USER", check=True)
    host.run("iptables", "-A", "MINIRUN-USER", "-j", "RETURN", check=True)


def abridged(found, wanted):
    """The findings, cut down to as many words as there are in what is wanted."""
    return {next((short for short in wanted if finding[: len(short)] == short), finding) for finding in found}


def memory_limit(host, container):
    """The file of a container's memory limit, as that host sees it."""
    path = next(
        path
        for directory in container.cgroups()
        for path in (directory / "memory.limit_in_bytes", directory / "memory.max")
        if path.exists()
    )
    return str(path).replace(f"/{host.name}/", "/")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ["--cap-add", "NET_ADMIN"],
            {("rights", name, "", "", "NET_ADMIN") for name in ("permitted", "effective", "bounding")},
        ),
        (["--security-opt", "no-new-privileges"], {("rights", "no_new_privs", "is", "off", "on")}),
        (
            ["-m", "64m", "--pids-limit", "50"],
            {("limits", "memory.limit"), ("limits", "memory.swap"), ("limits", "pids.limit", "is", "none", "50")},
        ),
        (["--cpus", "0.5"], {("limits", "cpu.quota", "is", "none", "50000")}),
        (["--hostname", "box"], {("files", "/etc/hostname"), ("files", "/etc/hosts")}),
        (["--add-host", "nine:192.0.2.9"], {("files", "/etc/hosts", "", "", "192.0.2.9\tnine")}),
        (
            ["--read-only"],
            {
                ("mounts", "/ options", "", "rw", "ro"),
                ("mounts", "/etc/hosts options", "", "rw", "ro"),
                ("mounts", "/etc/hostname options", "", "rw", "ro"),
                ("mounts", "/etc/resolv.conf options", "", "rw", "ro"),
            },
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_option_is_seen(minirun, options, expected):
    minirun.begin("alpine", "sleep", "600")
    minirun.begin(*options, "alpine", "sleep", "600", name="c2")
    found = findings(minirun, "minirun:c1", "minirun:c2")
    assert abridged(found, expected) == expected


# ---- A is what the tools say -----------------------------------------------------------------------------------


def test_links_addresses_and_routes_are_those_of_ip(host, minirun, pair):
    def ip(*words, inside=True):
        enter = ["nsenter", f"--net=/proc/{pair[0].pid}/ns/net"] if inside else []
        return json.loads(host.run(*enter, "ip", "-d", "-j", *words, check=True).stdout)

    seen = side_a(minirun, "--only", "links,addresses,routes,ports", "minirun:c1", "minirun:c2")
    cable = cable_of(host, pair[0])
    links = {
        **{link["ifname"]: link for link in ip("link")},
        **{
            name: link
            for link in ip("link", inside=False)
            for name in [f"host {link['ifname']}".replace(cable, "<cable of eth0>")]
            if link["ifname"] in (cable, "minirun0")
        },
    }
    assert seen["links"].keys() == links.keys() == {"lo", "eth0", "host minirun0", "host <cable of eth0>"}
    for name, link in links.items():
        ours = seen["links"][name]
        for word, key in (
            ("mtu", "mtu"),
            ("qdisc", "qdisc"),
            ("state", "operstate"),
            ("link", "address"),
            ("brd", "broadcast"),
            ("promiscuity", "promiscuity"),
            ("minmtu", "min_mtu"),
            ("maxmtu", "max_mtu"),
            ("numtxqueues", "num_tx_queues"),
            ("master", "master"),
            ("gso_max_size", "gso_max_size"),
            ("addrgenmode", "inet6_addr_gen_mode"),
        ):
            assert ours.get(word, "") == str(link.get(key, "")), (name, word)
        assert ours["qlen"] == str(link.get("txqlen", 0))
        # RUNNING says what LOWER_UP and the operational state say, and `ip` does not print it.
        assert set(ours["flags"].split()) - {"RUNNING"} == set(link["flags"])
    bridge = links["host minirun0"]["linkinfo"]["info_data"]
    port = links["host <cable of eth0>"]["linkinfo"]["info_slave_data"]
    assert seen["links"]["host minirun0"]["bridge bridge_id"].split() == ["8000", links["host minirun0"]["address"]]
    for key in ("forward_delay", "hello_time", "ageing_time", "stp_state", "vlan_filtering", "mcast_snooping"):
        assert seen["links"]["host minirun0"][f"bridge {key}"] == str(int(bridge[key]))
    assert seen["ports"]["host <cable of eth0>"]["mode"] == str(int(port["hairpin"]))
    assert seen["ports"]["host <cable of eth0>"]["cost"] == str(port["cost"])
    inside = {
        f"{link['ifname']} {address['family']} {address['local']}/{address['prefixlen']}"
        for link in ip("addr")
        for address in link["addr_info"]
    }
    assert "eth0 inet 172.17.0.2/16" in inside
    # c2 has another address on the same bridge, and so the thing is called by what it is
    assert {name for name in seen["addresses"] if not name.startswith("host ")} == {
        name.replace("172.17.0.2", "<address of eth0>") for name in inside
    }
    outside = {
        f"host {link['ifname']} inet {address['local']}/{address['prefixlen']}"
        for link in ip("addr", inside=False)
        if link["ifname"] == "minirun0"
        for address in link["addr_info"]
        if address["family"] == "inet"
    }
    assert outside == {name for name in seen["addresses"] if name.startswith("host ") and " inet " in name}
    routes = {
        f"{route.get('table', 'main')} {route['dev']} {route['dst']}" for route in ip("route", "show", "table", "all")
    }
    assert {name for name in seen["routes"] if not name.startswith("host ")} == {
        name.replace("172.17.0.2", "<address of eth0>") for name in routes
    }
    assert seen["routes"]["main eth0 default"]["via"] == "172.17.0.1"


def test_sysctls_rules_and_files_are_those_of_the_tools(host, minirun, pair):
    enter = ["nsenter", f"--net=/proc/{pair[0].pid}/ns/net"]
    host.run(*enter, "iptables", "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", "53", "-j", "ACCEPT", check=True)
    seen = side_a(minirun, "--only", "sysctls,rules,files", "minirun:c1", "minirun:c2")
    told = dict(
        line.split(" = ", 1)
        for line in host.run(*enter, "sysctl", "-a").stdout.splitlines()
        if line.startswith("net.") and " = " in line
    )
    counting = {"net.netfilter.nf_conntrack_count", "net.netfilter.nf_conntrack_buckets", "net.ipv4.tcp_fastopen_key"}
    old = ("base_reachable_time", "retrans_time")  # sysctl(8) does not show them: there are newer ones, with _ms
    inside = {
        name: thing["="]
        for name, thing in seen["sysctls"].items()
        if not name.startswith("host ") and not name.endswith(old)
    }
    assert inside == {name: " ".join(value.split()) for name, value in told.items() if name not in counting}
    assert seen["rules"]["nat OUTPUT"][""] == ["-A OUTPUT -p tcp -m tcp --dport 53 -j ACCEPT"]
    forward = host.run("iptables", "-S", "FORWARD", check=True).stdout.splitlines()
    assert seen["rules"]["host filter FORWARD"][""] == forward  # there is nobody else on this host
    for path in ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf"):
        assert seen["files"].get(path, {}).get("", []) == minirun.ok("exec", "c1", "cat", path).splitlines()


def test_namespaces_mounts_and_rights_are_those_of_proc(host, minirun, pair):
    pid = pair[0].pid
    seen = side_a(minirun, "--only", "namespaces,mounts,rights", "minirun:c1", "host")
    for name, thing in seen["namespaces"].items():
        own, shared = (host.run("readlink", f"/proc/{who}/ns/{name}").stdout for who in (pid, "self"))
        assert thing["whose"] == ("the host's" if own == shared else "its own"), name
    points = [line.split()[4] for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    kept = {name for name, thing in seen["mounts"].items() if thing.get("type") or thing.get("", [""])[0]}
    assert set(points) <= kept
    status = Path(f"/proc/{pid}/status").read_text()
    effective = int(re.search(r"CapEff:\t(\w+)", status)[1], 16)
    assert sum(bool(line) for line in seen["rights"]["effective"][""] if line) == bin(effective).count("1") == 14
    assert seen["rights"]["user"]["groups"].split() == re.search(r"Groups:\t(.*)", status)[1].split()


# ---- words -----------------------------------------------------------------------------------------------------


def test_a_process_is_the_container_that_it_belongs_to(minirun, pair):
    assert findings(minirun, f"pid:{pair[0].pid}", "minirun:c1", code=0) == set()
    assert findings(minirun, "host", "host", code=0) == set()
    found = findings(minirun, "--only", "namespaces", "host", f"pid:{pair[0].pid}")
    assert ("namespaces", "net", "whose", "the host's", "its own") in found


def test_two_namespaces_made_by_hand(host, minirun):
    """RED and BLUE of the course: what the kernel drew by lot is no difference, what a person chose is one."""
    host.run(
        "sh",
        "-ec",
        "ip netns add RED; ip netns add BLUE; ip link add br0 type bridge; ip link set br0 up; "
        "for name in RED BLUE; do ip link add to$name type veth peer name eth0 netns $name; "
        "ip link set to$name master br0 up; ip -n $name link set eth0 up; done; "
        "ip -n RED addr add 192.0.2.1/24 dev eth0; ip -n BLUE addr add 192.0.2.2/24 dev eth0",
        check=True,
    )
    sleepers = [
        host.popen("ip", "netns", "exec", name, "sleep", "60", stdout=subprocess.DEVNULL) for name in ("RED", "BLUE")
    ]
    try:
        words = [f"pid:{sleeper.pid}" for sleeper in sleepers]
        found = findings(minirun, "--only", "links,addresses,routes,ports,sysctls", *words)
        assert found == {
            ("addresses", "eth0 inet", "192.0.2.1/24", "192.0.2.1/24", "192.0.2.2/24"),
            ("routes", "local eth0", "192.0.2.1", "192.0.2.1", "192.0.2.2"),
            *(
                ("routes", f"{name}", "src", "192.0.2.1", "192.0.2.2")
                for name in ("main eth0 192.0.2.0/24", "local eth0 192.0.2.1", "local eth0 192.0.2.255")
            ),
        }
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()
        host.run("sh", "-c", "ip netns del RED; ip netns del BLUE; ip link del br0")


def test_only_and_all(minirun, pair):
    page = minirun.ok("compare", "--only", "links,rights", "--only", "files", "--all", "minirun:c1", "minirun:c2")
    assert re.findall(r"^(\w+): \d+ the same$", page, re.M) == ["links", "files", "rights", "equal"]
    assert re.search(r"^  = eth0 mtu +1500 +1500$", page, re.M)


WORDS = "cannot be looked at: expected minirun:NAME, docker:NAME, pid:N or host"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["podman:x", "host"], f"minirun: podman:x: {WORDS}\n"),
        (["c1", "host"], f"minirun: c1: {WORDS}\n"),
        (["host", "minirun:nosuch"], "minirun: minirun:nosuch: no such container\n"),
        (["minirun:made", "host"], "minirun: minirun:made: is not running (created)\n"),
        (["pid:x", "host"], "minirun: pid:x: expected a number after pid:\n"),
        (["pid:99999999", "host"], "minirun: pid:99999999: no such process\n"),
        (["host"], "\"minirun compare\" requires two things to compare, not 1\nSee 'minirun compare --help'.\n"),
        (
            ["--only", "links,nosuch", "host", "host"],
            'invalid argument "links,nosuch" for "--only" flag: no such topic: expected some of links, addresses, routes, '
            "neighbours, ports, rules, sysctls, files, namespaces, mounts, rights, limits\nSee 'minirun compare --help'.\n",
        ),
        (["--run", "--nosuch", "alpine"], "unknown flag: --nosuch\nSee 'minirun compare --help'.\n"),
    ],
)
def test_who_cannot_be_looked_at(minirun, words, complaint):
    if "minirun:made" in words:
        minirun.ok("create", "--name", "made", "alpine", "true")
    result = minirun("compare", *words)
    assert (result.code, result.out, result.err) == (125, "", complaint)


def test_docker_that_cannot_be_asked(host, minirun, tmp_path):
    def compare(path, *words):
        done = host.run("env", f"PATH={path}", "DOCKER_HOST=unix:///nowhere", *minirun.words, "compare", *words)
        assert done.returncode == 125
        return done.stderr

    assert (
        compare(tmp_path, "docker:web", "host")
        == "minirun: docker: program not found\nhint: apt-get install docker.io\n"
    )
    client = tmp_path / "docker"
    client.write_text('#!/bin/sh\necho "Cannot connect to $DOCKER_HOST." >&2; echo more >&2; exit 1\n')
    client.chmod(0o755)
    assert (
        compare(f"{tmp_path}:/bin", "docker:web", "host") == "minirun: docker:web: Cannot connect to unix:///nowhere.\n"
    )
    assert (
        compare(f"{tmp_path}:/bin", "--run", "alpine", "true")
        == "minirun: docker: Cannot connect to unix:///nowhere.\n"
    )


def test_one_that_ends_meanwhile(host, minirun):
    """Whatever the moment in which it ends: the answer is a comparison, or one line that says what happened."""
    container = minirun.begin("alpine", "sleep", "600")
    comparison = minirun.popen("compare", f"pid:{container.pid}", "host")
    minirun.ok("rm", "-f", "c1")
    out, err = comparison.communicate(timeout=60)
    assert comparison.returncode == 1 and out or (comparison.returncode, len(err.splitlines())) == (125, 1), err
