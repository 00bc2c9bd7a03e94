"""The canonical form of a transcript: what is renamed is random and nothing else, and no line or value gets lost."""

from __future__ import annotations

import json

import pytest

from harness.twin.canonical import WORDS, Names, canonical, forms_of
from harness.twin.differences import Difference, differences
from harness.twin.host_pair import in_our_words
from harness.twin.network_state import Section

ONE, TWO = "1" * 12 + "a" * 52, "2" * 12 + "b" * 52


def link(name: str, mac: str, kind: str = "veth", **more: object) -> dict:
    return {"ifindex": 5, "ifname": name, "address": mac, "linkinfo": {"info_kind": kind}, **more}


def links(*found: dict) -> Section:
    return Section("look 1, host: ip -d -j link", "json", json.dumps(found))


def text(words: str, title: str = "1 $ ps: output", form: str = "lines") -> Section:
    return Section(title, form, words)


def equal(docker: list[Section], minirun: list[Section]) -> bool:
    return not differences(canonical(docker, WORDS), canonical(minirun))


# ---- random names ----------------------------------------------------------------------------------------------


def test_ids_are_renamed_by_their_first_appearance():
    assert equal([text(f"{ONE}\n{TWO}\n{ONE[:12]}")], [text(f"{TWO}\n{ONE}\n{TWO[:12]}")])


@pytest.mark.parametrize(
    "other",
    [
        f"{ONE}\n{TWO}\n{TWO[:12]}",  # the short id is the other's
        f"{ONE}\n{ONE}\n{ONE[:12]}",  # one id where there are two
        f"{ONE}\n{TWO}\n{ONE}",  # long where it is short
        f"{ONE}\n{TWO}\n{'c' * 12}",  # a short id that belongs to nothing
        f"{ONE}\n{TWO[:63]}\n{ONE[:12]}",  # one digit is missing
    ],
)
def test_an_id_stands_for_itself(other):
    assert not equal([text(f"{ONE}\n{TWO}\n{ONE[:12]}")], [text(other)])


def test_a_bridge_has_the_name_of_its_network():
    seen = "ip link: br-{0}"

    def one(network: str, shown: str) -> list[Section]:
        return [text(network), text(seen.format(shown[:12]), "2 $ ip: output")]

    assert equal(one(ONE, ONE), one(TWO, TWO))
    assert not equal(one(ONE, ONE), one(TWO, ONE))


def test_cables_and_their_macs():
    docker = [
        links(link("veth29349cc", "ca:59:19:d4:ab:57", broadcast="ff:ff:ff:ff:ff:ff")),
        text("fe80::c859:19ff:fed4:ab57/64 dev veth29349cc lladdr ca:59:19:d4:ab:57"),
    ]
    ours = [
        links(link("veth1234567", "aa:00:00:00:00:01", broadcast="ff:ff:ff:ff:ff:ff")),
        text("fe80::a800:ff:fe00:1/64 dev veth1234567 lladdr aa:00:00:00:00:01"),
    ]
    assert equal(docker, ours)
    for wrong in (
        "fe80::a800:ff:fe00:2/64 dev veth1234567 lladdr aa:00:00:00:00:01",
        "fe80::a800:ff:fe00:1/64 dev veth1234568 lladdr aa:00:00:00:00:01",
        "fe80::a800:ff:fe00:1/64 dev veth1234567 lladdr aa:00:00:00:00:02",
    ):
        assert not equal(docker, [ours[0], text(wrong)])


@pytest.mark.parametrize(
    "other",
    [
        link("veth12345678", "aa:00:00:00:00:01"),  # eight digits
        link("eth1234567", "aa:00:00:00:00:01"),
        link("veth1234567", "aa:00:00:00:00:01", mtu=1400),
        link("veth1234567", "aa:00:00:00:00:01", kind="tun"),
    ],
)
def test_a_cable_has_dockers_form(other):
    assert not equal([links(link("veth29349cc", "ca:59:19:d4:ab:57"))], [links(other)])


def test_two_links_with_one_mac_are_not_two_macs():
    """A bridge that takes over the MAC of its first port looks much like one that has its own."""
    docker = [links(link("docker0", "02:42:00:00:00:01", "bridge"), link("veth29349cc", "ca:59:19:d4:ab:57"))]
    ours = [links(link("minirun0", "02:42:00:00:00:01", "bridge"), link("veth29349cc", "02:42:00:00:00:01"))]
    assert not equal(docker, ours)


def test_a_bridges_mac_begins_as_dockers():
    docker = [links(link("docker0", "02:42:5a:0e:1a:75", "bridge")), text("8000.2:42:5a:e:1a:75")]
    assert equal(docker, [links(link("minirun0", "02:42:00:11:22:33", "bridge")), text("8000.2:42:0:11:22:33")])
    assert not equal(docker, [links(link("minirun0", "02:43:00:11:22:33", "bridge")), text("8000.2:43:0:11:22:33")])


