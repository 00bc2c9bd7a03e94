"""Rules flushed, bridges deleted, settings changed, everything taken away: the host is as it should be afterwards."""

from __future__ import annotations

import os
import shutil

import pytest

from harness.network_host import DATA, RUN, Failed, NetworkHost
from minirun.kernel import process
from minirun.network import gc
from minirun.network.bridge import endpoint as bridge_endpoint
from minirun.network.controller import Controller
from minirun.network.daemon_config import Settings
from minirun.network.iptables import apply, chains, endpoint_rules
from minirun.network.iptables.rule import Rule

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and iptables need root")
DNAT = Rule("nat", "MINIRUN", "! -i minirun0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80")


@pytest.fixture
def host():
    with NetworkHost() as made:
        yield made


@pytest.fixture(params=["nft", "legacy"])
def either(request):
    """A host for each of the two iptables; `call` runs the function with that one first on the path."""
    if not shutil.which(f"iptables-{request.param}", path=process.PATH):
        pytest.skip(f"this machine has no iptables-{request.param}")
    with NetworkHost() as made:
        made.text("mkdir", "/run/bin")
        for word in ("", "-save", "-restore"):
            program = shutil.which(f"iptables-{request.param}{word}", path=process.PATH)
            made.text("ln", "-s", program, f"/run/bin/iptables{word}")
        plain = made.start

        def start(function, *arguments):
            def with_path():
                process.PATH = f"/run/bin:{process.PATH}"
                return function(*arguments)

            return plain(with_path)

        made.start = start
        made.environment = {**os.environ, "PATH": f"/run/bin:{os.environ['PATH']}"}
        yield made


def ensure(given: dict | None = None) -> str:
    return Controller(DATA, RUN, lambda: Settings(given)).ensure_default().id


def create(name: str, **options: str) -> None:
    wish = {"Name": name, "Options": {"com.docker.network.bridge.name": name, **options}}
    Controller(DATA, RUN).create(wish)


def start(host, owner: str = "a", name: str = "bridge") -> tuple[int, dict]:
    """A container on a network: (pid, endpoint)."""
    pid = host.namespace()

    def connect() -> dict:
        network = Controller(DATA, RUN).find(name)
        Controller(DATA, RUN).ensure(network)
        return bridge_endpoint.connect(network, owner * 64, pid)

    return pid, host.call(connect)


def publish(endpoint: dict) -> None:
    with apply.writing(RUN) as lock:
        endpoint_rules.add(f"{RUN}/networks/bridge", endpoint, [("-A", DNAT)], known=lock.known)


def reload(given: dict | None = None) -> list:
    return [str(error) for error in Controller(DATA, RUN, lambda: Settings(given)).reload()]


def answers(host, pid: int, address: str) -> bool:
    return host.run("nsenter", f"--net=/proc/{pid}/ns/net", "ping", "-c1", "-W2", address).returncode == 0


# ---- flushed rules ---------------------------------------------------------------------------------------------


def test_the_next_start_puts_back_what_was_flushed(either):
    either.call(ensure)
    either.call(create, "foo")
    _, endpoint = start(either)
    either.call(publish, endpoint)
    before = either.rules()
    for flush in (
        "iptables -F",
        "iptables -t nat -F",
        "iptables -F MINIRUN-ISOLATION-STAGE-2",
        "iptables -D FORWARD -o foo -j MINIRUN",
        "iptables -t nat -D MINIRUN 1",
    ):
        either.text("sh", "-c", flush)
        assert either.rules() != before
        start(either, "b", "foo")
        assert sorted(either.rules().splitlines()) == sorted(before.splitlines()), flush
    either.call(reload)
    assert "--dport 8080" in either.rules()


