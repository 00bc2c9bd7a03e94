"""Connection tracking: the kernel's table of connections and of what NAT has made of them (conntrack(8)).

An entry holds a connection's tuple in the original direction (ORIG) and in the reply direction (REPLY); with NAT the
two differ. Entries outlive the container. The next one to get the same address would be sent packets of a connection
that it never had, so Docker deletes the entries of an address when its endpoint is deleted: those whose replies come
from it or go to it.

The messages of ctnetlink are packed here, without a library, because every `stop` may need them. Source:
linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import errno

from minirun.errors import KernelError
from minirun.kernel import procfs
from minirun.kernel.netlink.socket import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, Message, Socket, attribute, attributes
from minirun.light import socket, struct
from minirun.trace import step

COUNT = "/proc/sys/net/netfilter/nf_conntrack_count"
NETLINK_NETFILTER = 12
_GET, _DELETE = (1 << 8) | 1, (1 << 8) | 2  # NFNL_SUBSYS_CTNETLINK and IPCTNL_MSG_CT_*
_NESTED = 0x8000
_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY, _CTA_ID, _CTA_ZONE, _CTA_FILTER = 1, 2, 12, 18, 25
_CTA_TUPLE_IP, _CTA_IP_V4_SRC, _CTA_IP_V4_DST, _CTA_FILTER_ORIG_FLAGS, _CTA_FILTER_REPLY_FLAGS = 1, 1, 2, 1, 2
#: The two addresses of a reply tuple, with the options that conntrack(8) has for them.
_SIDES = {_CTA_IP_V4_SRC: "--reply-src", _CTA_IP_V4_DST: "--reply-dst"}
#: Up to this many entries the whole table is dumped; with more the kernel is asked to filter.
DUMP_LIMIT = 1000
_HEADER = struct.pack("=BBH", socket.AF_INET, 0, 0)  # nfgenmsg


def delete_entries(address: str) -> None:
    """Delete the conntrack entries of connections whose replies come from this IPv4 address or go to it.

    Where nothing is tracked, this reads one number. Else each filtered dump makes the kernel walk its whole table, some
    10 ms, and there are two; so a short table is dumped once and filtered here. Errors: KernelError.
    """
    try:
        tracked = int(procfs.read(COUNT))
    except KernelError:  # this kernel does not track connections
        return
    if not tracked:
        return
    packed = socket.inet_pton(socket.AF_INET, address)
    requests = [_filtered(side, packed) for side in _SIDES] if tracked > DUMP_LIMIT else [_dump()]
    with step("forget the connections of its address"), Socket("conntrack", NETLINK_NETFILTER) as netlink:
        for request in requests:
            for entry in _entries(netlink, request):
                found = attributes(entry, 4)
                for side, option in _SIDES.items():  # a kernel before 5.8 ignores the filter
                    if _address(found[_CTA_TUPLE_REPLY], side) == packed:
                        _delete(netlink, found, f"{option} {address}")
                        break


def _entries(netlink: Socket, request: Message) -> list[bytes]:
    """The entries of a dump; none from a kernel without nf_conntrack_netlink, where Docker goes on, too."""
    try:
        return netlink.ask(request)
    except KernelError as error:
        if error.errno != errno.EINVAL:
            raise
        return []


def _dump() -> Message:
    """The request for all entries."""
    return Message("IPCTNL_MSG_CT_GET", _GET, NLM_F_REQUEST | NLM_F_DUMP, _HEADER)


def _filtered(side: int, packed: bytes) -> Message:
    """The request for the entries with this address in the reply tuple (CTA_FILTER: the fields that the flags name)."""
    reply = _nest(_CTA_TUPLE_REPLY, _nest(_CTA_TUPLE_IP, attribute(side, packed)))
    flags = attribute(_CTA_FILTER_ORIG_FLAGS, struct.pack("=I", 0)) + attribute(
        _CTA_FILTER_REPLY_FLAGS, struct.pack("=I", side)
    )  # bit 0 source, bit 1 destination
    return Message("IPCTNL_MSG_CT_GET", _GET, NLM_F_REQUEST | NLM_F_DUMP, _HEADER + reply + _nest(_CTA_FILTER, flags))


def _delete(netlink: Socket, entry: dict[int, bytes], words: str) -> None:
    body = _HEADER + _nest(_CTA_TUPLE_ORIG, entry[_CTA_TUPLE_ORIG])
    for kind in (_CTA_ZONE, _CTA_ID):
        if kind in entry:
            body += attribute(kind, entry[kind])
    message = Message("IPCTNL_MSG_CT_DELETE", _DELETE, NLM_F_REQUEST | NLM_F_ACK, body)
    try:
        netlink.do(message.about(words, lambda: f"-D {words}"))
    except KernelError as error:
        if error.errno != errno.ENOENT:  # it has expired meanwhile
            raise


def _address(tuple_: bytes, side: int) -> bytes:
    return attributes(attributes(tuple_).get(_CTA_TUPLE_IP, b"")).get(side, b"")


def _nest(kind: int, value: bytes) -> bytes:
    return attribute(kind | _NESTED, value)
