"""Networks of one's own: what `network connect` and the others change, asked of the kernel inside the containers.

The sequences and texts are those that a real Docker 20.10 has shown.
"""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import pytest

from harness.host import wait_for

SLEEP = ("alpine", "sleep", "1000")
STANDARD = 6  # lines in /etc/hosts before those of the container's own


@pytest.fixture
def nets(minirun):
    """Makes networks; they are removed after the test."""

    def make(*names, **options):
        for name in names:
            words = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", value)]
            minirun.ok("network", "create", *words, name)

    return make


def inside(container, *words):
    """`ip -j` in a container's network namespace."""
    host = container.minirun.machine
    done = host.run("nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", "-j", *words, check=True)
    return json.loads(done.stdout or "[]")


def default_route(container, *words):
    """(gateway, device) of the only default route; None when there is none."""
    routes = inside(container, *words, "route", "show", "default")
    assert len(routes) < 2, routes
    return (routes[0]["gateway"], routes[0]["dev"]) if routes else None


def links(container):
    return sorted(link["ifname"] for link in inside(container, "link") if link["ifname"] != "lo")


def hosts(container):
    return container.sh("cat /etc/hosts").splitlines()[STANDARD:]


def networks_of(minirun, name):
    return json.loads(minirun.ok("inspect", "-f", "{{json .NetworkSettings.Networks}}", name))


def firewall(host):
    """All rules, without the counters."""
    lines = host.run("iptables-save", check=True).stdout.splitlines()
    return [line for line in lines if line.startswith("-")]


# ---- the verbs -----------------------------------------------------------------------------------------------------


