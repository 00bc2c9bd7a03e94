"""Netlink sockets and messages (netlink(7)).

A request is a header (length, type, flags, sequence number), a fixed part that depends on its type, then attributes,
each with its own length and type and padded to four bytes. The kernel answers each request with NLMSG_ERROR, whose
errno is 0 on success, and may add a message in text (extended ack). A `Message` is such a request as a value: what to
send, and the equal shell line. Several may be sent in one datagram; the kernel works through them in order.

A socket belongs for ever to the network namespace in which it was opened. So one process can hold one of the host and
one of a container, and configure both ends of a veth pair without changing its namespace for each.
"""

from __future__ import annotations

import errno

from minirun.errors import KernelError
from minirun.kernel.syscalls import ROOT_HINT
from minirun.light import TYPE_CHECKING, socket, struct
from minirun.trace import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# linux/netlink.h
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_DUMP, NLM_F_EXCL, NLM_F_CREATE = 0x1, 0x4, 0x10, 0x300, 0x200, 0x400
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200  # in an answer: our request is left out; it has attributes
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK, NLMSGERR_ATTR_MSG = 270, 10, 11, 1

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, number, port
#: The flags of a request that changes an object, and of one that makes a new one (EEXIST if there is one).
CHANGE = NLM_F_REQUEST | NLM_F_ACK
CREATE = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL

U32 = struct.Struct("=I")
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type

#: What an errno of a request most often means, where strerror(3) misleads.
HINTS = {
    ("RTM_NEWLINK", errno.EOPNOTSUPP): "the kernel has no driver for this kind of link: modprobe bridge veth",
    ("RTM_NEWLINK", errno.EEXIST): "a link with this name or number exists already: ip link",
    ("RTM_NEWLINK", errno.EXFULL): "a bridge takes at most 1023 ports",
    ("RTM_SETLINK", errno.EBUSY): "the link is up, or is a port of another bridge",
    ("RTM_NEWADDR", errno.EEXIST): "the link has this address already: ip addr",
    ("RTM_NEWROUTE", errno.ENETUNREACH): "the gateway is in no subnet of a link that is up",
    ("RTM_NEWROUTE", errno.EEXIST): "there is a default route already: ip route",
}


class Message:
    """A request as a value.

    `.call` (str), its type by name, "RTM_NEWLINK"; `.type` (int), the same as a number; `.flags` (int), NLM_F_*;
    `.body` (bytes), all after the header; `.subject` (str), its object, for errors; `.line`, a function that returns
    the shell line without the program's name.
    """

    __slots__ = ("body", "call", "flags", "line", "subject", "type")

    def __init__(self, call: str, type_: int, flags: int, body: bytes) -> None:
        self.call, self.type, self.flags, self.body = call, type_, flags, body
        self.subject = ""
        self.line: Callable[[], str] = str

    def about(self, subject: str, line: Callable[[], str]) -> Message:
        """Set the subject and the shell line. Returns: the message itself."""
        self.subject, self.line = subject, line
        return self

    def pack(self, number: int) -> bytes:
        """The request as bytes; `number` (int) is its sequence number, which the answer repeats."""
        return _HEADER.pack(16 + len(self.body), self.type, self.flags, number, 0) + self.body


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute: length, type, value, padding."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(data: bytes, place: int = 0) -> dict[int, bytes]:
    """The attributes in `data` from `place` (int) on: type → value."""
    found = {}
    while place + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, place)
        if length < 4:  # not even its own header: the rest is no attribute
            break
        found[kind & 0x3FFF] = data[place + 4 : place + length]  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
        place += length + (-length % 4)
    return found


