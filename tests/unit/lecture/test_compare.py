"""The pure half of `compare`: names that must differ, rules that concern a container, what is a finding."""

from __future__ import annotations

import copy

import pytest

from minirun.cli.compare import compare as verb
from minirun.cli.compare import table, text
from minirun.lecture.compare import diff, explanations, relevant_rules, snapshot, snapshot_process
from minirun.lecture.compare.finding import DIFFERENT, SAME, Finding
from minirun.lecture.compare.normalise import Vocabulary, link_local

ID_A, ID_B = "a1" * 32, "b2" * 32


def cable(address: str = "172.17.0.2", **changes: object) -> dict:
    """A cable from eth0 to docker0, as a snapshot has it."""
    mac = "02:42:" + bytes(map(int, address.split("."))).hex(":")
    return {
        "interface": "eth0",
        "mac": mac,
        "random": False,
        "addresses": [f"{address}/16"],
        "cable": "veth0a1b2c3",
        "cable mac": "ca:59:19:d4:ab:57",
        "bridge": "docker0",
        "bridge mac": "02:42:5a:0e:1a:75",
        "bridge number": 4,
        "host": 1,
        "networks": ["172.17.0.1/16"],
        "numbering": "its own +1",
        **changes,
    }


def about(container_id: str = ID_A, engine: str = "docker", *cables: dict, hostname: str = "") -> dict:
    return {
        "word": engine,
        "engine": engine,
        "id": container_id,
        "pid": 1,
        "hostname": hostname or container_id[:12],
        "cables": list(cables),
    }


def ours(address: str = "172.18.0.2", **changes: object) -> dict:
    return cable(
        address,
        **{
            "bridge": "minirun0",
            "bridge number": 6,
            "networks": ["172.18.0.1/16"],
            "cable": "veth9999999",
            "bridge mac": "02:42:00:11:22:33",
            **changes,
        },
    )


DOCKER, MINIRUN = about(ID_A, "docker", cable()), about(ID_B, "minirun", ours())


@pytest.mark.parametrize(
    ("topic", "a", "b"),
    [
        ("", f"{ID_A} {ID_A[:12]}", f"{ID_B} {ID_B[:12]}"),
        ("links", "host veth0a1b2c3", "host veth9999999"),
        ("links", "8000 02:42:5a:0e:1a:75", "8000 02:42:00:11:22:33"),
        ("links", "02:42:ac:11:00:02", "02:42:ac:12:00:02"),
        ("addresses", "eth0 inet 172.17.0.2/16", "eth0 inet 172.18.0.2/16"),
        ("addresses", "host docker0 inet 172.17.0.1/16", "host minirun0 inet 172.18.0.1/16"),
        (
            "addresses",
            f"host docker0 inet6 {link_local('02:42:5a:0e:1a:75')}/64",
            f"host minirun0 inet6 {link_local('02:42:00:11:22:33')}/64",
        ),
        ("routes", "local eth0 172.17.255.255", "local eth0 172.18.255.255"),
        (
            "rules",
            "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
            "-A POSTROUTING -s 172.18.0.0/16 ! -o minirun0 -j MASQUERADE",
        ),
        (
            "rules",
            "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80",
            "-A MINIRUN ! -i minirun0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.18.0.2:80",
        ),
        ("rules", "-A FORWARD -j DOCKER-ISOLATION-STAGE-1", "-A FORWARD -j MINIRUN-ISOLATION-STAGE-1"),
        (
            "rules",
            "-A DOCKER_OUTPUT -d 127.0.0.11/32 -p udp -m udp --dport 53 -j DNAT --to-destination 127.0.0.11:35711",
            "-A MINIRUN_OUTPUT -d 127.0.0.11/32 -p udp -m udp --dport 53 -j DNAT --to-destination 127.0.0.11:41000",
        ),
        (
            "rules",
            "-A DOCKER_POSTROUTING -s 127.0.0.11/32 -p tcp -m tcp --sport 42819 -j SNAT --to-source :53",
            "-A MINIRUN_POSTROUTING -s 127.0.0.11/32 -p tcp -m tcp --sport 41001 -j SNAT --to-source :53",
        ),
        ("sysctls", "net.ipv4.conf.docker0.forwarding", "net.ipv4.conf.minirun0.forwarding"),
        ("files", f"172.17.0.2\t{ID_A[:12]}", f"172.18.0.2\t{ID_B[:12]}"),
        ("mounts", f"/lib/docker/containers/{ID_A}/hosts", f"/var/lib/minirun/containers/{ID_B}/hosts"),
        ("mounts", f"/lib/docker/volumes/{ID_A}/_data", f"/var/lib/minirun/volumes/{ID_B}/_data"),
        ("mounts", "/lib/docker/volumes/notes/_data", "/var/lib/minirun/volumes/notes/_data"),
        ("mounts", "lowerdir=/x/l/ABC:/x/l/DEF", "lowerdir=/y/layers/1"),
        ("mounts", "master:5", "master:12"),
        ("limits", f"/docker/{ID_A}", f"/minirun/{ID_B}"),
    ],
)
def test_names_that_must_differ_stand_for_the_same(topic: str, a: str, b: str) -> None:
    assert Vocabulary(DOCKER, MINIRUN, topic)(a) == Vocabulary(MINIRUN, DOCKER, topic)(b)


