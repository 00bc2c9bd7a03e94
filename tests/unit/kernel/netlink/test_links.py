"""Our netlink messages, byte for byte those of pyroute2 for the same wish."""

from __future__ import annotations

import errno
import struct

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from minirun.kernel.netlink import addresses, links
from minirun.kernel.netlink import socket as netlink_socket
from minirun.kernel.netlink.links import Link

MAC = "02:42:ac:11:00:02"
NUMBER = 77


class FakeNetns:
    """A namespace of which only the descriptor's number matters here."""

    fd = 9

    def __str__(self) -> str:
        return "/proc/123/ns/net"


NETNS = FakeNetns()


def oracle(kind: type, type_: int, flags: int, fields: dict, attrs: list) -> bytes:
    message = kind()
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = attrs
    message["header"].update({"type": type_, "flags": flags, "sequence_number": NUMBER, "pid": 0})
    message.encode()
    return bytes(message.data)


CREATE = (
    netlink_socket.NLM_F_REQUEST | netlink_socket.NLM_F_ACK | netlink_socket.NLM_F_CREATE | netlink_socket.NLM_F_EXCL
)
CHANGE = netlink_socket.NLM_F_REQUEST | netlink_socket.NLM_F_ACK


def up(flag: bool) -> dict:
    return {"flags": int(flag), "change": 1}