def test_our_own_changes_do_not_look_like_somebody_elses(either):
    either.call(ensure)
    _, endpoint = start(either)

    def without_programs() -> str:
        found = process.PATH
        process.PATH = "/nonexistent"
        try:
            return ensure()
        finally:
            process.PATH = found

    either.call(publish, endpoint)
    either.call(without_programs)
    either.call(create, "foo")
    either.call(without_programs)
    either.call(lambda: Controller(DATA, RUN).remove(Controller(DATA, RUN).find("foo")))
    either.call(without_programs)
    either.call(bridge_endpoint.disconnect, RUN, endpoint)
    assert "--dport 8080" not in either.rules()
    either.call(without_programs)
    either.text("iptables", "-I", "MINIRUN-USER", "-s", "198.51.100.7", "-j", "DROP")
    with pytest.raises(Failed, match="program not found"):
        either.call(without_programs)
    either.call(ensure)
    either.call(without_programs)


def test_rules_in_the_tables_of_the_other_iptables_are_an_error(host):
    if not shutil.which("iptables-legacy", path=process.PATH):
        pytest.skip("this machine has no iptables-legacy")
    host.text("iptables-legacy", "-N", "MINIRUN")
    with pytest.raises(Failed, match="there are rules of ours in iptables-legacy") as caught:
        host.call(ensure)
    host.text("sh", "-c", caught.value.hint.partition(": ")[2])
    assert "MINIRUN" not in host.text("iptables-legacy", "-S")
    host.text("iptables-legacy", "-A", "INPUT", "-s", "198.51.100.7", "-j", "DROP")  # another's rules do not matter
    host.call(ensure)


# ---- reload ----------------------------------------------------------------------------------------------------


def test_reload_does_what_dockerd_does_when_it_starts(host):
    host.call(ensure)
    host.call(create, "foo")
    host.text("iptables", "-I", "FORWARD", "-i", "adm", "-j", "ACCEPT")
    host.text("iptables", "-I", "MINIRUN-USER", "-s", "198.51.100.7", "-j", "DROP")
    host.text("iptables", "-A", "MINIRUN", "-s", "198.51.100.8", "-j", "DROP")  # our chain: whatever is in it goes
    before = host.call(lambda: Controller(DATA, RUN).find("bridge").inspect())
    assert host.call(reload) == []
    after = host.call(lambda: Controller(DATA, RUN).find("bridge").inspect())
    assert before["IPAM"]["Config"] == [{"Subnet": "172.17.0.0/16"}]  # Docker names a gateway that it finds, only
    assert after["IPAM"]["Config"] == [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]
    assert after["Id"] == before["Id"]
    forward = [line for line in host.text("iptables", "-S", "FORWARD").splitlines() if line.startswith("-A")]
    assert forward == [
        "-A FORWARD -j MINIRUN-USER",
        "-A FORWARD -j MINIRUN-ISOLATION-STAGE-1",
        "-A FORWARD -o minirun0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A FORWARD -o minirun0 -j MINIRUN",
        "-A FORWARD -i minirun0 ! -o minirun0 -j ACCEPT",
        "-A FORWARD -i minirun0 -o minirun0 -j ACCEPT",
        "-A FORWARD -i adm -j ACCEPT",
        "-A FORWARD -o foo -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A FORWARD -o foo -j MINIRUN",
        "-A FORWARD -i foo ! -o foo -j ACCEPT",
        "-A FORWARD -i foo -o foo -j ACCEPT",
    ]
    assert "-A MINIRUN-USER -s 198.51.100.7/32 -j DROP" in host.rules()
    assert "198.51.100.8" not in host.rules()
    isolation = [line for line in host.rules().splitlines() if line.startswith("-A MINIRUN-ISOLATION-STAGE-2")]
    assert isolation == [
        f"-A MINIRUN-ISOLATION-STAGE-2 {words}" for words in ("-o minirun0 -j DROP", "-o foo -j DROP", "-j RETURN")
    ]