def test_a_network_is_made_listed_inspected_removed(minirun, host):
    network_id = minirun.ok("network", "create", "--label", "k=v", "foo")
    assert re.fullmatch(r"[0-9a-f]{64}", network_id)
    assert f"br-{network_id[:12]}" in host.links()
    assert minirun.ok("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}} {{.Labels}}").splitlines() == [
        "bridge bridge local ",
        "foo bridge local k=v",
        "host host local ",
        "none null local ",
    ]
    (shown,) = json.loads(minirun.ok("network", "inspect", "foo"))
    assert list(shown) == [
        "Name",
        "Id",
        "Created",
        "Scope",
        "Driver",
        "EnableIPv6",
        "IPAM",
        "Internal",
        "Attachable",
        "Ingress",
        "ConfigFrom",
        "ConfigOnly",
        "Containers",
        "Options",
        "Labels",
    ]
    assert (shown["Id"], shown["Containers"], shown["Labels"]) == (network_id, {}, {"k": "v"})
    assert json.loads(minirun.ok("inspect", "foo")) == [shown]
    assert minirun.ok("network", "rm", "foo") == "foo"
    assert f"br-{network_id[:12]}" not in host.links()
    assert network_id[:12] not in host.run("iptables-save").stdout


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["rm", "nosuch"], 1, "Error: No such network: nosuch\n"),
        (["rm", "bridge"], 1, "Error response from daemon: bridge is a pre-defined network and cannot be removed\n"),
        (["connect", "nosuch", "c1"], 1, "Error response from daemon: network nosuch not found\n"),
        (["connect", "foo", "nosuch"], 1, "Error response from daemon: No such container: nosuch\n"),
        (
            ["connect", "foo", "c1"],
            1,
            "Error response from daemon: endpoint with name c1 already exists in network foo\n",
        ),
        (
            ["connect", "host", "c1"],
            1,
            "Error response from daemon: container cannot be disconnected from host network or "
            "connected to host network\n",
        ),
        (
            ["connect", "none", "c1"],
            1,
            "Error response from daemon: container cannot be connected to multiple networks "
            "with one of the networks in private (none) mode\n",
        ),
        (
            ["connect", "--ip", "172.17.0.40", "bridge", "c1"],
            1,
            "Error response from daemon: user specified IP address is supported on user defined networks only\n",
        ),
        (
            ["connect", "--alias", "x", "bridge", "c1"],
            1,
            "Error response from daemon: network-scoped alias is supported "
            "only for containers in user defined networks\n",
        ),
        (["connect", "--ip", "bad", "sub", "c1"], 1, "Error response from daemon: Invalid IPv4 address: bad)\n"),
        (["connect", "--ip", "10.6.0.1", "sub", "c1"], 1, "Error response from daemon: Address already in use\n"),
        (["connect", "--driver-opt", "x", "bridge", "c1"], 1, "invalid key/value pair format in driver options\n"),
        (
            ["connect", "--link", "a:b:c", "bridge", "c1"],
            125,
            'invalid argument "a:b:c" for "--link" flag: bad format for '
            "links: a:b:c\nSee 'minirun network connect --help'.\n",
        ),
        (["disconnect", "nosuch", "c1"], 1, "Error response from daemon: network nosuch not found\n"),
        (["disconnect", "bridge", "nosuch"], 1, "Error response from daemon: No such container: nosuch\n"),
        (["disconnect", "-f", "bridge", "nosuch"], 1, "Error response from daemon: endpoint nosuch not found\n"),
        (
            ["disconnect", "bridge", "c1"],
            1,
            "Error response from daemon: container ID is not connected to network bridge\n",
        ),
        (["ls", "-f", "type=bad"], 1, "Error response from daemon: invalid filter: 'type'='bad'\n"),
        (["ls", "-f", "bogus=1"], 1, "Error response from daemon: Invalid filter 'bogus'\n"),
        (
            ["ls", "-f", "dangling=maybe"],
            1,
            "Error response from daemon: invalid value for filter 'dangling', must be "
            '"true" (or "1"), or "false" (or "0")\n',
        ),
        (
            ["ls", "--format", "{{.Nope}}"],
            1,
            'template parsing error: template: :1:2: executing "" at <.Nope>: can\'t '
            "evaluate field Nope in type *network.networkContext\n",
        ),
        (
            ["prune", "-f", "--filter", "until=bad"],
            1,
            'Error response from daemon: failed to parse value as time or duration: "bad"\n',
        ),
        (["create", "--gateway", "1.2.3.4", "x"], 1, "every ip-range or gateway must have a corresponding subnet\n"),
        (
            ["create", "--subnet", "10.9.0.0/16", "--gateway", "1.2.3.4", "x"],
            1,
            "no matching subnet for gateway 1.2.3.4\n",
        ),
        (
            ["create", "--subnet", "10.9.0.0/16", "--ip-range", "10.10.0.0/24", "x"],
            1,
            "no matching subnet for range 10.10.0.0/24\n",
        ),
        (
            ["create", "--subnet", "10.9.0.0/16", "--subnet", "10.9.1.0/24", "x"],
            1,
            "multiple overlapping subnet configuration is not supported\n",
        ),
        (["create", "--aux-address", "q=1.2.3.4", "x"], 1, "no matching subnet for aux-address 1.2.3.4\n"),
        (["create", "foo"], 1, "Error response from daemon: network with name foo already exists\n"),
        (["create", ""], 1, "Error response from daemon: invalid name:\n"),
        (["create", " "], 1, "Error response from daemon: invalid name:\n"),
    ],
)
def test_what_is_refused(minirun, nets, words, code, text):
    nets("foo")
    if "sub" in words:
        nets("sub", subnet="10.6.0.0/24")
    container = minirun.begin("--network", "foo", *SLEEP)
    result = minirun("network", *words)
    assert (result.code, result.out, result.err.replace(container.id, "ID")) == (code, "", text)
    assert list(networks_of(minirun, "c1")) == ["foo"]
    assert links(container) == ["eth0"]


def test_a_data_root_that_takes_no_record(minirun, nets, host):
    """The disk is full, or read-only: bridge and rules were there already, and are gone again."""
    nets("foo")
    links, rules, files = host.links(), firewall(host), sorted(host.run_directory.glob("minirun/networks/*"))
    host.run("sh", "-euc", f"mount --bind {host.data} {host.data}; mount -o remount,ro,bind {host.data}", check=True)
    try:
        result = minirun("network", "create", "bar")
    finally:
        host.run("umount", "-l", str(host.data), check=True)
    assert result.code == 1
    assert re.fullmatch(r"minirun: .*/networks/[0-9a-f]{64}\.json: read-only file system\nhint: .*\n", result.err)
    assert (host.links(), firewall(host)) == (links, rules)
    assert {path.name for path in host.run_directory.glob("minirun/networks/*")} <= {path.name for path in files}


