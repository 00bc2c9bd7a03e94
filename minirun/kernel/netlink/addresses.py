"""Addresses and routes (rtnetlink(7)): RTM_NEWADDR, RTM_NEWROUTE and the like, `ip address` and `ip route`."""

from __future__ import annotations

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
from minirun.light import socket, struct

# linux/rtnetlink.h, if_addr.h
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR, RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 20, 21, 22, 24, 25, 26
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_F_NODAD = 1, 2, 4, 2
RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5
RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RTN_UNICAST = 254, 3, 0, 253, 1
AF_INET, AF_INET6 = socket.AF_INET, socket.AF_INET6

_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, dst and src length, tos, table, protocol, scope, type, flags


def packed_address(address: str) -> bytes:
    """The 4 bytes of an IPv4 address or the 16 of an IPv6 address. Errors: OSError for text that is no address."""
    return socket.inet_pton(_family(address), address)  # network byte order, as the kernel has it


def _family(address: str) -> int:
    return AF_INET6 if ":" in address else AF_INET


def new_address(link: Link, address: str, prefix: int, broadcast: str, *, nodad: bool = False) -> Message:
    """RTM_NEWADDR: add an address with its prefix length (int) and, for IPv4, its broadcast address (str) to a link.

    Arguments: nodad (bool), skip duplicate address detection, so that an IPv6 address is usable at once (RFC 4862).
    """
    body, words = _address(link, address, prefix, nodad), ""
    if broadcast:
        body, words = body + attribute(IFA_BROADCAST, packed_address(broadcast)), f"broadcast {broadcast} "
    return Message("RTM_NEWADDR", RTM_NEWADDR, CREATE, body).about(
        f"{address}/{prefix} on {link}",
        lambda: f"addr add {address}/{prefix} {words}dev {link}{' nodad' if nodad else ''}",
    )


def del_address(link: Link, address: str, prefix: int) -> Message:
    """RTM_DELADDR: remove an address from a link."""
    return Message("RTM_DELADDR", RTM_DELADDR, CHANGE, _address(link, address, prefix)).about(
        f"{address}/{prefix} on {link}", lambda: f"addr del {address}/{prefix} dev {link}"
    )


def _address(link: Link, address: str, prefix: int, nodad: bool = False) -> bytes:
    local = packed_address(address)
    # IFA_LOCAL is the interface's own address; the two differ on point-to-point links only (rtnetlink(7)).
    return (
        _ADDRESS.pack(_family(address), prefix, IFA_F_NODAD if nodad else 0, RT_SCOPE_UNIVERSE, link.index)
        + attribute(IFA_ADDRESS, local)
        + attribute(IFA_LOCAL, local)
    )


def new_default_route(link: Link, gateway: str) -> Message:
    """RTM_NEWROUTE: add a default route by `gateway` (str), out of `link`."""
    return Message("RTM_NEWROUTE", RTM_NEWROUTE, CREATE, _default_route(link, gateway)).about(
        f"default via {gateway}", lambda: f"{_dash_6(gateway)}route add default via {gateway} dev {link}"
    )


def del_default_route(link: Link, gateway: str) -> Message:
    """RTM_DELROUTE: remove a default route."""
    return Message("RTM_DELROUTE", RTM_DELROUTE, CHANGE, _default_route(link, gateway)).about(
        f"default via {gateway}", lambda: f"{_dash_6(gateway)}route del default via {gateway} dev {link}"
    )


def _default_route(link: Link, gateway: str) -> bytes:
    # No RTA_DST and a prefix length of 0: a default route. Protocol "boot" and scope "universe" are what ip(8) sets, so
    # that `ip route` shows ours like its own.
    return (
        _ROUTE.pack(_family(gateway), 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0)
        + attribute(RTA_GATEWAY, packed_address(gateway))
        + attribute(RTA_OIF, U32.pack(link.index))
    )


def _dash_6(address: str) -> str:
    return "-6 " if ":" in address else ""


def addresses(netlink: Socket) -> list[tuple[int, str, int]]:
    """The IPv4 addresses of the namespace: (index of the link, address, prefix length)."""
    return _addresses(netlink, AF_INET, IFA_LOCAL)


def addresses6(netlink: Socket) -> list[tuple[int, str, int]]:
    """The IPv6 addresses of the namespace: (index of the link, address, prefix length)."""
    return _addresses(netlink, AF_INET6, IFA_ADDRESS)


def _addresses(netlink: Socket, family: int, kind: int) -> list[tuple[int, str, int]]:
    question = Message("RTM_GETADDR", RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, _ADDRESS.pack(family, 0, 0, 0, 0))
    result = []
    for body in netlink.ask(question):
        _family, prefix, _flags, _scope, index = _ADDRESS.unpack_from(body)
        address = attributes(body, _ADDRESS.size).get(kind)
        if address:
            result.append((index, socket.inet_ntop(family, address), prefix))
    return result


def default_routes(netlink: Socket) -> list[tuple[int, str]]:
    """The default routes of the namespace's main table: (index of the link, gateway); IPv4, then IPv6."""
    # A route without a gateway (to a device alone) is not one that a container's network has made.
    result = []
    for family in (AF_INET, AF_INET6):
        question = Message("RTM_GETROUTE", RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, _ROUTE.pack(family, *[0] * 8))
        for body in netlink.ask(question):
            found = attributes(body, _ROUTE.size)
            # Prefix length 0 and table main; the dump has all tables.
            if _ROUTE.unpack_from(body)[1:5:3] == (0, RT_TABLE_MAIN) and RTA_GATEWAY in found and RTA_OIF in found:
                gateway = socket.inet_ntop(family, found[RTA_GATEWAY])
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
            result.append((socket.inet_ntop(AF_INET, target), prefix))
    return result