def test_a_containers_mac_is_no_random_name():
    title = "look 1, c1: ip -d -j link"
    docker, ours = (
        Section(title, "json", json.dumps([link("eth0", mac)])) for mac in ("02:42:ac:11:00:02", "02:42:ac:11:00:03")
    )
    assert not equal([docker], [ours])


def test_forms_of_a_mac():
    assert forms_of("02:42:5a:0e:1a:75") == {
        "MAC": "02:42:5a:0e:1a:75",
        "solicited MAC": "33:33:ff:0e:1a:75",
        "bridge id": "8000.2:42:5a:e:1a:75",
        "link-local": "fe80::42:5aff:fe0e:1a75",
    }


def test_ports_of_the_name_service():
    rules = (
        "-A OUTPUT -p tcp --dport 53 -j DNAT --to-destination 127.0.0.11:{0}\n"
        "-A OUTPUT -p udp --dport 53 -j DNAT --to-destination 127.0.0.11:{1}\n"
        "-A POSTROUTING -p tcp --sport {0} -j SNAT --to-source :53\n"
        "-A POSTROUTING -p udp --sport {2} -j SNAT --to-source :53"
    )
    flow = "udp 17 9 src=127.0.0.1 dst=127.0.0.11 sport=1 dport=53 src=127.0.0.11 dst=127.0.0.1 sport={0} dport=1"

    def one(tcp: int, udp: int, source: int, flow_port: int) -> list[Section]:
        return [
            text(rules.format(tcp, udp, source), "look 1, c1: iptables -t nat -S"),
            text(f"udp UNCONN 127.0.0.11:{udp}", "look 1, c1: ss -Hlntu"),
            text(flow.format(flow_port), "look 1, c1: conntrack -L"),
        ]

    assert equal(one(42819, 35711, 35711, 35711), one(33333, 44444, 44444, 44444))
    assert not equal(one(42819, 35711, 35711, 35711), one(33333, 44444, 33333, 44444))
    assert not equal(one(42819, 35711, 35711, 35711), one(33333, 44444, 44444, 33333))
    assert not equal([text("--to-destination 172.17.0.2:80")], [text("--to-destination 172.17.0.2:81")])
    assert not equal([text("127.0.0.11:53")], [text("127.0.0.11:54")])


def test_a_port_that_the_kernel_chose():
    flow = "tcp 6 9 src=172.17.0.1 dst=172.17.0.2 sport={0} dport={2} src=172.17.0.2 dst=172.17.0.1 sport=80 dport={1}"

    def one(*ports: int) -> list[Section]:
        return [text(flow.format(*ports), "look 1, host: conntrack -L")]

    assert equal(one(40001, 40001, 80), one(50001, 50001, 80))
    assert not equal(one(40001, 40001, 80), one(50001, 50002, 80))
    assert not equal(one(40001, 40001, 32768), one(50001, 50001, 32769))
    assert not equal(one(20001, 20001, 80), one(20002, 20002, 80))


# ---- the engines' own words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("docker", "ours"),
    [
        ("-A FORWARD -o docker0 -j DOCKER", "-A FORWARD -o minirun0 -j MINIRUN"),
        ("-N DOCKER-ISOLATION-STAGE-1\n-N DOCKER-USER", "-N MINIRUN-ISOLATION-STAGE-1\n-N MINIRUN-USER"),
        ("net.ipv4.conf.docker0.rp_filter = 0", "net.ipv4.conf.minirun0.rp_filter = 0"),
        ("docker: Error response.\nSee 'docker run --help'.", "minirun: Error response.\nSee 'minirun run --help'."),
        (
            "Usage:  docker run X\n\nRun 'docker run --help'\n\"docker run\" requires",
            "Usage:  minirun run X\n\nRun 'minirun run --help'\n\"minirun run\" requires",
        ),
        ("host.docker.internal com.docker.network.bridge.name", "host.docker.internal com.docker.network.bridge.name"),
        ("-N DOCKER_OUTPUT", "-N MINIRUN_OUTPUT"),
    ],
)
def test_words(docker, ours):
    assert equal([text(docker)], [text(ours)])
    assert in_our_words(docker) == ours


@pytest.mark.parametrize(
    ("docker", "ours"),
    [
        ("-j DOCKER", "-j DOCKER"),
        ("docker0", "docker0"),
        ("docker: no", "docker: no"),
        ("docker0", "minirun1"),
        ("-j DOCKER-USER", "-j MINIRUN"),
        ("docker00", "minirun00"),
        ("DOCKER-USERS", "MINIRUN-USERS"),
        ("host.docker.internal", "host.minirun.internal"),
    ],
)
def test_no_other_words(docker, ours):
    assert not equal([text(docker)], [text(ours)])


# ---- what ages -------------------------------------------------------------------------------------------------