def test_words_that_are_no_utf_8(minirun, host):
    """What is written down can be read again: JSON has no word for such a byte, and Docker's has U+FFFD."""
    minirun.ok("network", "create", "-o", "key=\udcff", "a\udcff")
    assert minirun.ok("network", "ls", "--format", "{{.Name}}", "-f", "type=custom") == "a\ufffd"
    minirun.begin("-e", "E=\udcfe", "-l", "l=\udcff", "--network", "a\ufffd", "--network-alias", "\udcff", *SLEEP)
    minirun.ok("network", "create", "foo")
    minirun.ok("network", "connect", "--alias", "\udcff", "foo", "c1")
    assert minirun.ok("inspect", "-f", '{{index .Config.Labels "l"}}', "c1") == "\ufffd"
    assert set(networks_of(minirun, "c1")) == {"a\ufffd", "foo"}
    assert minirun.ok("exec", "c1", "sh", "-c", "echo $E") == "\ufffd"
    minirun.ok("network", "disconnect", "a\ufffd", "c1")


def test_settings_count_for_every_start(new_host):
    """Also for those that look for a network by the way: the host's address, a network that somebody has made."""
    minirun = new_host.minirun
    config = new_host.data / "config.json"
    config.write_text('{"icc": false, "bip": "10.9.9.1/24"}')
    given = ("--config-file", str(config))
    gateway = ("--add-host", "gw:host-gateway", "alpine", "grep", "gw", "/etc/hosts")
    assert minirun.ok(*given, "run", "--rm", *gateway) == "10.9.9.1\tgw"
    minirun.ok(*given, "network", "create", "foo")
    before = minirun.ok(*given, "network", "inspect", "bridge"), firewall(new_host)
    assert "-A FORWARD -i minirun0 -o minirun0 -j DROP" in before[1]
    minirun.ok(*given, "run", "--rm", *gateway)
    minirun.ok(*given, "run", "--rm", "--network", "foo", "alpine", "true")
    assert (minirun.ok(*given, "network", "inspect", "bridge"), firewall(new_host)) == before
    assert not Path("/networks").exists()


def test_filters(minirun, nets):
    nets("foo", "bar")
    minirun.begin("--network", "foo", *SLEEP)
    whole = minirun.ok("network", "inspect", "-f", "{{.Id}}", "foo")

    def listed(*conditions):
        words = [word for condition in conditions for word in ("-f", condition)]
        return minirun.ok("network", "ls", "--format", "{{.Name}}", *words).split()

    assert listed("type=custom") == ["bar", "foo"]
    assert listed("type=builtin") == ["bridge", "host", "none"]
    assert listed("driver=bridge", "name=^b") == ["bar", "bridge"]
    assert listed("dangling=true") == ["bar"]
    assert listed("dangling=false") == ["bridge", "foo", "host", "none"]
    assert listed(f"id={whole[:9]}") == ["foo"]
    for value, names in (("foo", "c1"), (whole[:12], "c1"), ("bridge", ""), ("nosuch", "")):
        assert minirun.ok("ps", "--format", "{{.Names}}", "-f", f"network={value}") == names


def test_a_network_in_use_stays(minirun, nets, host):
    nets("foo")
    container = minirun.begin("--network", "foo", *SLEEP)
    result = minirun("network", "rm", "foo")
    assert (result.code, result.out) == (1, "")
    assert re.fullmatch(
        "Error response from daemon: error while removing network: network foo id [0-9a-f]{64} has active endpoints\n",
        result.err,
    )
    assert minirun.ok("network", "prune", "-f") == ""
    assert default_route(container) is not None
    minirun.ok("stop", "-t", "0", "c1")
    assert minirun.ok("network", "rm", "foo") == "foo"  # one that does not run is no hindrance
    result = minirun("start", "c1")
    assert (result.code, result.err) == (
        1,
        "Error response from daemon: network foo not found\nError: failed to start containers: c1\n",
    )


