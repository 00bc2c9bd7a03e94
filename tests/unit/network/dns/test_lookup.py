"""Who is known by which name: the rules, as Docker 20.10.24 answers."""

from __future__ import annotations

import struct

import pytest

from minirun.network.dns import lookup, message
from minirun.network.dns.message import AAAA, MX, PTR, A


class Network:
    def __init__(self, name, records, links=(), pointers=()):
        self.name, self.links = name, dict(links)
        self.records = {key.lower(): value for key, value in records.items()}
        self.pointers = dict(pointers)

    def addresses(self, name, family):
        found = self.records.get(name.lower())
        return None if found is None else [address for address in found if len(address) == (4 if family == A else 16)]

    def name_of(self, address):
        return self.pointers.get(address, "")


def v4(last):
    return bytes([172, 18, 0, last])


SIX = bytes.fromhex("20010db8000100000000000000000003")
BAR = Network("bar", {"both": [v4(100)], "dotted": [v4(101)]}, pointers={v4(100): "both"})
FOO = Network(
    "foo",
    {"u1": [v4(2)], "u2": [v4(3)], "db": [v4(2), v4(3)], "both": [v4(9)], "Mixed.Case": [v4(3)], "taken": [v4(8)]},
    links={"lnk": "u2", "taken": "u1", "stale": "gone"},
    pointers={v4(3): "u2", v4(9): "both"},
)
DOTS = Network("a.b", {"c": [v4(50)]})
SIXES = Network("six", {"s2": [v4(60), SIX]}, pointers={SIX: "s2"})
ALL = [DOTS, BAR, FOO, SIXES]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("u2", [v4(3)]),
        ("U2", [v4(3)]),
        ("u2.foo", [v4(3)]),
        ("u2.FOO", None),
        ("u2.bar", None),
        ("nosuch", None),
        ("foo", None),
        ("", None),
        ("mixed.case", [v4(3)]),
        ("mixed.case.foo", [v4(3)]),
        ("case.foo", None),
        ("both", [v4(100)]),
        ("both.foo", [v4(9)]),
        ("both.bar", [v4(100)]),
        ("c.a.b", [v4(50)]),
        ("c.b", None),
        ("lnk", [v4(3)]),
        ("lnk.foo", [v4(3)]),
        ("LNK", None),
        ("taken", [v4(2)]),
        ("stale", None),
        (".", None),
        ("..", None),
        (".foo", None),
    ],
)
def test_addresses(name, found):
    assert lookup.addresses(name, ALL, A) == found


def test_all_who_have_a_name_are_in_the_answer_in_no_order():
    orders = {tuple(lookup.addresses("db", ALL, A)) for _ in range(100)}
    assert orders == {(v4(2), v4(3)), (v4(3), v4(2))}


def test_ipv6():
    assert lookup.addresses("s2", ALL, AAAA) == [SIX]
    assert lookup.addresses("s2", ALL, A) == [v4(60)]
    assert lookup.addresses("u2", ALL, AAAA) == []  # known, but not with such an address
    assert lookup.addresses("nosuch", ALL, AAAA) is None


def answer(name, kind, networks=ALL):
    query = message.read(struct.pack(">6H", 1, 0x0100, 1, 0, 0, 0) + message.name(name) + struct.pack(">2H", kind, 1))
    return lookup.answer(query, networks, 512)


def test_an_answer_has_dockers_time_to_live():
    assert answer("u2", A).endswith(message.name("u2") + struct.pack(">2HIH", A, 1, 600, 4) + v4(3))


@pytest.mark.parametrize(
    ("kind", "known"),
    [(A, True), (AAAA, True), (MX, True), (2, False), (5, False), (16, False), (33, False), (255, False), (0, False)],
)
def test_types(kind, known):
    assert (answer("u2", kind) is not None) == known
    assert answer("nosuch", kind) is None


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("3.0.18.172.in-addr.arpa", "u2.foo"),
        ("3.0.18.172.IN-ADDR.arpa", "u2.foo"),
        ("9.0.18.172.in-addr.arpa", "both.foo"),
        ("100.0.18.172.in-addr.arpa", "both.bar"),
        (".".join(reversed(SIX.hex())) + ".ip6.arpa", "s2.six"),
        (".".join(reversed(SIX.hex().upper())) + ".ip6.arpa", "s2.six"),
    ],
)
def test_pointers(question, name):
    assert answer(question, PTR).endswith(struct.pack(">2HIH", PTR, 1, 600, len(name) + 2) + message.name(name))


@pytest.mark.parametrize(
    "question",
    [
        "4.0.18.172.in-addr.arpa",
        "003.0.18.172.in-addr.arpa",
        "18.172.in-addr.arpa",
        "x.3.0.18.172.in-addr.arpa",
        "256.0.18.172.in-addr.arpa",
        "a.b.c.d.in-addr.arpa",
        "3.ip6.arpa",
        "3..18.172.in-addr.arpa",
    ],
)
def test_pointers_that_somebody_else_may_know(question):
    assert answer(question, PTR) is None


@pytest.mark.parametrize("name", ["u" * 64, "\u00e9" * 40, ".".join(["u" * 60] * 5)])
@pytest.mark.parametrize("network", ["foo", "n" * 64])
def test_no_answer_has_room_for_the_name_of_an_address(name, network):
    networks = [Network(network, {}, pointers={v4(3): name})]
    assert answer("3.0.18.172.in-addr.arpa", PTR, networks) == lookup.NO_RESPONSE


def test_a_network_may_be_called_anything():
    assert b"\xff" in answer("3.0.18.172.in-addr.arpa", PTR, [Network("\udcff", {}, pointers={v4(3): "u2"})])


@pytest.mark.parametrize("question", ["u2", "in-addr.arpa", "ip6.arpa"])
def test_a_pointer_for_what_is_no_address_gets_no_answer(question):
    assert answer(question, PTR) == lookup.NO_RESPONSE
