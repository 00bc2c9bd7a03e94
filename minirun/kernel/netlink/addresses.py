"""Addresses and routes: RTM_NEWADDR, RTM_NEWROUTE and their like (rtnetlink(7))."""

from __future__ import annotations

import _socket

from minirun.kernel.netlink.links import Link
from minirun.kernel.netlink.socket import (
    CHANGE,
    CREATE,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    U32,
    Message,
    Socket,
    attribute,
    attributes,
)
from minirun.light import struct

# linux/rtnetlink.h, if_addr.h
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR, RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 20, 21, 22, 24, 25, 26
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_F_NODAD = 1, 2, 4, 2
RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5
RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RTN_UNICAST = 254, 3, 0, 253, 1
AF_INET, AF_INET6 = _socket.AF_INET, _socket.AF_INET6

_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, dst and src length, tos, table, protocol, scope, type, flags


def packed_address(address: str) -> bytes:
    """The four bytes that "172.17.0.2" stands for, the sixteen of "fe80::1". Errors: OSError for what is no address."""
    return _socket.inet_pton(_family(address), address)


def _family(address: str) -> int:
    return AF_INET6 if ":" in address else AF_INET


def new_address(link: Link, address: str, prefix: int, broadcast: str, *, nodad: bool = False) -> Message:
    """RTM_NEWADDR: give a link an address with its prefix length (int) and, for IPv4, its broadcast address (str).

    Arguments: nodad (bool), use an IPv6 address at once, without asking the neighbours whether one has it (RFC 4862).
    """
    body, words = _address(link, address, prefix, nodad), ""
    if broadcast:
        body, words = body + attribute(IFA_BROADCAST, packed_address(broadcast)), f"broadcast {broadcast} "
    return Message("RTM_NEWADDR", RTM_NEWADDR, CREATE, body).about(
        f"{address}/{prefix} on {link}",
        lambda: f"addr add {address}/{prefix} {words}dev {link}{' nodad' if nodad else ''}",
    )


def del_address(link: Link, address: str, prefix: int) -> Message:
    """RTM_DELADDR: take an address from a link."""
    return Message("RTM_DELADDR", RTM_DELADDR, CHANGE, _address(link, address, prefix)).about(
        f"{address}/{prefix} on {link}", lambda: f"addr del {address}/{prefix} dev {link}"
    )


def _address(link: Link, address: str, prefix: int, nodad: bool = False) -> bytes:
    local = packed_address(address)
    return (
        _ADDRESS.pack(_family(address), prefix, IFA_F_NODAD if nodad else 0, RT_SCOPE_UNIVERSE, link.index)
        + attribute(IFA_ADDRESS, local)
        + attribute(IFA_LOCAL, local)
    )


def new_default_route(link: Link, gateway: str) -> Message:
    """RTM_NEWROUTE: send what no other route knows to `gateway` (str), out of `link`."""
    return Message("RTM_NEWROUTE", RTM_NEWROUTE, CREATE, _default_route(link, gateway)).about(
        f"default via {gateway}", lambda: f"{_dash_6(gateway)}route add default via {gateway} dev {link}"
    )


def del_default_route(link: Link, gateway: str) -> Message:
    """RTM_DELROUTE: take such a route away."""
    return Message("RTM_DELROUTE", RTM_DELROUTE, CHANGE, _default_route(link, gateway)).about(
        f"default via {gateway}", lambda: f"{_dash_6(gateway)}route del default via {gateway} dev {link}"
    )


def _default_route(link: Link, gateway: str) -> bytes:
    return (
        _ROUTE.pack(_family(gateway), 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0)
        + attribute(RTA_GATEWAY, packed_address(gateway))
        + attribute(RTA_OIF, U32.pack(link.index))
    )


def _dash_6(address: str) -> str:
    return "-6 " if ":" in address else ""


def addresses(netlink: Socket) -> list[tuple[int, str, int]]:
    """All IPv4 addresses of the namespace: (index of the link, address, prefix length)."""
    return _addresses(netlink, AF_INET, IFA_LOCAL)


def addresses6(netlink: Socket) -> list[tuple[int, str, int]]:
    """The same for IPv6."""
    return _addresses(netlink, AF_INET6, IFA_ADDRESS)


def _addresses(netlink: Socket, family: int, kind: int) -> list[tuple[int, str, int]]:
    question = Message("RTM_GETADDR", RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, _ADDRESS.pack(family, 0, 0, 0, 0))
    result = []
    for body in netlink.ask(question):
        _family, prefix, _flags, _scope, index = _ADDRESS.unpack_from(body)
        address = attributes(body, _ADDRESS.size).get(kind)
        if address:
            result.append((index, _socket.inet_ntop(family, address), prefix))
    return result


def default_routes(netlink: Socket) -> list[tuple[int, str]]:
    """The default routes of the namespace's main table: (index of the link, gateway); IPv4, then IPv6."""
    result = []
    for family in (AF_INET, AF_INET6):
        question = Message("RTM_GETROUTE", RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, _ROUTE.pack(family, *[0] * 8))
        for body in netlink.ask(question):
            found = attributes(body, _ROUTE.size)
            if _ROUTE.unpack_from(body)[1:5:3] == (0, RT_TABLE_MAIN) and RTA_GATEWAY in found and RTA_OIF in found:
                gateway = _socket.inet_ntop(family, found[RTA_GATEWAY])
                result.append((U32.unpack(found[RTA_OIF])[0], gateway))
    return result


def connected_subnets(netlink: Socket) -> list[tuple[str, int]]:
    """The IPv4 subnets that are reached without a gateway (scope link, table main): (address, prefix length)."""
    question = Message("RTM_GETROUTE", RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, _ROUTE.pack(AF_INET, *[0] * 8))
    result = []
    for body in netlink.ask(question):
        _, prefix, _, _, table, _, scope, _, _ = _ROUTE.unpack_from(body)
        target = attributes(body, _ROUTE.size).get(RTA_DST)
        if (table, scope) == (RT_TABLE_MAIN, RT_SCOPE_LINK) and target:
            result.append((_socket.inet_ntop(AF_INET, target), prefix))
    return result