@pytest.mark.parametrize("way", ["reload", "the next start"])
def test_a_bridge_deleted_by_hand_comes_back_with_its_ports(host, way):
    host.call(create, "foo")
    (one, _), (two, _) = start(host, "a", "foo"), start(host, "b", "foo")
    mac = host.links()["foo"]["address"]
    host.text("ip", "link", "del", "foo")
    host.text("ip", "link", "del", "minirun0")
    if way == "reload":
        host.call(reload)
    else:
        start(host, "c", "foo")
    link = host.links()["foo"]
    assert (link["address"], link["addr_info"][0]["local"]) == (mac, "172.18.0.1")
    assert answers(host, one, "172.18.0.3") and answers(host, two, "172.18.0.1")
    assert "minirun0" in host.links()


def test_after_a_boot_all_networks_are_laid_in_dockerds_order(host):
    host.call(ensure)
    for name in ("cc", "aa", "bb"):
        host.call(create, name)
    identities = host.call(lambda: {network.id: network.name for network in Controller(DATA, RUN).every()})
    names = [identities[key] for key in sorted(identities) if identities[key] in ("aa", "bb", "cc")]
    with NetworkHost() as rebooted:
        rebooted.text("mkdir", "-p", DATA)
        shutil.copytree(f"/proc/{host.pid}/root{DATA}", f"/proc/{rebooted.pid}/root{DATA}", dirs_exist_ok=True)
        rebooted.call(ensure)
        drops = [
            line.split()[3]
            for line in rebooted.text("iptables", "-S", "MINIRUN-ISOLATION-STAGE-2").splitlines()
            if line.endswith("DROP")
        ]
        assert drops == ["minirun0", *reversed(names)]
        assert {"aa", "bb", "cc", "minirun0"} <= set(rebooted.links())


# ---- settings --------------------------------------------------------------------------------------------------


def addresses(host) -> list[str]:
    return [
        f"{a['local']}/{a['prefixlen']}"
        for a in host.links()["minirun0"]["addr_info"]
        if not a["local"].startswith("fe")
    ]


def test_bip_fixed_cidr_mtu_and_gateway(host):
    given = {"bip": "10.9.9.1/24", "fixed-cidr": "10.9.9.128/25", "mtu": 1400, "default-gateway": "10.9.9.254"}
    pid = host.namespace()

    def begin():
        network = Controller(DATA, RUN, lambda: Settings(given)).ensure_default()
        return network.inspect()["IPAM"]["Config"], bridge_endpoint.connect(network, "a" * 64, pid)

    config, endpoint = host.call(begin)
    assert config == [
        {
            "Subnet": "10.9.9.0/24",
            "IPRange": "10.9.9.128/25",
            "Gateway": "10.9.9.1",
            "AuxiliaryAddresses": {"DefaultGatewayIPv4": "10.9.9.254"},
        }
    ]
    assert (endpoint["IPAddress"], endpoint["Gateway"]) == ("10.9.9.128", "10.9.9.254")
    assert addresses(host) == ["10.9.9.1/24"]
    assert host.links(pid)["eth0"]["mtu"] == host.links()["minirun0"]["mtu"] == 1400  # the bridge follows its port
    assert "default via 10.9.9.254 dev eth0" in host.within(pid, "ip", "route")
    assert "-A POSTROUTING -s 10.9.9.0/24 ! -o minirun0 -j MASQUERADE" in host.rules()


def test_without_proxy(host):
    given = {"userland-proxy": False}
    pid = host.namespace()

    def begin():
        bridge_endpoint.connect(Controller(DATA, RUN, lambda: Settings(given)).ensure_default(), "a" * 64, pid)

    host.call(begin)
    nat = [line for line in host.text("iptables", "-t", "nat", "-S").splitlines() if line.startswith("-A")]
    assert nat == [
        "-A PREROUTING -m addrtype --dst-type LOCAL -j MINIRUN",
        "-A OUTPUT -m addrtype --dst-type LOCAL -j MINIRUN",
        "-A POSTROUTING -o minirun0 -m addrtype --src-type LOCAL -j MASQUERADE",
        "-A POSTROUTING -s 172.17.0.0/16 ! -o minirun0 -j MASQUERADE",
    ]
    assert host.sysctl("ipv4/conf/minirun0/route_localnet") == "1"
    cable = next(link for link in host.links().values() if link["ifname"].startswith("veth"))
    assert cable["linkinfo"]["info_slave_data"]["hairpin"] is True