CASES = {
    "bridge": (
        links.new_bridge(name="minirun0", mac=MAC, txqlen=0),
        oracle(
            ifinfmsg,
            16,
            CREATE,
            {},
            [
                ("IFLA_IFNAME", "minirun0"),
                ("IFLA_ADDRESS", MAC),
                ("IFLA_TXQLEN", 0),
                ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge")]}),
            ],
        ),
    ),
    "bridge with a number": (
        links.new_bridge(12, name="br-0123456789ab"),
        oracle(
            ifinfmsg,
            16,
            CREATE,
            {"index": 12},
            [("IFLA_IFNAME", "br-0123456789ab"), ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge")]})],
        ),
    ),
    "veth": (
        links.new_veth(
            {"name": "veth0123456", "txqlen": 0, "mtu": 1500, "master": Link(2, "minirun0")},
            {"netns": NETNS, "name": "eth0", "mac": MAC, "txqlen": 0, "mtu": 1500},
            index=5,
            up=True,
        ),
        oracle(
            ifinfmsg,
            16,
            CREATE,
            {"index": 6, **up(True)},
            [
                ("IFLA_IFNAME", "veth0123456"),
                ("IFLA_TXQLEN", 0),
                ("IFLA_MTU", 1500),
                ("IFLA_MASTER", 2),
                (
                    "IFLA_LINKINFO",
                    {
                        "attrs": [
                            ("IFLA_INFO_KIND", "veth"),
                            (
                                "IFLA_INFO_DATA",
                                {
                                    "attrs": [
                                        (
                                            "VETH_INFO_PEER",
                                            {
                                                "index": 5,
                                                "attrs": [
                                                    ("IFLA_NET_NS_FD", 9),
                                                    ("IFLA_IFNAME", "eth0"),
                                                    ("IFLA_ADDRESS", MAC),
                                                    ("IFLA_TXQLEN", 0),
                                                    ("IFLA_MTU", 1500),
                                                ],
                                            },
                                        )
                                    ]
                                },
                            ),
                        ]
                    },
                ),
            ],
        ),
    ),
    "up": (links.set_link(Link(5, "eth0"), up=True), oracle(ifinfmsg, 19, CHANGE, {"index": 5, **up(True)}, [])),
    "down": (
        links.set_link(Link(5, "eth0"), up=False),
        oracle(ifinfmsg, 19, CHANGE, {"index": 5, **up(False)}, []),
    ),
    "master": (
        links.set_link(Link(5, "eth0"), master=Link(2, "minirun0")),
        oracle(ifinfmsg, 19, CHANGE, {"index": 5}, [("IFLA_MASTER", 2)]),
    ),
    "everything": (
        links.set_link(Link(5, "x"), netns=NETNS, name="eth0", mac=MAC, mtu=1400, txqlen=10),
        oracle(
            ifinfmsg,
            19,
            CHANGE,
            {"index": 5},
            [
                ("IFLA_NET_NS_FD", 9),
                ("IFLA_IFNAME", "eth0"),
                ("IFLA_ADDRESS", MAC),
                ("IFLA_MTU", 1400),
                ("IFLA_TXQLEN", 10),
            ],
        ),
    ),
    "delete": (links.del_link(Link(5, "x")), oracle(ifinfmsg, 17, CHANGE, {"index": 5}, [])),
    "address": (
        addresses.new_address(Link(5, "eth0"), "172.17.0.2", 16, "172.17.255.255"),
        oracle(
            ifaddrmsg,
            20,
            CREATE,
            {"family": 2, "prefixlen": 16, "index": 5},
            [("IFA_ADDRESS", "172.17.0.2"), ("IFA_LOCAL", "172.17.0.2"), ("IFA_BROADCAST", "172.17.255.255")],
        ),
    ),
    "IPv6 address": (
        addresses.new_address(Link(5, "eth0"), "2001:db8::2", 64, "", nodad=True),
        oracle(
            ifaddrmsg,
            20,
            CREATE,
            {"family": 10, "prefixlen": 64, "flags": 2, "index": 5},
            [("IFA_ADDRESS", "2001:db8::2"), ("IFA_LOCAL", "2001:db8::2")],
        ),
    ),
    "address gone": (
        addresses.del_address(Link(5, "eth0"), "172.17.0.2", 16),
        oracle(
            ifaddrmsg,
            21,
            CHANGE,
            {"family": 2, "prefixlen": 16, "index": 5},
            [("IFA_ADDRESS", "172.17.0.2"), ("IFA_LOCAL", "172.17.0.2")],
        ),
    ),
    "IPv6 default route": (
        addresses.new_default_route(Link(5, "eth0"), "2001:db8::1"),
        oracle(
            rtmsg,
            24,
            CREATE,
            {"family": 10, "table": 254, "proto": 3, "scope": 0, "type": 1},
            [("RTA_GATEWAY", "2001:db8::1"), ("RTA_OIF", 5)],
        ),
    ),
    "default route gone": (
        addresses.del_default_route(Link(5, "eth0"), "172.17.0.1"),
        oracle(
            rtmsg,
            25,
            CHANGE,
            {"family": 2, "table": 254, "proto": 3, "scope": 0, "type": 1},
            [("RTA_GATEWAY", "172.17.0.1"), ("RTA_OIF", 5)],
        ),
    ),
    "hairpin": (
        links.set_hairpin(Link(6, "veth0123456")),
        oracle(
            ifinfmsg,
            16,
            CHANGE,
            {"index": 6},
            [
                (
                    "IFLA_LINKINFO",
                    {
                        "attrs": [
                            ("IFLA_INFO_SLAVE_KIND", "bridge"),
                            ("IFLA_INFO_SLAVE_DATA", {"attrs": [("IFLA_BRPORT_MODE", 1)]}),
                        ]
                    },
                )
            ],
        ),
    ),
    "default route": (
        addresses.new_default_route(Link(5, "eth0"), "172.17.0.1"),
        oracle(
            rtmsg,
            24,
            CREATE,
            {"family": 2, "table": 254, "proto": 3, "scope": 0, "type": 1},
            [("RTA_GATEWAY", "172.17.0.1"), ("RTA_OIF", 5)],
        ),
    ),
    "question by name": (links.get_link("minirun0"), oracle(ifinfmsg, 18, 1, {}, [("IFLA_IFNAME", "minirun0")])),
    "question by number": (links.get_link(index=5), oracle(ifinfmsg, 18, 1, {"index": 5}, [])),
    "all links": (links.get_link(), oracle(ifinfmsg, 18, 0x301, {}, [])),
}


@pytest.mark.parametrize("name", CASES)
def test_bytes_are_those_of_pyroute2(name: str) -> None:
    ours, theirs = CASES[name]
    assert ours.pack(NUMBER).hex(" ", 4) == theirs.hex(" ", 4)


def test_shell_lines() -> None:
    lines = {name: message.line() for name, (message, _) in CASES.items()}
    assert lines["bridge"] == "link add name minirun0 address 02:42:ac:11:00:02 txqueuelen 0 type bridge"
    assert lines["veth"] == (
        "link add index 6 name veth0123456 txqueuelen 0 mtu 1500 master minirun0 up type veth "
        "peer index 5 netns /proc/123/ns/net name eth0 address 02:42:ac:11:00:02 "
        "txqueuelen 0 mtu 1500"
    )
    assert lines["down"] == "link set eth0 down"
    assert lines["address"] == "addr add 172.17.0.2/16 broadcast 172.17.255.255 dev eth0"
    assert lines["IPv6 address"] == "addr add 2001:db8::2/64 dev eth0 nodad"
    assert lines["address gone"] == "addr del 172.17.0.2/16 dev eth0"
    assert lines["default route"] == "route add default via 172.17.0.1 dev eth0"
    assert lines["IPv6 default route"] == "-6 route add default via 2001:db8::1 dev eth0"
    assert lines["default route gone"] == "route del default via 172.17.0.1 dev eth0"
    assert lines["hairpin"] == "link set veth0123456 type bridge_slave hairpin on"


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(OSError):
        addresses.new_address(Link(5, "eth0"), "172.17.0", 16, "172.17.255.255")


def answer(code: int, words: str = "", capped: bool = True) -> tuple[int, bytes]:
    """An NLMSG_ERROR as the kernel lays it out."""
    request = CASES["everything"][0].pack(NUMBER)
    body = struct.pack("=i", -code) + (request[:16] if capped else request)
    flags = 0x100 if capped else 0
    if words:
        body += netlink_socket.attribute(1, words.encode() + b"\0")
        flags |= 0x200
    return flags, body


@pytest.mark.parametrize("capped", [True, False])
def test_an_error_carries_the_kernels_own_words_and_our_hint(capped: bool) -> None:
    message = CASES["default route"][0]
    error = netlink_socket._failure(message, *answer(errno.ENETUNREACH, "Nexthop has invalid gateway", capped))
    assert str(error) == "RTM_NEWROUTE default via 172.17.0.1: network is unreachable"
    assert (
        error.hint == "the kernel says: Nexthop has invalid gateway; the gateway is in no subnet of a link that is up"
    )


def test_error_zero_is_no_error() -> None:
    assert netlink_socket._failure(CASES["up"][0], *answer(0)) is None


class Recorded:
    """A socket whose answers were written down beforehand."""

    def __init__(self, *datagrams: bytes | tuple[bytes, int]) -> None:
        self.datagrams = list(datagrams)
        self.sent: list[bytes] = []

    def sendto(self, data: bytes, _address: object) -> None:
        self.sent.append(data)

    def recvmsg(self, _size: int) -> tuple:
        data = self.datagrams.pop(0)
        data, port = data if isinstance(data, tuple) else (data, 0)
        return data, [], 0, (port, 0)


def talk(*datagrams: bytes | tuple[bytes, int]) -> netlink_socket.Socket:
    socket = netlink_socket.Socket.__new__(netlink_socket.Socket)
    socket.program, socket.number, socket.socket = "ip", 0, Recorded(*datagrams)
    return socket


def message(type_: int, number: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), type_, flags, number, 0) + body + bytes(-len(body) % 4)