@pytest.mark.parametrize(
    ("topic", "a", "b"),
    [
        ("addresses", "eth0 inet 172.17.0.2/16", "eth0 inet 172.18.0.3/16"),  # another place in the subnet
        ("addresses", "eth0 inet 172.17.0.2/16", "eth0 inet 172.18.0.2/24"),
        ("links", "02:42:ac:11:00:02", "02:11:22:33:44:55"),  # one was made of the address, one was set
        ("rules", "--to-destination 172.17.0.2:80", "--to-destination 172.18.0.2:81"),
        ("rules", "-s 172.17.0.23/32", "-s 172.18.0.24/32"),  # 172.17.0.2 is no part of a longer number
        ("rules", "-s 192.0.2.1/32", "-s 192.0.2.2/32"),
        ("rules", "-s 127.0.0.11/32 -p tcp -m tcp --dport 53", "-s 127.0.0.11/32 -p tcp -m tcp --dport 54"),
        ("files", "172.17.0.2\tbox", "172.18.0.2\tbax"),
        ("mounts", "/lib/docker/volumes/notes/_data", "/var/lib/minirun/volumes/other/_data"),
        ("mounts", "master:5", "private"),
        ("limits", "devices", "device"),
    ],
)
def test_a_difference_is_not_explained_away(topic: str, a: str, b: str) -> None:
    assert Vocabulary(DOCKER, MINIRUN, topic)(a) != Vocabulary(MINIRUN, DOCKER, topic)(b)


def test_two_containers_on_one_bridge_cannot_have_one_address() -> None:
    one, other = about(ID_A, "docker", cable()), about(ID_B, "docker", cable("172.17.0.3"))
    for topic in ("addresses", "routes"):
        assert Vocabulary(one, other, topic)("172.17.0.2/16") == Vocabulary(other, one, topic)("172.17.0.3/16")
        assert Vocabulary(one, other, topic)("172.17.0.9") == "172.17.0.9"


def test_the_same_subnet_on_two_hosts_must_give_the_same_address() -> None:
    one, other = about(ID_A, "docker", cable(host=1)), about(ID_B, "minirun", cable("172.17.0.3", host=2))
    assert Vocabulary(one, other, "addresses")("172.17.0.2") != Vocabulary(other, one, "addresses")("172.17.0.3")
    assert Vocabulary(one, other, "files")("172.17.0.2") == Vocabulary(other, one, "files")("172.17.0.3")


def test_a_host_name_is_compared_unless_it_is_the_id() -> None:
    named = about("", "", hostname="box")
    assert Vocabulary(named, named)("box") == "box"
    assert Vocabulary(about("", "", hostname="0123456789ab"), named)("0123456789ab") == "<id12>"