class Socket:
    """A netlink socket in this process's network namespace: `with Socket() as netlink: netlink.do(message)`.

    Arguments: program (str), the beginning of the shell lines; protocol (int), NETLINK_*. Errors: KernelError.
    """

    def __init__(self, program: str = "ip", protocol: int = socket.NETLINK_ROUTE) -> None:
        self.program = program
        self.number = 0
        try:
            self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
            self.socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)  # errors in text, not only as errno
            self.socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)  # errors without a copy of our request
        except OSError as reason:
            raise KernelError("socket AF_NETLINK", reason.errno or 0) from None

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; idempotent."""
        self.socket.close()

    def do(self, *messages: Message) -> None:
        """Send requests in one datagram, and wait for the answer to each.

        Errors: KernelError for the first that failed. The kernel carries out those after it all the same, so a caller
        that needs all or nothing must undo.
        """
        first = self.number + 1
        for message in messages:
            tell(message.call, lambda program, line: f"{program} {line()}", self.program, message.line)
        self._send(messages)
        answers: dict[int, KernelError | None] = {}
        while len(answers) < len(messages):
            for type_, flags, number, body in self._receive():
                if type_ == NLMSG_ERROR and number >= first:  # a lower number: a late answer to an older question
                    answers[number] = _failure(messages[number - first], flags, body)
        for number in sorted(answers):
            failure = answers[number]
            if failure is not None:
                raise failure

    def ask(self, question: Message) -> list[bytes]:
        """Send a request for information. Returns: the bodies of the answers. Errors: KernelError."""
        # A dump that changed while the kernel made it may lack entries: it is asked for again.
        while True:
            self._send((question,))
            answers: list[bytes] = []
            if self._collect(question, answers):
                return answers

    def _collect(self, question: Message, answers: list[bytes]) -> bool:
        """Read all parts of an answer into `answers`; False when a dump is inconsistent (NLM_F_DUMP_INTR)."""
        consistent = True
        while True:
            for type_, flags, number, body in self._receive():
                if number != self.number:
                    continue
                consistent = consistent and not flags & NLM_F_DUMP_INTR
                if type_ in (NLMSG_ERROR, NLMSG_DONE):
                    failure = _failure(question, flags, body) if body else None
                    if failure is not None:
                        raise failure
                    return consistent
                answers.append(body)
                if question.flags & NLM_F_DUMP != NLM_F_DUMP:
                    return consistent

    def _send(self, messages: tuple[Message, ...]) -> None:
        parts = []
        for message in messages:
            self.number += 1
            parts.append(message.pack(self.number))
        try:
            self.socket.sendto(b"".join(parts), (0, 0))  # port 0 is the kernel; CPython retries EINTR (PEP 475)
        except OSError as reason:
            raise KernelError(f"send {messages[0].call}", reason.errno or 0) from None

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Receive one datagram. Yields: (type, flags, sequence number, body) of each message. Errors: KernelError."""
        try:
            data, _, flags, (port, _) = self.socket.recvmsg(65536)
        except OSError as reason:
            raise KernelError("receive from netlink", reason.errno or 0) from None
        # The kernel fills at most 32 KiB of a dump's buffer, so this is a mistake and not a large answer.
        if flags & socket.MSG_TRUNC:
            raise KernelError("receive from netlink", errno.EMSGSIZE)
        # Port 0 is the kernel; any process may send to our port, and is ignored.
        place = 0 if port == 0 else len(data)
        while place + 16 <= len(data):
            length, type_, flags, number, _ = _HEADER.unpack_from(data, place)
            if not 16 <= length <= len(data) - place:
                raise KernelError("receive from netlink", errno.EBADMSG)
            yield type_, flags, number, data[place + 16 : place + length]
            place += length + (-length % 4)


def _failure(message: Message, flags: int, body: bytes) -> KernelError | None:
    """The error of an NLMSG_ERROR, or None for errno 0. Its body: -errno, our header (or request), attributes."""
    code = -struct.unpack_from("=i", body)[0]
    if code == 0:
        return None
    hints = []
    if flags & NLM_F_ACK_TLVS and len(body) >= 20:
        length = 16 if flags & NLM_F_CAPPED else struct.unpack_from("=I", body, 4)[0]
        words = attributes(body, 4 + length + (-length % 4)).get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode()
        hints += [f"the kernel says: {words}"] if words else []
    if (message.call, code) in HINTS:
        hints.append(HINTS[message.call, code])
    elif code == errno.EPERM:
        hints.append(ROOT_HINT)
    return KernelError(f"{message.call} {message.subject}".rstrip(), code, hint="; ".join(hints))