def ack(number: int, code: int = 0) -> bytes:
    return message(2, number, struct.pack("=i", -code) + bytes(16), 0x100)


def test_several_requests_in_one_datagram_the_first_failure_is_told() -> None:
    socket = talk(ack(1) + ack(2, errno.EEXIST), ack(3, errno.EPERM))
    with pytest.raises(links.KernelError, match="^RTM_NEWADDR .*: file exists$"):
        socket.do(CASES["up"][0], CASES["address"][0], CASES["default route"][0])
    assert len(socket.socket.sent) == 1
    assert socket.socket.datagrams == []  # all answers were taken, none is left for the next request


def test_answers_of_others_and_of_the_past_are_not_taken_for_ours() -> None:
    socket = talk((ack(1, errno.EPERM), 4711), ack(0, errno.EBUSY), ack(1))
    socket.do(CASES["up"][0])


def test_a_list_in_parts_and_asked_for_again_when_it_changed_meanwhile() -> None:
    socket = talk(
        message(16, 1, b"old1", 0x12),
        message(3, 1, bytes(4), 0x2),
        message(16, 2, b"new1", 0x2) + message(16, 2, b"new2", 0x2),
        message(3, 2, bytes(4), 0x2),
    )
    assert socket.ask(links.get_link()) == [b"new1", b"new2"]


def test_a_broken_length_is_an_error_and_not_an_endless_loop() -> None:
    with pytest.raises(links.KernelError):
        talk(struct.pack("=IHHII", 0, 2, 0, 1, 0)).do(CASES["up"][0])