# ---- connect and disconnect ----------------------------------------------------------------------------------------


def test_interfaces_count_up_and_the_way_out_goes_by_name(minirun, nets):
    nets("mm", "zz", "aa")
    container = minirun.begin("--network", "mm", *SLEEP)
    gateway = {
        name: minirun.ok("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", name)
        for name in ("aa", "mm", "zz")
    } | {"bridge": "172.17.0.1"}
    for verb, name, through, device, present in (
        ("connect", "zz", "mm", "eth0", "eth0 eth1"),
        ("connect", "aa", "aa", "eth2", "eth0 eth1 eth2"),
        ("connect", "bridge", "aa", "eth2", "eth0 eth1 eth2 eth3"),
        ("disconnect", "aa", "bridge", "eth3", "eth0 eth1 eth3"),
        ("disconnect", "bridge", "mm", "eth0", "eth0 eth1"),
        ("disconnect", "mm", "zz", "eth1", "eth1"),
        ("connect", "aa", "aa", "eth4", "eth1 eth4"),
    ):  # counting up, none is used again
        assert minirun.ok("network", verb, name, "c1") == ""
        assert default_route(container) == (gateway[through], device), (verb, name)
        assert links(container) == present.split()
    minirun.ok("network", "disconnect", "aa", "c1")
    minirun.ok("network", "disconnect", "zz", "c1")
    assert (default_route(container), links(container)) == (None, [])
    assert networks_of(minirun, "c1") == {}


def test_an_internal_network_is_the_last_way_out_and_a_dual_stacked_one_the_first(minirun, nets):
    minirun.ok("network", "create", "--internal", "int")
    minirun.ok("network", "create", "--ipv6", "--subnet", "2001:db8:1::/64", "six")
    nets("zz")
    container = minirun.begin("--network", "int", *SLEEP)
    minirun.ok("network", "connect", "zz", "c1")
    assert default_route(container)[1] == "eth1"
    minirun.ok("network", "connect", "six", "c1")
    assert default_route(container)[1] == "eth2"
    assert default_route(container, "-6") == ("2001:db8:1::1", "eth2")
    assert "::1" in container.sh("ip addr show dev lo")
    minirun.ok("network", "disconnect", "six", "c1")
    assert (default_route(container)[1], default_route(container, "-6")) == ("eth1", None)
    assert "::1" not in container.sh("ip addr show dev lo")
    minirun.ok("network", "disconnect", "zz", "c1")
    assert default_route(container)[1] == "eth0"


def test_hosts_and_resolv_conf_follow(minirun, nets):
    nets("foo", "bar")
    container = minirun.begin("--add-host", "x:192.0.2.1", *SLEEP)
    own = container.id[:12]
    container.sh("echo '192.0.2.9 mine' >> /etc/hosts")
    assert "127.0.0.11" not in container.sh("cat /etc/resolv.conf")
    minirun.ok("network", "connect", "foo", "c1")
    address = networks_of(minirun, "c1")["foo"]["IPAddress"]
    assert hosts(container) == ["192.0.2.1\tx", f"172.17.0.2\t{own}", "192.0.2.9 mine", f"{address}\t{own}"]
    assert "nameserver 127.0.0.11\noptions ndots:0" in container.sh("cat /etc/resolv.conf")
    minirun.ok("network", "disconnect", "bridge", "c1")  # where its short id is no name: Docker leaves the line
    assert f"172.17.0.2\t{own}" in hosts(container)
    minirun.ok("network", "disconnect", "foo", "c1")  # where it is one: all lines that say no more go
    assert hosts(container) == ["192.0.2.1\tx", "192.0.2.9 mine"]
    assert "127.0.0.11" in container.sh("cat /etc/resolv.conf")
    minirun.ok("restart", "-t", "0", "c1")
    assert hosts(container) == ["192.0.2.1\tx"]
    assert "127.0.0.11" not in container.sh("cat /etc/resolv.conf")