def test_ipv6_on_the_default_bridge(host):
    given = {"ipv6": True, "fixed-cidr-v6": "2001:db8:1::/64"}
    pid = host.namespace()
    endpoint = host.call(
        lambda: bridge_endpoint.connect(Controller(DATA, RUN, lambda: Settings(given)).ensure_default(), "a" * 64, pid)
    )
    assert endpoint["GlobalIPv6Address"] == "2001:db8:1::242:ac11:2"
    assert "2001:db8:1::1/64" in addresses(host)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"bip": "bad"}, "invalid CIDR address: bad"),
        (
            {"bip": "10.1.0.0/16"},
            'Error creating default "bridge" network: failed to allocate gateway (10.1.0.0): Address already in use',
        ),
        (
            {"ipv6": True},
            "IPv6 is enabled for the default bridge, but no subnet is configured. Specify an IPv6 subnet using"
            " --fixed-cidr-v6",
        ),
        (
            {"default-gateway": "192.0.2.1"},
            'Error creating default "bridge" network: auxiliary address: '
            "(DefaultGatewayIPv4:192.0.2.1) must belong to the master pool: 172.17.0.0/16",
        ),
        ({"default-address-pools": [{"base": "10.50.0.0/16", "size": 8}]}, "invalid pools size: 8"),
    ],
)
def test_settings_that_cannot_be(host, given, text):
    with pytest.raises(Failed) as caught:
        host.call(ensure, given)
    assert str(caught.value) == text
    assert list(host.links()) == ["lo"] and "MINIRUN" not in host.rules()


def test_changed_settings_count_from_the_next_start_but_not_under_containers(host):
    host.call(ensure)
    host.call(ensure, {"bip": "10.9.9.1/24", "icc": False})
    assert addresses(host) == ["10.9.9.1/24"]
    assert "172.17." not in host.rules()
    assert host.rules().count("-i minirun0 -o minirun0") == 1
    assert "-A FORWARD -i minirun0 -o minirun0 -j DROP" in host.rules()
    host.call(ensure, {"userland-proxy": False})
    assert "-j RETURN" not in host.text("iptables", "-t", "nat", "-S")
    host.call(ensure)
    first = host.rules()
    with NetworkHost() as fresh:
        fresh.text("sh", "-c", "ip link add minirun0 type bridge; ip addr add 10.9.9.1/24 dev minirun0")
        fresh.call(ensure)
        assert first.replace("MASQ", "") == fresh.rules().replace("MASQ", "")
    start(host)
    before = host.rules(), addresses(host)
    host.call(ensure, {"bip": "10.8.8.1/24", "icc": False})
    assert (host.rules(), addresses(host)) == before


def test_links_where_containers_may_not_speak_with_each_other(host):
    one, two = host.namespace(), host.namespace()
    given = {"icc": False}

    def begin():
        network = Controller(DATA, RUN, lambda: Settings(given)).ensure_default()
        client, server = (bridge_endpoint.connect(network, owner * 64, pid) for owner, pid in (("a", one), ("b", two)))
        changes = chains.link_rules(
            network.bridge, client["IPAddress"], server["IPAddress"], [("tcp", 80), ("udp", 90)]
        )
        with apply.writing(RUN) as lock:
            endpoint_rules.add(network.directory, client, changes, known=lock.known)

    host.call(begin)
    assert [line for line in host.rules().splitlines() if line.startswith("-A MINIRUN -s")] == [
        "-A MINIRUN -s 172.17.0.2/32 -d 172.17.0.3/32 -i minirun0 -o minirun0 -p udp -m udp --dport 90 -j ACCEPT",
        "-A MINIRUN -s 172.17.0.3/32 -d 172.17.0.2/32 -i minirun0 -o minirun0 -p udp -m udp --sport 90 -j ACCEPT",
        "-A MINIRUN -s 172.17.0.2/32 -d 172.17.0.3/32 -i minirun0 -o minirun0 -p tcp -m tcp --dport 80 -j ACCEPT",
        "-A MINIRUN -s 172.17.0.3/32 -d 172.17.0.2/32 -i minirun0 -o minirun0 -p tcp -m tcp --sport 80 -j ACCEPT",
    ]
    assert not answers(host, one, "172.17.0.3")


