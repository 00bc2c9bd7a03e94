"""Docker's order of published ports, its allocator, and the rules: each case was seen with a real Docker 20.10."""

from __future__ import annotations

import pytest

from harness.engine_samples import make
from minirun.engine.network import port_bindings
from minirun.errors import EngineError
from minirun.network import inspect
from minirun.network.ports import portallocator, portmapper


def record(*bindings, exposed=(), everything=False):
    """A record with bindings ("8080:80", "5000:53/udp", "127.0.0.1:70:70")."""
    found: dict = {}
    for word in bindings:
        *outer, inner = word.split(":")
        key = inner if "/" in inner else f"{inner}/tcp"
        found.setdefault(key, []).append({"HostIp": ":".join(outer[:-1]), "HostPort": outer[-1] if outer else ""})
    return make(port_bindings=found, exposed_ports={key: {} for key in (*found, *exposed)}, publish_all=everything)


def order(*bindings, **more):
    return [f"{wish.first}:{wish.port}/{wish.proto}" for wish in port_bindings.requested(record(*bindings, **more))]


@pytest.mark.parametrize(
    ("bindings", "expected"),
    [
        (["8080:80"], ["8080:80/tcp"]),
        (["8080:80", "90:90"], ["90:90/tcp", "8080:80/tcp"]),
        (["443:443", "8080:80", "22:22"], ["8080:80/tcp", "443:443/tcp", "22:22/tcp"]),
        (["8080:80", "8081:80"], ["8081:80/tcp", "8080:80/tcp"]),
        (["8081:80", "8080:80"], ["8080:80/tcp", "8081:80/tcp"]),
        (["5000:53/udp", "6000:53/udp", "7000:53/tcp"], ["7000:53/tcp", "6000:53/udp", "5000:53/udp"]),
        (["53:53/udp", "53:53/tcp"], ["53:53/tcp", "53:53/udp"]),
        ([f"{8080 + n}:{80 + n}" for n in range(3)], ["8082:82/tcp", "8081:81/tcp", "8080:80/tcp"]),
        (["80", "80", "81"], ["0:81/tcp", "0:80/tcp", "0:80/tcp"]),
    ],
)
def test_the_order_is_dockers(bindings, expected):
    assert order(*bindings) == expected


def test_all_exposed_ports():
    assert order("90:90", exposed=["80/tcp", "53/udp"]) == ["90:90/tcp"]
    assert order("90:90", exposed=["80/tcp", "53/udp"], everything=True) == ["90:90/tcp", "0:80/tcp", "0:53/udp"]


def test_a_range_of_the_host_is_one_wish():
    (wish,) = port_bindings.requested(record("9000-9005:80"))
    assert (wish.first, wish.last) == (9000, 9005)


@pytest.mark.parametrize(
    ("word", "address"), [("", ""), ("127.0.0.1", "127.0.0.1"), ("0:0::1", "::1"), ("::ffff:192.0.2.1", "192.0.2.1")]
)
def test_an_address_is_written_as_go_writes_it(word, address):
    assert portmapper.canonical(word) == address


# ---- the allocator ---------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(portallocator, "ephemeral_ports", lambda: (32768, 32770))
    return portallocator.directory_of(str(tmp_path), "0.0.0.0", "tcp")


def take(place, wanted=(0, 0), owner="one"):
    return portallocator.request_port(place, "0.0.0.0", wanted, f"{owner} note")


def test_a_port_is_not_used_again_at_once(place):
    assert take(place) == 32768
    portallocator.release_port(place, 32768, "one")
    assert [take(place), take(place), take(place)] == [32769, 32770, 32768]
    with pytest.raises(EngineError, match="^all ports are allocated$"):
        take(place)


def test_a_range_goes_round_by_itself(place):
    first = [take(place, (9000, 9002)) for _ in range(2)]
    for port in first:
        portallocator.release_port(place, port, "one")
    assert (first, take(place, (9000, 9002)), take(place, (9000, 9002))) == ([9000, 9001], 9002, 9000)
    assert take(place, (9001, 9005)) == 9001
    assert take(place) == 32768


def test_a_port_has_one_owner(place, tmp_path):
    assert take(place, (80, 80)) == 80
    with pytest.raises(EngineError) as caught:
        take(place, (80, 80), "two")
    assert caught.value.message == "Bind for 0.0.0.0:80 failed: port is already allocated"
    portallocator.release_port(place, 80, "two")
    assert portallocator.owner_of(place, 80) == ("one", "note")
    assert list(portallocator.reservations(str(tmp_path))) == [("0.0.0.0", "tcp", 80, "one", "note")]
    portallocator.release_port(place, 80, "one")
    assert list(portallocator.reservations(str(tmp_path))) == []


# ---- the rules -------------------------------------------------------------------------------------------------

MAPPING = {
    "Proto": "tcp",
    "HostIP": "0.0.0.0",
    "HostPort": 8080,
    "ContainerIP": "172.17.0.2",
    "ContainerPort": 80,
    "Bridge": "minirun0",
    "Hairpin": False,
}


def lines(*mappings):
    return [f"{rule.table} {rule.chain} {' '.join(rule.words)}" for rule in portmapper.rules(mappings)]


def test_three_rules():
    assert lines(MAPPING) == [
        "nat MINIRUN ! -i minirun0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80",
        "filter MINIRUN -d 172.17.0.2/32 ! -i minirun0 -o minirun0 -p tcp -m tcp --dport 80 -j ACCEPT",
        "nat POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE",
    ]


def test_what_differs():
    assert lines({**MAPPING, "HostIP": "203.0.113.1"})[0].startswith("nat MINIRUN -d 203.0.113.1/32 ! -i minirun0 -p")
    assert lines({**MAPPING, "Hairpin": True})[0].startswith("nat MINIRUN -p tcp -m tcp --dport 8080 -j DNAT")
    assert lines({**MAPPING, "HostIP": "::"}) == []
    assert len(lines(MAPPING, {**MAPPING, "HostPort": 8081})) == 4
    assert lines({**MAPPING, "Proto": "sctp"})[-1] == (
        "mangle POSTROUTING -p sctp -m sctp --sport 80 -j CHECKSUM --checksum-fill"
    )


def test_what_inspect_shows():
    both = [{**MAPPING, "HostIP": address} for address in ("0.0.0.0", "::")]
    assert inspect.ports(["80/tcp", "443/tcp", "80/foo"], both) == {
        "443/tcp": None,
        "80/0": None,
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
    }