def test_connect_to_one_that_does_not_run_is_a_wish(minirun, nets):
    nets("foo")
    minirun.ok("create", "--name", "c1", *SLEEP)
    minirun.ok("network", "connect", "--alias", "db", "foo", "c1")
    minirun.ok("network", "connect", "later", "c1")  # Docker takes a name that is not there yet
    result = minirun("start", "c1")
    assert (result.code, result.err.partition("\n")[0]) == (1, "Error response from daemon: network later not found")
    minirun.ok("network", "disconnect", "later", "c1")
    minirun.ok("start", "c1")
    found = networks_of(minirun, "c1")
    assert list(found) == ["bridge", "foo"]
    assert found["foo"]["Aliases"][0] == "db"
    assert minirun.ok("exec", "c1", "ls", "/sys/class/net").split() == ["eth0", "eth1", "lo"]
    result = minirun("network", "disconnect", "bar", "c1")
    assert result.err == "Error response from daemon: network bar not found\n"
    minirun.ok("stop", "-t", "0", "c1")
    result = minirun("network", "disconnect", "bar", "c1")
    assert re.fullmatch(
        "Error response from daemon: container [0-9a-f]{64} is not connected to the network bar\n", result.err
    )


def test_inspect_shows_both_sides(minirun, nets):
    nets("foo")
    container = minirun.begin("--network", "foo", "--network-alias", "db", "--hostname", "hoho", *SLEEP)
    settings = json.loads(minirun.ok("inspect", "-f", "{{json .NetworkSettings}}", "c1"))
    assert (settings["IPAddress"], settings["EndpointID"]) == ("", "")
    foo = settings["Networks"]["foo"]
    (link,) = [link for link in inside(container, "addr") if link["ifname"] == "eth0"]
    assert (foo["IPAddress"], foo["MacAddress"]) == (link["addr_info"][0]["local"], link["address"])
    assert foo["IPPrefixLen"] == link["addr_info"][0]["prefixlen"]
    assert foo["Aliases"] == ["db", container.id[:12], "hoho"]
    (network,) = json.loads(minirun.ok("network", "inspect", "foo"))
    assert network["Containers"] == {
        container.id: {
            "Name": "c1",
            "EndpointID": foo["EndpointID"],
            "MacAddress": foo["MacAddress"],
            "IPv4Address": f"{foo['IPAddress']}/{foo['IPPrefixLen']}",
            "IPv6Address": "",
        }
    }
    assert settings["SandboxKey"] == "/run/netns/c1"
    minirun.ok("stop", "-t", "0", "c1")
    after = networks_of(minirun, "c1")["foo"]
    assert (after["NetworkID"], after["IPAddress"], after["Aliases"]) == (network["Id"], "", foo["Aliases"])
    minirun.ok("start", "c1")


def test_kill_9_of_connect_leaves_nothing(minirun, nets, host):
    """Whatever it had reserved or plugged in goes with the container."""
    nets("foo")
    minirun.begin(*SLEEP)
    for delay in (0.04, 0.06, 0.08, 0.10, 0.12):
        process = minirun.popen("network", "connect", "foo", "c1")
        threading.Event().wait(delay)
        process.kill()
        process.communicate()
        minirun("network", "disconnect", "foo", "c1")
    minirun.ok("rm", "-f", "c1")
    wait_for(lambda: not [name for name in host.links() if name.startswith("veth")])
    assert host.addresses() == []


def test_connect_while_the_container_ends(minirun, nets, host):
    nets("foo", "bar")
    for number in range(6):
        minirun.begin("--rm", "alpine", "sleep", "0.3", name=f"e{number}")
        process = minirun.popen("network", "connect", "foo", f"e{number}")
        other = minirun.popen("network", "connect", "bar", f"e{number}")
        for one in (process, other):
            _, err = one.communicate(timeout=30)
            assert one.returncode == 0 or "No such container" in err, err
    wait_for(lambda: not host.containers(), 10)
    wait_for(lambda: not [name for name in host.links() if name.startswith("veth")])
    assert host.addresses() == []