SAVED = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [7:99]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
:MINIRUN - [0:0]
:MINE - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j MINIRUN-USER
-A FORWARD -s 198.51.100.7/32 -j DROP
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -o minirun0 -j MINIRUN
-A FORWARD -j MINE
-A FORWARD -s 172.18.0.2/32 -d 172.18.0.2/32 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER -d 172.17.0.3/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-USER -j RETURN
-A MINE -d 172.17.0.2/32 -j ACCEPT
-A MINE -d 192.0.2.1/32 -j ACCEPT
-A MINIRUN-USER -j RETURN
COMMIT
""".replace(":MINIRUN ", ":MINIRUN-USER - [0:0]\n:MINIRUN ")


def test_rules_that_concern_a_container() -> None:
    container = relevant_rules.Container(["docker0", "veth0a1b2c3"], ["172.17.0.2/16"], ["172.17.0.1/16"])
    found = relevant_rules.telling(relevant_rules.concerning(relevant_rules.parse(SAVED), container))
    assert found == {
        ("filter", "FORWARD"): [
            "-P FORWARD DROP",
            "-A FORWARD -j DOCKER-USER",
            "-A FORWARD -s 198.51.100.7/32 -j DROP",
            "-A FORWARD -o docker0 -j DOCKER",
        ],
        ("filter", "DOCKER"): [
            "-N DOCKER",
            "-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT",
        ],
        ("filter", "DOCKER-USER"): ["-N DOCKER-USER", "-A DOCKER-USER -j RETURN"],
        ("filter", "MINE"): ["-N MINE", "-A MINE -d 172.17.0.2/32 -j ACCEPT"],
    }


def observation(facts: dict, **topics: dict) -> dict:
    return {"about": facts, "topics": topics}


def verdicts(a: dict, b: dict) -> list[tuple]:
    found = diff.compare(observation(DOCKER, **a), observation(MINIRUN, **b))
    return [
        (finding.topic, finding.name, finding.aspect, finding.verdict, finding.a, finding.b)
        for findings in found.values()
        for finding in findings
        if finding.verdict != SAME
    ]


def test_properties_are_compared_one_by_one() -> None:
    a = {"eth0": {"mtu": "1500", "qdisc": "noqueue", "alias": "x"}, "lo": {"mtu": "65536"}}
    b = {"eth0": {"mtu": "1400", "qdisc": "noqueue", "master": "y"}, "eth1": {"mtu": "1500"}}
    assert verdicts({"links": a}, {"links": b}) == [
        ("links", "eth0", "mtu", "different", "1500", "1400"),
        ("links", "eth0", "alias", "only A", "x", ""),
        ("links", "eth0", "master", "only B", "", "y"),
        ("links", "lo", "", "only A", "mtu 65536", ""),
        ("links", "eth1", "", "only B", "", "mtu 1500"),
    ]


def test_things_that_only_the_last_word_tells_apart_are_a_pair() -> None:
    properties = {"scope": "global"}
    assert verdicts(
        {"addresses": {"eth0 inet 192.0.2.1/24": properties, "lo inet 127.0.0.1/8": properties}},
        {"addresses": {"eth0 inet 192.0.2.9/24": properties, "lo inet 127.0.0.1/8": properties}},
    ) == [("addresses", "eth0 inet", "192.0.2.1/24", "different", "192.0.2.1/24", "192.0.2.9/24")]


def test_lines_have_an_order() -> None:
    a = ["-N X", "-A X -s 192.0.2.1 -j DROP", "-A X -j RETURN"]
    b = ["-N X", "-A X -j RETURN", "-A X -s 192.0.2.1 -j DROP"]
    found = verdicts({"rules": {"filter X": a}}, {"rules": {"filter X": b}})
    assert [finding[2:4] for finding in found] == [(explanations.PLACE, "different")]
    assert verdicts({"rules": {"filter X": a}}, {"rules": {"filter X": a[:-1]}}) == [
        ("rules", "filter X", "", "only A", "-A X -j RETURN", "")
    ]
    assert verdicts(
        {"files": {"/etc/hosts": ["127.0.0.1\tlocalhost", "192.0.2.1\tone"]}},
        {"files": {"/etc/hosts": ["127.0.0.1\tlocalhost", "192.0.2.1\ttwo"]}},
    ) == [("files", "/etc/hosts", "", "different", "192.0.2.1\tone", "192.0.2.1\ttwo")]


def test_the_same_line_twice_is_not_once() -> None:
    assert verdicts({"files": {"/etc/hosts": ["x y", "x y"]}}, {"files": {"/etc/hosts": ["x y"]}}) == [
        ("files", "/etc/hosts", "", "only A", "x y", "")
    ]


def test_sets_have_none() -> None:
    assert verdicts(
        {"rights": {"effective": frozenset(("CHOWN", "KILL", "SETUID"))}},
        {"rights": {"effective": frozenset(("CHOWN", "NET_ADMIN"))}},
    ) == [("rights", "effective", "", "different", "KILL, SETUID", "NET_ADMIN")]


def test_what_must_differ_is_the_same() -> None:
    assert (
        verdicts(
            {"links": {"host docker0": {"link": "02:42:5a:0e:1a:75"}}},
            {"links": {"host minirun0": {"link": "02:42:00:11:22:33"}}},
        )
        == []
    )


def test_every_difference_has_a_reason() -> None:
    assert set(verb.TOPICS) == set(snapshot.TOPICS) == {topic for topic, word in explanations.MEANINGS if word == "*"}
    finding = Finding("rights", "seccomp", "is", DIFFERENT, ("filter", "off"))
    assert "differences.md" in explanations.reason(finding, ("docker", "minirun"))
    assert "differences.md" not in explanations.reason(finding, ("minirun", "minirun"))  # it would not explain this one
    forwarding = Finding("sysctls", "net.ipv4.ip_forward", "=", DIFFERENT, ("0", "1"))
    assert explanations.reason(forwarding, ("", "")) == "whether the kernel passes packets on from link to link"


@pytest.mark.parametrize(
    ("name", "version", "text", "expected"),
    [
        ("memory.limit", 1, "67108864", "67108864"),
        ("memory.limit", 1, "9223372036854771712", "none"),
        ("memory.limit", 2, "max", "none"),
        ("memory.limit", 2, "67108864", "67108864"),
        ("cpu.quota", 1, "-1", "none"),
        ("cpu.quota", 2, "max 100000", "none"),
        ("cpu.quota", 2, "50000 100000", "50000"),
        ("cpu.period", 2, "50000 200000", "200000"),
        ("cpu.shares", 2, "1", "2"),
        ("cpu.shares", 2, "10000", "262144"),
        ("pids.limit", 1, "max", "none"),
        ("pids.limit", 2, "100", "100"),
    ],
)
def test_both_versions_of_cgroups_speak_one_language(name: str, version: int, text: str, expected: str) -> None:
    assert snapshot_process.one_vocabulary(name, version, text) == expected


@pytest.mark.parametrize("shares", [2, 512, 1024, 2048, 262144])
def test_shares_come_back_from_the_weight_that_they_became(shares: int) -> None:
    from minirun.kernel.cgroup.limits import v2_value

    weight = v2_value("cpu.shares", {"cpu": {"shares": shares}})
    again = snapshot_process.one_vocabulary("cpu.shares", 2, str(weight))
    assert v2_value("cpu.shares", {"cpu": {"shares": int(again)}}) == weight  # v2 is coarser: 26 shares are one weight


def found_between(a: dict, b: dict) -> dict:
    return diff.compare(observation(DOCKER, **a), observation(MINIRUN, **b))


def test_the_page_has_a_line_for_each_finding_and_one_at_the_end() -> None:
    found = found_between(
        {"links": {"eth0": {"mtu": "1500", "qdisc": "noqueue"}}, "routes": {}},
        {"links": {"eth0": {"mtu": "1400", "qdisc": "noqueue"}}, "routes": {}},
    )
    page = text.lines(("docker:a", "minirun:b"), found, everything=False)
    assert page == [
        "A = docker:a",
        "B = minirun:b",
        "links: 1 the same, 1 different",
        f"  | eth0 mtu  1500  1400  # {explanations.MEANINGS['links', 'mtu']}",
        "routes: nothing",
        "not equal: 1 the same, 1 different",
    ]
    assert "  = eth0 qdisc  noqueue  noqueue" in text.lines(("a", "b"), found, everything=True)


def test_json_has_the_same_findings() -> None:
    things = {"links": {"eth0": {"mtu": "1500"}}}
    other = copy.deepcopy(things)
    assert text.as_data(("a", "b"), found_between(things, other), everything=False) == {
        "A": "a",
        "B": "b",
        "equal": True,
        "topics": {"links": {"same": 1, "findings": []}},
    }
    other["links"]["eth0"]["mtu"] = "9000"
    data = text.as_data(("a", "b"), found_between(things, other), everything=False)
    assert (data["equal"], data["topics"]["links"]["findings"][0]["B"]) == (False, "9000")


def test_what_a_container_wrote_is_text_on_the_terminal_too() -> None:
    from io import StringIO

    from rich.console import Console

    out = StringIO()
    found = found_between({"files": {"/etc/hosts": ["[bold]192.0.2.1[/bold] [/] x"]}}, {"files": {"/etc/hosts": []}})
    table.show(("[red]a", "b"), found, everything=False, console=Console(file=out, width=200))
    assert "[bold]192.0.2.1[/bold] [/] x" in out.getvalue()
    assert "[red]a" in out.getvalue()