# ---- everything away -------------------------------------------------------------------------------------------


def whole_state(host) -> tuple:
    tables = "\n".join(host.text(f"{word}-save") for word in ("iptables", "ip6tables"))
    lines = [line for line in tables.splitlines() if not line.startswith("#")]
    sysctls = host.run("sh", "-c", "cd /proc/sys/net && grep -r . ipv4 ipv6 bridge 2>/dev/null").stdout
    return lines, sorted(host.links()), sysctls, host.text("ip", "route")


def test_reset_gives_the_host_back_as_it_was(host):
    host.text("iptables", "-A", "FORWARD", "-i", "adm", "-j", "ACCEPT")
    host.text("iptables", "-t", "nat", "-A", "POSTROUTING", "-o", "adm", "-j", "ACCEPT")
    before = whole_state(host)
    host.call(ensure)
    host.call(create, "foo")
    host.call(
        lambda: Controller(DATA, RUN).create(
            {"Name": "six", "EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "2001:db8:1::/64"}]}}
        )
    )
    _, endpoint = start(host, "a")
    start(host, "b", "foo")
    host.call(publish, endpoint)
    assert host.call(Controller(DATA, RUN).reset) == []
    assert whole_state(host) == before
    assert host.text("ls", f"{RUN}/networks").split() == ["ifindex"]
    assert host.call(Controller(DATA, RUN).reset) == []
    start(host, "c", "foo")  # the network is still known
    assert {"foo", "minirun0"} <= set(host.links())


def test_reset_leaves_what_is_not_ours(host):
    host.call(ensure)
    host.text("iptables", "-I", "MINIRUN-USER", "-s", "198.51.100.7", "-j", "DROP")
    host.text("iptables", "-N", "DOCKER")
    left = host.call(Controller(DATA, RUN).reset)
    assert left == [
        "chain MINIRUN-USER: it has rules that are not ours",
        "ip_forward and FORWARD's policy: Docker is on this host too",
    ]
    assert [line for line in host.rules().splitlines() if "MINIRUN" in line] == [
        "-N MINIRUN-USER",
        "-A FORWARD -j MINIRUN-USER",
        "-A MINIRUN-USER -s 198.51.100.7/32 -j DROP",
        "-A MINIRUN-USER -j RETURN",
    ]
    assert host.sysctl("ipv4/ip_forward") == "1" and "-P FORWARD DROP" in host.rules()


# ---- what the dead leave ---------------------------------------------------------------------------------------


def test_rules_of_the_dead_go_before_their_address_is_free(host):
    host.call(ensure)
    _, endpoint = start(host)
    host.call(publish, endpoint)
    found = host.call(lambda: [(leftover.kind, str(leftover)) for leftover in gc.leftovers(RUN, set())])
    assert found == [
        ("rules", "firewall rules of an endpoint remain of container aaaaaaaaaaaa, which is gone"),
        ("address", "address 172.17.0.2 is held for container aaaaaaaaaaaa, which is gone"),
    ]
    host.call(gc.release_all, RUN, "a" * 64)
    assert "8080" not in host.rules()
    assert host.call(lambda: gc.leftovers(RUN, set())) == []