def test_forty_containers_at_once_on_three_networks(minirun, nets, host):
    """Starts, connects and ends, eight at a time: no rule, address or link is wrong afterwards."""
    nets("na", "nb", "nc")
    minirun.ok("run", "--rm", "alpine", "true")
    wait_for(lambda: not any(name.startswith("veth") for name in host.links()))  # its cable goes when the kernel likes
    rules, links_before = host.run("iptables-save").stdout.count("\n"), set(host.links())
    numbers, failures = iter(range(40)), []

    def work():
        for number in numbers:
            first, second = (("na", "nb", "nc") * 2)[number % 3 :][:2]
            for words in (
                ("run", "-d", "--name", f"p{number}", "--network", first, *SLEEP),
                ("network", "connect", second, f"p{number}"),
                ("exec", f"p{number}", "ping", "-c", "1", "-W", "5", "203.0.113.1"),
                ("network", "disconnect", first, f"p{number}"),
                ("rm", "-f", f"p{number}"),
            ):
                result = minirun(*words)
                if (result.code, result.err) != (0, ""):
                    failures.append((words, result))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert host.addresses() == []
    assert host.run("iptables-save").stdout.count("\n") == rules
    wait_for(lambda: set(host.links()) == links_before)
    assert set(host.links()) == links_before


# ---- run's own options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--network", "nosuch"], "network nosuch not found."),
        (["--network", "tiny", "--ip", "10.7.0.1"], "Address already in use."),
        (
            ["--network", "tiny", "--ip", "10.8.0.1"],
            "Invalid address 10.8.0.1: It does not belong to any of this network's subnets.",
        ),
        (
            ["--network", "foo", "--ip", "10.7.0.2"],
            "user specified IP address is supported only when connecting to networks with user configured subnets.",
        ),
        (
            ["--network", "bridge", "--ip", "172.17.0.9"],
            "user specified IP address is supported on user defined networks only.",
        ),
        (
            ["--network", "none", "--ip", "172.17.0.9"],
            "user specified IP address is supported on user defined networks only.",
        ),
        (["--network", "container:nosuch"], "No such container: nosuch."),
        (["--network", "container:x1"], "cannot join own network."),
    ],
)
def test_a_start_that_the_network_refuses(minirun, nets, host, words, text):
    """The id is printed, and the container stays Created with Docker's 128 on record."""
    nets("foo")
    nets("tiny", subnet="10.7.0.0/30")
    result = minirun("run", "-d", "--name", "x1", *words, *SLEEP)
    assert (result.code, result.err) == (125, f"minirun: Error response from daemon: {text}\n")
    assert re.fullmatch("[0-9a-f]{64}\n", result.out)
    assert (
        minirun.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}", "x1")
        == f"created 128 {text.removesuffix('.')}"
    )
    assert host.addresses() == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--network", "foo", "--ip", "300.1.1.1"], "Error response from daemon: invalid IPv4 address: 300.1.1.1"),
        (
            ["--network", "foo", "--network", "aa"],
            "Error response from daemon: Container cannot be connected to network endpoints: foo, aa",
        ),
        (
            ["--network", "foo", "--network", "bridge"],
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
        ),
        (
            ["--network", "container:c1", "--hostname", "a"],
            "Error response from daemon: conflicting options: hostname and the network mode",
        ),
        (
            ["--link", "nosuch:x"],
            "Error response from daemon: could not get container for nosuch: No such container: nosuch",
        ),
    ],
)
def test_what_is_refused_before_there_is_a_container(minirun, host, words, text):
    result = minirun("run", *words, *SLEEP)
    assert (result.code, result.out, result.err) == (125, "", f"minirun: {text}.\nSee 'minirun run --help'.\n")
    assert host.containers() == []


def test_a_full_network(minirun, nets):
    nets("tiny", subnet="10.7.0.0/30")
    minirun.begin("--network", "tiny", *SLEEP)
    result = minirun("run", "--rm", "--network", "tiny", "alpine", "true")
    assert result.code == 125
    assert re.fullmatch(
        "minirun: Error response from daemon: no available IPv4 addresses on this network's address "
        r"pools: tiny \([0-9a-f]{64}\)\.\n",
        result.err,
    )