def test_ages():
    neigh, conntrack, sysctl = (
        f"look 1, host: {command}" for command in ("ip neigh", "conntrack -L", "sysctl -a -r ^net[.]")
    )
    line = "172.17.0.2 dev docker0 lladdr 02:42:ac:11:00:02 "
    assert equal([text(line + "REACHABLE", neigh)], [text(line.replace("docker", "minirun") + "STALE", neigh)])
    assert not equal([text(line + "REACHABLE", neigh)], [text(line.replace("docker", "minirun") + "FAILED", neigh)])
    assert not equal([text(line + "STALE")], [text(line.replace("docker", "minirun") + "REACHABLE")])
    flow = "tcp      6 {} TIME_WAIT src=172.17.0.2 dst=203.0.113.2 sport=2000{} dport=9000 [ASSURED] mark=0 use=1"
    assert equal([text(flow.format(119, 1), conntrack)], [text(flow.format(7, 1), conntrack)])
    assert not equal([text(flow.format(119, 1), conntrack)], [text(flow.format(119, 2), conntrack)])
    count = "net.netfilter.nf_conntrack_{} = {}"
    assert equal([text(count.format("count", 3), sysctl)], [text(count.format("count", 4), sysctl)])
    assert not equal([text(count.format("max", 3), sysctl)], [text(count.format("max", 4), sysctl)])
    assert equal([text("at 2026-11-23T03:03:30.58834236Z")], [text("at 2027-01-01T00:00:00.1+01:00")])
    assert not equal([text("at 0001-01-01T00:00:00Z")], [text("at 2027-01-01T00:00:00.1Z")])


def test_timers_of_a_bridge_are_left_out_and_its_settings_are_not():
    def one(**data: int) -> list[Section]:
        return [links(link("docker0", "02:42:00:00:00:01", "bridge") | {"linkinfo": {"info_data": data}})]

    assert equal(
        [text(""), *one(gc_timer=4, hello_time=200)],
        [
            text(""),
            *(
                section._replace(text=section.text.replace("docker0", "minirun0"))
                for section in one(gc_timer=9, hello_time=200)
            ),
        ],
    )
    assert not equal(one(hello_time=200), one(hello_time=201))


# ---- order and loss --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("docker", "ours"), [("a\n", "a"), ("a \n", "a\n"), ("a\n\n", "a\n"), ("a\n", "A\n")])
def test_what_a_command_prints_counts_to_the_last_byte(docker, ours):
    assert not equal([text(docker)], [text(ours)])


def test_order_counts_where_it_means_something():
    assert not equal([text("-A X\n-A Y")], [text("-A Y\n-A X")])
    assert equal([text("b\na", form="set")], [text("a\nb", form="set")])
    assert not equal([text("a\na\nb", form="set")], [text("a\nb", form="set")])


def test_every_value_of_a_link_counts():
    found = link("eth0", "02:42:ac:11:00:02", mtu=1500, flags=["UP", "LOWER_UP"], addr_info=[{"local": "172.17.0.2"}])
    for change in (
        {"mtu": 1499},
        {"flags": ["UP"]},
        {"flags": ["LOWER_UP", "UP"]},
        {"addr_info": []},
        {"addr_info": [{"local": "172.17.0.3"}]},
        {"addr_info": [{"local": "172.17.0.2"}] * 2},
        {"linkinfo": {"info_kind": "tun"}},
        {"more": None},
    ):
        assert not equal([links(found)], [links({**found, **change})])
    assert not equal([links(found)], [links(found, found)])
    assert not equal([links({**found, "mtu": 1500})], [links({**found, "mtu": "1500 "})])


def test_a_section_that_is_missing_is_a_difference():
    assert not equal([text("a"), text("b", "2 $ ps: output")], [text("a")])


def test_names_are_those_of_the_whole_transcript():
    names = Names([text(ONE), links(link("veth29349cc", "ca:59:19:d4:ab:57"))])
    assert names.rename(f"{ONE[:12]} veth29349cc@if3 xveth29349cc") == "<id 1, short> <veth 1>@if3 xveth29349cc"


# ---- differences that are meant --------------------------------------------------------------------------------

MEANT = Difference(r"resolv\.conf$", r"options a", r"options b", "because")


@pytest.mark.parametrize(
    ("title", "docker", "ours", "fine"),
    [
        ("c1: /etc/resolv.conf", "x\noptions a", "x\noptions b", True),
        ("c1: /etc/hosts", "x\noptions a", "x\noptions b", False),  # elsewhere
        ("c1: /etc/resolv.conf", "x\noptions a", "x\noptions c", False),  # another difference in its place
        ("c1: /etc/resolv.conf", "x\noptions a", "y\noptions b", False),  # another one beside it
        ("c1: /etc/resolv.conf", "x\noptions a", "x", False),  # one side has nothing
        ("c1: /etc/resolv.conf", "x\noptions a", "x\noptions a", False),  # it is not there any more
    ],
)
def test_what_is_meant_is_narrow(title, docker, ours, fine):
    found = differences(canonical([text(docker, title)]), canonical([text(ours, title)]), (MEANT,))
    assert (found == []) is fine
