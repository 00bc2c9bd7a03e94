"""Connection tracking: the kernel remembers who speaks with whom, and what NAT has made of it (conntrack(8)).

An entry holds a connection as it was begun (ORIG) and how its answers look (REPLY); with NAT the two differ. It
outlives the container. The next one to get the same address would be sent packets of a connection that it never had, so
Docker deletes the entries of an address when its endpoint goes: those whose answers come from it or go to it.

This speaks ctnetlink by itself, since it stands on the way of every `stop`: linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import _socket
import _struct as struct  # without its Python half, which is looked for in five places
import errno

from minirun.errors import KernelError
from minirun.kernel import procfs
from minirun.kernel.netlink.socket import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, Message, Socket, attribute, attributes
from minirun.trace import step

COUNT = "/proc/sys/net/netfilter/nf_conntrack_count"
NETLINK_NETFILTER = 12
_GET, _DELETE = (1 << 8) | 1, (1 << 8) | 2  # NFNL_SUBSYS_CTNETLINK and IPCTNL_MSG_CT_*
_NESTED = 0x8000
_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY, _CTA_ID, _CTA_ZONE, _CTA_FILTER = 1, 2, 12, 18, 25
_CTA_TUPLE_IP, _CTA_IP_V4_SRC, _CTA_IP_V4_DST, _CTA_FILTER_ORIG_FLAGS, _CTA_FILTER_REPLY_FLAGS = 1, 1, 2, 1, 2
#: The two sides of the answers, with conntrack's options for them.
_SIDES = {_CTA_IP_V4_SRC: "--reply-src", _CTA_IP_V4_DST: "--reply-dst"}
#: Up to so many entries are fetched rather than asked for one by one.
FEW = 1000
_HEADER = struct.pack("=BBH", _socket.AF_INET, 0, 0)  # nfgenmsg


def forget(address: str) -> None:
    """Delete the entries of connections whose answers come from an address of a container, or go to it.

    Where nothing has been tracked, this is a look at one number. Else the kernel goes through its whole table, which
    takes it some 10 ms for each question; so few entries are all looked at here. Errors: KernelError.
    """
    try:
        tracked = int(procfs.read(COUNT))
    except KernelError:  # this kernel does not track connections
        return
    if not tracked:
        return
    packed = _socket.inet_pton(_socket.AF_INET, address)
    questions = [_question(side, packed) for side in _SIDES] if tracked > FEW else [_everything()]
    with step("forget the connections of its address"), Socket("conntrack", NETLINK_NETFILTER) as netlink:
        for question in questions:
            for entry in _entries(netlink, question):
                found = attributes(entry, 4)
                for side, option in _SIDES.items():  # a kernel before 5.8 gives us all there are in any case
                    if _address(found[_CTA_TUPLE_REPLY], side) == packed:
                        _delete(netlink, found, f"{option} {address}")
                        break


def _entries(netlink: Socket, question: Message) -> list[bytes]:
    """What a question finds. A kernel that tracks but does not tell (no nf_conntrack_netlink) does not hold up an end;
    Docker goes on then, too."""
    try:
        return netlink.ask(question)
    except KernelError as error:
        if error.errno != errno.EINVAL:
            raise
        return []


def _everything() -> Message:
    """All entries there are."""
    return Message("IPCTNL_MSG_CT_GET", _GET, NLM_F_REQUEST | NLM_F_DUMP, _HEADER)


def _question(side: int, packed: bytes) -> Message:
    """All entries with this address on one side of the answers; the kernel compares the fields that the flags name."""
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
        if error.errno != errno.ENOENT:  # it had come to its end by itself
            raise


def _address(tuple_: bytes, side: int) -> bytes:
    return attributes(attributes(tuple_).get(_CTA_TUPLE_IP, b"")).get(side, b"")


def _nest(kind: int, value: bytes) -> bytes:
    return attribute(kind | _NESTED, value)