def test_an_address_and_a_mac_of_ones_own(minirun, nets):
    nets("sub", subnet="10.6.0.0/24")
    container = minirun.begin("--network", "sub", "--ip", "10.6.0.77", "--mac-address", "02-11-22-33-44-55", *SLEEP)
    (link,) = [link for link in inside(container, "addr") if link["ifname"] == "eth0"]
    assert (link["addr_info"][0]["local"], link["address"]) == ("10.6.0.77", "02:11:22:33:44:55")
    minirun.ok("network", "connect", "bridge", "c1")
    (link,) = [link for link in inside(container, "addr") if link["ifname"] == "eth1"]
    assert link["address"].startswith("02:42:ac:11:"), "the wish is for the first network alone"
    assert "10.6.0.2" in minirun.ok("run", "--rm", "--network", "sub", "alpine", "ip", "addr")


def test_without_network_an_address_is_not_looked_at(minirun):
    assert "inet 172.17.0.2/16" in minirun.ok("run", "--rm", "--ip", "172.17.0.77", "alpine", "ip", "addr")


# ---- another container's network -----------------------------------------------------------------------------------


def test_one_network_for_two_containers(minirun, host):
    base = minirun.begin("--hostname", "hoho", *SLEEP, name="base")
    second = minirun.begin("--network", "container:base", *SLEEP, name="second")
    spaces = {host.run("readlink", f"/proc/{container.pid}/ns/net").stdout for container in (base, second)}
    assert len(spaces) == 1
    assert second.sh("hostname") == "hoho"
    second.sh("echo '192.0.2.7 both' >> /etc/hosts")
    assert "192.0.2.7 both" in base.sh("cat /etc/hosts")
    settings = json.loads(minirun.ok("inspect", "-f", "{{json .NetworkSettings}}", "second"))
    assert (settings["Networks"], settings["SandboxID"], settings["SandboxKey"]) == ({}, "", "")
    assert minirun.ok("inspect", "-f", "{{.HostConfig.NetworkMode}}", "second") == f"container:{base.id}"
    result = minirun("network", "connect", "bridge", "second")
    assert result.err == (
        "Error response from daemon: container sharing network namespace with another container or "
        "host cannot be connected to any other network\n"
    )
    minirun.ok("stop", "-t", "0", "base")
    assert links(second) == [], "its cable is pulled out although the namespace goes on"
    minirun.ok("stop", "-t", "0", "second")
    result = minirun("start", "second")
    assert result.err == (
        "Error response from daemon: cannot join network of a non running container: "
        f"{base.id}\nError: failed to start containers: second\n"
    )


# ---- links ---------------------------------------------------------------------------------------------------------


def test_a_link_is_a_line_and_variables(minirun):
    server = minirun.begin("-e", "FOO=bar", *SLEEP, name="srv")
    client = minirun.begin("--link", "srv:my-alias", "--link", "srv", *SLEEP, name="cli")
    assert hosts(client)[:2] == [f"172.17.0.2\tmy-alias {server.id[:12]} srv", f"172.17.0.2\tsrv {server.id[:12]}"]
    environment = client.sh("env").splitlines()
    assert "MY_ALIAS_NAME=/cli/my-alias" in environment
    assert "MY_ALIAS_ENV_FOO=bar" in environment
    assert json.loads(minirun.ok("inspect", "-f", "{{json .HostConfig.Links}}", "cli")) == [
        "/srv:/cli/my-alias",
        "/srv:/cli/srv",
    ]
    assert "1 packets received" in client.sh("ping -c 1 -W 2 my-alias")
    minirun.ok("stop", "-t", "0", "srv")
    minirun.begin(*SLEEP, name="squatter")  # takes the address
    minirun.ok("start", "srv")
    assert hosts(client)[0].startswith("172.17.0.4\tmy-alias "), "a linked container's new address is told"
    minirun.ok("stop", "-t", "0", "srv", "cli")
    result = minirun("start", "cli")
    assert result.err == (
        "Error response from daemon: Cannot link to a non running container: /srv AS /cli/my-alias\n"
        "Error: failed to start containers: cli\n"
    )


