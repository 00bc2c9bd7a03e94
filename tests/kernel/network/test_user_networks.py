"""Networks of one's own: rules, links, addresses as Docker makes them; its errors; and nothing is left of any."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest

from harness.network_host import DATA, RUN, Failed, NetworkHost
from minirun.errors import MinirunError
from minirun.kernel import process
from minirun.network import gc
from minirun.network.bridge import endpoint as bridge_endpoint
from minirun.network.bridge import setup
from minirun.network.controller import Controller
from minirun.network.daemon_config import Settings

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and iptables need root")
OPTION = "com.docker.network.bridge."


@pytest.fixture
def host():
    with NetworkHost() as made:
        yield made


def create(name: str, link: str = "", settings: dict | None = None, **wish) -> dict:
    """Make a network; its record."""
    options = {**({f"{OPTION}name": link} if link else {}), **wish.pop("Options", {})}
    wish = {"Name": name, "Options": options, **wish}
    return Controller(DATA, RUN, lambda: Settings(settings)).create(wish).record


def remove(name: str) -> None:
    Controller(DATA, RUN).remove(Controller(DATA, RUN).find(name))


def subnets(*configs: dict) -> dict:
    return {"Config": list(configs)}


def connect(name: str, pid: int, owner: str = "a", **wish) -> dict:
    network = Controller(DATA, RUN).find(name)
    Controller(DATA, RUN).ensure(network)
    return bridge_endpoint.connect(network, (owner * 64)[:64], pid, wish)


# ---- what is made ----------------------------------------------------------------------------------------------

#: What a real dockerd 20.10 has after `network create` of bb, aa (internal), cc (no icc), dd (no masquerade), in this
#: order; its names changed to ours.
FILTER = """\
-A FORWARD -j MINIRUN-USER
-A FORWARD -j MINIRUN-ISOLATION-STAGE-1
-A FORWARD -o dd -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o dd -j MINIRUN
-A FORWARD -i dd ! -o dd -j ACCEPT
-A FORWARD -i dd -o dd -j ACCEPT
-A FORWARD -o cc -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o cc -j MINIRUN
-A FORWARD -i cc ! -o cc -j ACCEPT
-A FORWARD -i aa -o aa -j ACCEPT
-A FORWARD -o bb -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o bb -j MINIRUN
-A FORWARD -i bb ! -o bb -j ACCEPT
-A FORWARD -i bb -o bb -j ACCEPT
-A FORWARD -o minirun0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o minirun0 -j MINIRUN
-A FORWARD -i minirun0 ! -o minirun0 -j ACCEPT
-A FORWARD -i minirun0 -o minirun0 -j ACCEPT
-A FORWARD -i cc -o cc -j DROP
-A MINIRUN-ISOLATION-STAGE-1 -i dd ! -o dd -j MINIRUN-ISOLATION-STAGE-2
-A MINIRUN-ISOLATION-STAGE-1 -i cc ! -o cc -j MINIRUN-ISOLATION-STAGE-2
-A MINIRUN-ISOLATION-STAGE-1 ! -s 172.19.0.0/16 -o aa -j DROP
-A MINIRUN-ISOLATION-STAGE-1 ! -d 172.19.0.0/16 -i aa -j DROP
-A MINIRUN-ISOLATION-STAGE-1 -i bb ! -o bb -j MINIRUN-ISOLATION-STAGE-2
-A MINIRUN-ISOLATION-STAGE-1 -i minirun0 ! -o minirun0 -j MINIRUN-ISOLATION-STAGE-2
-A MINIRUN-ISOLATION-STAGE-1 -j RETURN
-A MINIRUN-ISOLATION-STAGE-2 -o dd -j DROP
-A MINIRUN-ISOLATION-STAGE-2 -o cc -j DROP
-A MINIRUN-ISOLATION-STAGE-2 -o bb -j DROP
-A MINIRUN-ISOLATION-STAGE-2 -o minirun0 -j DROP
-A MINIRUN-ISOLATION-STAGE-2 -j RETURN
-A MINIRUN-USER -j RETURN
""".splitlines()
NAT = """\
-A PREROUTING -m addrtype --dst-type LOCAL -j MINIRUN
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j MINIRUN
-A POSTROUTING -s 172.20.0.0/16 ! -o cc -j MASQUERADE
-A POSTROUTING -s 172.18.0.0/16 ! -o bb -j MASQUERADE
-A POSTROUTING -s 172.17.0.0/16 ! -o minirun0 -j MASQUERADE
-A MINIRUN -i cc -j RETURN
-A MINIRUN -i bb -j RETURN
-A MINIRUN -i minirun0 -j RETURN
""".splitlines()


def rules_of(host) -> list[str]:
    return [line for line in host.rules().splitlines() if line.startswith("-A")]


def make_four() -> None:
    create("bb", "bb")
    create("aa", "aa", Internal=True)
    create("cc", "cc", Options={f"{OPTION}enable_icc": "false"})
    create("dd", "dd", Options={f"{OPTION}enable_ip_masquerade": "false"})


def test_the_rules_of_several_networks_are_dockers_and_go_with_them(host):
    host.call(Controller(DATA, RUN).ensure_default)
    before = rules_of(host)
    host.call(make_four)
    assert rules_of(host) == FILTER + NAT
    for name in ("cc", "aa", "dd", "bb"):
        host.call(remove, name)
    assert rules_of(host) == before
    assert set(host.links()) == {"lo", "minirun0"}
    assert host.text("ls", f"{RUN}/networks").split() == ["before.json", "bridge", "ifindex", "pool", "rules"]
    assert host.text("ls", f"{DATA}/networks").split() == ["host.json", "none.json"]


def test_the_record_is_what_docker_shows(host):
    record = host.call(lambda: Controller(DATA, RUN).find(create("foo", Labels={"x": "y"})["Id"][:5]).inspect())
    assert re.fullmatch("[0-9a-f]{64}", record.pop("Id"))
    assert record.pop("Created").endswith("Z")
    assert record == {
        "Name": "foo",
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": {}, "Config": [{"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}]},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": {},
        "Labels": {"x": "y"},
    }
    names = host.call(lambda: [network.name for network in Controller(DATA, RUN).every()])
    assert names == ["bridge", "foo", "host", "none"]


def test_a_bridge_with_docker_s_name_address_and_mac(host):
    record = host.call(create, "foo")
    link = host.links()[f"br-{record['Id'][:12]}"]
    assert re.fullmatch("02:42(:[0-9a-f]{2}){4}", link["address"])
    assert [(a["local"], a["prefixlen"]) for a in link["addr_info"]] == [("172.18.0.1", 16)]
    assert "UP" in link["flags"] and link["mtu"] == 1500


def test_pools_go_on_after_the_last_one_and_skip_what_is_taken(host):
    host.text("sh", "-c", "ip link add d0 type bridge && ip addr add 172.19.9.9/24 dev d0 && ip link set d0 up")

    def subnet_of(name: str) -> str:
        return create(name)["IPAM"]["Config"][0]["Subnet"]

    def several() -> list[str]:
        found = [subnet_of("a"), subnet_of("b")]
        remove("a")
        return [*found, subnet_of("a")]

    assert host.call(several) == ["172.18.0.0/16", "172.20.0.0/16", "172.21.0.0/16"]


def test_subnet_gateway_range_and_aux(host):
    def several():
        create("one", "one", IPAM=subnets({"Subnet": "10.5.0.0/16", "Gateway": "10.5.0.254", "IPRange": "10.5.1.0/24"}))
        create("two", "two", IPAM=subnets({"Subnet": "10.1.2.3/16", "IPRange": "10.1.4.5/24"}))
        create("aux", "aux", IPAM=subnets({"Subnet": "10.3.0.0/24", "AuxiliaryAddresses": {"a": "10.3.0.2"}}))
        found = [Controller(DATA, RUN).find(name) for name in ("one", "two", "aux")]
        return [
            (network.record["IPAM"]["Config"], bridge_endpoint.create(network, "a" * 64)["IPAddress"])
            for network in found
        ]

    one, two, aux = host.call(several)
    assert one == ([{"Subnet": "10.5.0.0/16", "IPRange": "10.5.1.0/24", "Gateway": "10.5.0.254"}], "10.5.1.0")
    assert two == ([{"Subnet": "10.1.2.3/16", "IPRange": "10.1.4.5/24"}], "10.1.4.1")
    assert aux == ([{"Subnet": "10.3.0.0/24", "AuxiliaryAddresses": {"a": "10.3.0.2"}}], "10.3.0.3")
    own = {name: host.links()[name]["addr_info"][0]["local"] for name in ("one", "two", "aux")}
    assert own == {"one": "10.5.0.254", "two": "10.1.4.0", "aux": "10.3.0.1"}  # Docker takes the range's first


# ---- IPv6 ------------------------------------------------------------------------------------------------------


def test_a_network_with_ipv6(host):
    pid = host.namespace()

    def start():
        create("six", "six", EnableIPv6=True, IPAM=subnets({"Subnet": "2001:db8:1::/64"}))
        return connect("six", pid)

    endpoint = host.call(start)
    assert [endpoint[key] for key in ("IPAddress", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPv6Gateway")] == [
        "172.18.0.2",
        "2001:db8:1::2",
        64,
        "2001:db8:1::1",
    ]
    addresses = {a["local"]: a for a in host.links()["six"]["addr_info"]}
    assert {"172.18.0.1", "2001:db8:1::1", "fe80::1"} <= set(addresses)
    assert [host.sysctl(f"ipv6/conf/{where}/forwarding") for where in ("all", "default")] == ["1", "1"]
    inside = host.links(pid)
    six = next(a for a in inside["eth0"]["addr_info"] if a["local"] == "2001:db8:1::2")
    assert six["nodad"] is True
    assert "::1" in [a["local"] for a in inside["lo"]["addr_info"]]
    switches = [host.sysctl(f"ipv6/conf/{where}/disable_ipv6", pid) for where in ("all", "default", "lo", "eth0")]
    assert switches == ["1", "1", "0", "0"]
    assert "default via 2001:db8:1::1 dev eth0 metric 1024" in host.within(pid, "ip", "-6", "route")
    host.wait_for(
        lambda: (
            host.run("nsenter", f"--net=/proc/{pid}/ns/net", "ping", "-6", "-c1", "-W1", "2001:db8:1::1").returncode
            == 0
        ),
        "the bridge answers",
    )
    assert host.text("ip6tables", "-S") == "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT\n"


# ---- several networks for one container ------------------------------------------------------------------------


def test_a_second_cable_and_the_default_route_that_moves(host):
    pid = host.namespace()

    def start():
        create("aa", "aa")
        create("bb", "bb")
        one = bridge_endpoint.create(Controller(DATA, RUN).find("bb"), "a" * 64)
        bridge_endpoint.join(Controller(DATA, RUN).find("bb"), one, pid)
        two = bridge_endpoint.create(Controller(DATA, RUN).find("aa"), "a" * 64, interface="eth1")
        bridge_endpoint.join(Controller(DATA, RUN).find("aa"), two, pid, default_route=False)
        return one, two

    one, two = host.call(start)
    assert list(host.links(pid)) == ["lo", "eth0", "eth1"]

    def default() -> str:
        return host.within(pid, "ip", "route", "show", "default").strip()

    assert default() == "default via 172.19.0.1 dev eth0"
    host.call(bridge_endpoint.set_default_route, pid, two)
    assert default() == "default via 172.18.0.1 dev eth1"
    host.call(lambda: bridge_endpoint.disconnect(RUN, two, unplug=True))
    assert default() == ""
    assert list(host.links(pid)) == ["lo", "eth0"]
    host.call(bridge_endpoint.set_default_route, pid, one)
    assert default() == "default via 172.19.0.1 dev eth0"
    host.call(bridge_endpoint.set_default_route, pid, None)
    assert default() == ""


def test_networks_are_isolated_from_each_other(host):
    pids = host.namespace(), host.namespace(), host.namespace()

    def start():
        create("aa")
        create("bb")
        connect("bridge", pids[0], "a")
        connect("aa", pids[1], "b")
        connect("bb", pids[2], "c")

    host.call(start)

    def answers(pid: int, address: str) -> bool:
        return host.run("nsenter", f"--net=/proc/{pid}/ns/net", "ping", "-c1", "-W1", address).returncode == 0

    assert not answers(pids[0], "172.18.0.2") and not answers(pids[1], "172.17.0.2")
    assert not answers(pids[1], "172.19.0.2")
    assert answers(pids[1], "172.19.0.1") and answers(pids[1], "172.17.0.1")  # a gateway is the host: INPUT


# ---- errors ----------------------------------------------------------------------------------------------------

ERRORS = [
    ({"Name": "bridge"}, "operation is not permitted on predefined bridge network"),
    ({"Name": "default"}, "operation is not permitted on predefined default network"),
    ({"Name": "taken"}, "network with name taken already exists"),
    ({"Driver": "nosuch"}, 'plugin "nosuch" not found'),
    ({"Driver": "host"}, 'only one instance of "host" network is allowed'),
    ({"IPAM": {"Driver": "foo"}}, 'plugin "foo" not found'),
    ({"IPAM": subnets({"Subnet": "10.9.0.0"})}, "Invalid subnet 10.9.0.0 : invalid CIDR address: 10.9.0.0"),
    ({"IPAM": subnets({"Subnet": "172.30.4.0/24"})}, "Pool overlaps with other one on this address space"),
    ({"IPAM": subnets({"Subnet": "172.17.0.0/16"})}, "Pool overlaps with other one on this address space"),
    (
        {"IPAM": subnets({"Subnet": "10.1.0.0/16"}, {"Subnet": "10.2.0.0/16"})},
        "bridge driver doesn't support multiple subnets",
    ),
    (
        {"IPAM": subnets({"Subnet": "10.6.0.0/31"})},
        "failed to allocate gateway (): No available addresses on this pool",
    ),
    (
        {"IPAM": subnets({"Subnet": "10.8.0.0/16", "Gateway": "10.8.0.0"})},
        "failed to allocate gateway (10.8.0.0): Address already in use",
    ),
    (
        {"IPAM": subnets({"Subnet": "10.8.0.0/16", "Gateway": "10.8.255.255"})},
        "failed to allocate gateway (10.8.255.255): Address already in use",
    ),
    (
        {"IPAM": subnets({"Subnet": "10.3.0.0/16", "AuxiliaryAddresses": {"x": "10.3.0.1"}})},
        "failed to allocate secondary ip address (x:10.3.0.1): Address already in use",
    ),
    (
        {"EnableIPv6": True},
        "could not find an available, non-overlapping IPv6 address pool among the defaults to assign to the network",
    ),
    (
        {"Options": {f"{OPTION}enable_icc": "maybe"}},
        f'failed to parse {OPTION}enable_icc value: maybe (strconv.ParseBool: parsing "maybe": invalid syntax)',
    ),
    (
        {"Options": {"com.docker.network.driver.mtu": "abc"}},
        'failed to parse com.docker.network.driver.mtu value: abc (strconv.Atoi: parsing "abc": invalid syntax)',
    ),
    ({"Options": {"com.docker.network.driver.mtu": "-5"}}, "invalid MTU number: -5"),
    (
        {"Options": {f"{OPTION}host_binding_ipv4": "bad"}},
        f"failed to parse {OPTION}host_binding_ipv4 value: bad (nil ip)",
    ),
    (
        {"Options": {f"{OPTION}name": "thisnameiswaytoolong"}},
        "failed to check bridge interface existence: numerical result out of range",
    ),
    ({"Options": {f"{OPTION}name": "a b"}}, "invalid argument"),
    ({"Options": {f"{OPTION}name": "d0"}}, "existing interface d0 is not a bridge"),
    (
        {"Options": {f"{OPTION}name": "tk0"}},
        "cannot create network ID (tk0): conflicts with network ID (tk0): networks have same bridge name",
    ),
    (
        {"IPAM": subnets({"Subnet": "172.30.0.0/16", "IPRange": "172.30.5.0/24"})},
        "cannot create network ID (br-ID): conflicts with network ID (tk0): networks have overlapping IPv4",
    ),
]


def test_dockers_errors_and_nothing_is_left_of_any(host):
    host.text("ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1")
    host.call(lambda: create("taken", "tk0", IPAM=subnets({"Subnet": "172.30.0.0/16"})))
    before = host.rules(), host.links().keys(), host.text("ls", f"{RUN}/networks", f"{DATA}/networks")

    def try_all():
        said = []
        for wish, _ in ERRORS:
            try:
                Controller(DATA, RUN).create({"Name": "new", "Options": {}, **wish})
                said.append("no error")
            except MinirunError as error:
                said.append(re.sub("[0-9a-f]{64}|(?<=br-)[0-9a-f]{12}", "ID", str(error)))
        return said

    assert host.call(try_all) == [text for _, text in ERRORS]
    after = host.rules(), host.links().keys(), host.text("ls", f"{RUN}/networks", f"{DATA}/networks")
    assert [after[0], after[1], after[2].replace("pool\n", "")] == [
        before[0],
        before[1],
        before[2].replace("pool\n", ""),
    ]


@pytest.mark.parametrize(
    ("name", "wish", "text"),
    [
        (
            "auto",
            {"IPv4Address": "172.18.0.9"},
            "user specified IP address is supported only when connecting to networks with user configured subnets",
        ),
        (
            "mine",
            {"IPv6Address": "2001:db8::1"},
            "user specified IP address is supported only when connecting to networks with user configured subnets",
        ),
        (
            "mine",
            {"IPv4Address": "10.7.0.1"},
            "Invalid address 10.7.0.1: It does not belong to any of this network's subnets",
        ),
        ("mine", {"IPv4Address": "10.6.0.1"}, "Address already in use"),
        ("mine", {"IPv4Address": "10.6.0.3"}, "Address already in use"),
    ],
)
def test_addresses_that_cannot_be(host, name, wish, text):
    def start():
        create("auto")
        create("mine", IPAM=subnets({"Subnet": "10.6.0.0/24"}))
        bridge_endpoint.create(Controller(DATA, RUN).find("mine"), "b" * 64, {"IPv4Address": "10.6.0.3"})
        bridge_endpoint.create(Controller(DATA, RUN).find(name), "a" * 64, wish)

    with pytest.raises(Failed, match=f"^{re.escape(text)}$"):
        host.call(start)
    assert "a" * 64 not in host.run("sh", "-c", f"cat {RUN}/networks/*/*").stdout


def test_removing(host):
    record = host.call(create, "foo")
    endpoint = host.call(lambda: bridge_endpoint.create(Controller(DATA, RUN).find("foo"), "a" * 64))
    words = f"^error while removing network: network foo id {record['Id']} has active endpoints$"
    with pytest.raises(Failed, match=words):
        host.call(remove, "foo")
    host.call(bridge_endpoint.disconnect, RUN, endpoint)
    host.call(remove, "foo")
    for word in ("foo", "", "nosuch"):
        with pytest.raises(Failed, match=f"^network {word} not found$"):
            host.call(Controller(DATA, RUN).find, word)
    for name in ("bridge", "host", "none"):
        with pytest.raises(Failed, match=f"^{name} is a pre-defined network and cannot be removed$"):
            host.call(remove, name)


def test_a_bridge_of_the_users_own_is_used_and_stays(host):
    host.text("ip", "link", "add", "own0", "type", "bridge")
    host.call(create, "own", "own0")
    assert host.links()["own0"]["addr_info"][0]["local"] == "172.18.0.1"
    host.call(remove, "own")
    assert "own0" in host.links()
    assert "own0" not in host.rules()


# ---- killed in the middle --------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["_make_bridge", "_restore_ports", "_ensure_rules"])
def test_a_create_that_was_killed_is_cleared_by_the_next(host, where):
    host.call(Controller(DATA, RUN).ensure_default)
    before = rules_of(host)

    def be_killed():
        whole = getattr(setup, where)

        def die(*words, **named):
            whole(*words, **named)
            if where == "_ensure_rules" or words[1].name == "foo":
                os.kill(os.getpid(), signal.SIGKILL)

        setattr(setup, where, die)
        create("foo", "foo0")

    pid, file = host.start(be_killed)
    os.waitpid(pid, 0)
    file.close()
    assert "foo0" in host.links()
    assert host.call(lambda: [network.name for network in Controller(DATA, RUN).orphans()]) == ["foo"]
    host.call(create, "foo", "foo1")
    assert "foo0" not in host.links() and "foo0" not in host.rules()
    host.call(remove, "foo")
    assert rules_of(host) == before


def test_a_remove_that_was_killed_is_finished_by_the_next(host):
    host.call(create, "foo", "foo0")

    def be_killed():
        setup.device.remove = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        remove("foo")

    pid, file = host.start(be_killed)
    os.waitpid(pid, 0)
    file.close()
    assert "foo0" in host.links()
    host.call(Controller(DATA, RUN).remove_orphans)
    assert "foo0" not in host.links() and "foo0" not in host.rules()


# ---- many at once ----------------------------------------------------------------------------------------------


def test_forty_at_once_on_three_networks(host):
    pids = [host.namespace() for _ in range(40)]
    names = ["bridge", "n1", "n2"]

    def come_and_go(number: int) -> dict:
        endpoint = connect(names[number % 3], pids[number], f"{number:02}")
        if number % 2:
            bridge_endpoint.disconnect(RUN, endpoint, unplug=True)
        return endpoint

    for begun in [host.start(create, name) for name in names[1:]]:
        host.answer(begun)
    endpoints = [host.answer(one) for one in [host.start(come_and_go, number) for number in range(40)]]
    rules = [line for line in host.rules().splitlines() if line.startswith("-A")]
    assert len(rules) == len(set(rules)) == 31
    links = host.links()
    cables = {link["ifname"] for link in links.values() if link["ifname"].startswith("veth")}
    assert cables == {endpoint["HostInterface"] for endpoint in endpoints[::2]}
    stayed = [endpoint["IPAddress"] for endpoint in endpoints[::2]]
    assert len(stayed) == len(set(stayed))
    held = json.loads(
        host.call(
            lambda: json.dumps(sorted(leftover.address for leftover in gc.leftovers(RUN, set()) if leftover.address))
        )
    )
    assert held == sorted(stayed)
    for number in range(0, 40, 2):
        link = host.links(pids[number])["eth0"]
        assert link["addr_info"][0]["local"] == endpoints[number]["IPAddress"]
        assert links[endpoints[number]["HostInterface"]]["master"] == endpoints[number]["Bridge"]


def test_a_start_on_a_network_of_ones_own_runs_no_program(host):
    host.call(create, "foo")
    pid = host.namespace()

    def start():
        process.PATH = "/nonexistent"
        connect("foo", pid)

    host.call(start)
    assert "eth0" in host.links(pid)