def test_a_link_to_one_that_is_not_on_the_default_bridge(minirun, nets):
    nets("foo")
    minirun.begin("--network", "foo", *SLEEP, name="srv")
    result = minirun("run", "--rm", "--link", "srv", "alpine", "true")
    assert result.err == (
        "minirun: Error response from daemon: Cannot link to /srv, as it does not belong to the default network.\n"
    )


# ---- putting things right, and taking all away ---------------------------------------------------------------------


def saved(host, program="iptables-save"):
    """The rules and policies, without counters and comments."""
    lines = host.run(program, check=True).stdout.splitlines()
    return [re.sub(r" \[\d+:\d+\]$", "", line) for line in lines if line[0] not in "#*" and line != "COMMIT"]


def test_reload_restores_what_somebody_has_destroyed(minirun, nets, host):
    nets("foo")
    container = minirun.begin("--network", "foo", *SLEEP)
    minirun.ok("network", "connect", "bridge", "c1")
    host.run("iptables", "-I", "MINIRUN-USER", "-s", "192.0.2.1", "-j", "DROP", check=True)
    before, route = saved(host), default_route(container)
    assert minirun.ok("network", "reload") == ""
    rules = saved(host)  # in another order: dockerd begins with the default network last, which is then on top
    assert sorted(rules) == sorted(before), "where all is right nothing comes or goes"
    assert minirun.ok("network", "reload") == ""
    assert saved(host) == rules
    host.run("sh", "-ec", "iptables -F FORWARD; iptables -t nat -F; ip link del minirun0", check=True)
    assert minirun.ok("network", "reload") == ""
    assert saved(host) == rules
    assert "1 packets received" in container.sh("ping -c 1 -W 2 172.17.0.1")
    assert "1 packets received" in container.sh("ping -c 1 -W 2 198.51.100.1")
    host.run("sh", "-ec", "for link in $(ls /sys/class/net | grep ^veth); do ip link del $link; done", check=True)
    assert links(container) == []
    assert minirun.ok("network", "reload") == "c1: plugged into bridge again\nc1: plugged into foo again"
    assert (links(container), default_route(container)) == (["eth0", "eth1"], route)
    assert "1 packets received" in container.sh("ping -c 1 -W 2 198.51.100.1")
    assert minirun.ok("network", "reload") == ""
    host.run("iptables", "-D", "MINIRUN-USER", "-s", "192.0.2.1", "-j", "DROP", check=True)


def test_reset_network_gives_the_host_back(new_host):
    minirun = new_host.minirun
    new_host.run(
        "sh",
        "-ec",
        "iptables -A FORWARD -s 192.0.2.1 -j ACCEPT; iptables -t nat -A POSTROUTING -s 192.0.2.2 "
        "-j ACCEPT; ip link add other0 type bridge; ip netns add mine",
        check=True,
    )
    before = saved(new_host), new_host.links(), new_host.run("cat", "/proc/sys/net/ipv4/ip_forward").stdout
    network_id = minirun.ok("network", "create", "foo")
    minirun.begin("--network", "foo", *SLEEP)
    minirun.ok("network", "connect", "bridge", "c1")
    result = minirun("system", "reset-network")
    assert (result.code, result.err) == (
        1,
        "Error response from daemon: cannot reset the network while containers run: c1\n",
    )
    minirun.ok("rm", "-f", "c1")
    told = minirun.ok("system", "reset-network").splitlines()
    assert f"gone     link br-{network_id[:12]}" in told
    assert "set back switch net.ipv4.ip_forward 1, now 0" in told
    assert "set back policy iptables filter FORWARD DROP, now ACCEPT" in told
    assert told[-2:] == ["Left of what was ours: nothing", "Changed of what is others': nothing"]
    after = saved(new_host), new_host.links(), new_host.run("cat", "/proc/sys/net/ipv4/ip_forward").stdout
    assert after == before
    assert new_host.run("ip", "netns", "list").stdout.split() == ["mine"]
    # What was made by name stays on record, and comes back when it is used.
    assert "1 packets received" in minirun.ok(
        "run", "--rm", "--network", "foo", "alpine", "ping", "-c", "1", "-W", "2", "198.51.100.1"
    )
    new_host.spoiled = True  # other0 and mine are the test's own
