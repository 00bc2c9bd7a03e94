"""Talk with the kernel in datagrams (netlink(7)).

A request is a header (length, type, flags, number), a fixed part for its subject, then attributes, each with its own
length and type and padded to four bytes. The kernel answers each request with NLMSG_ERROR, whose errno is 0 when all
went well, and may add words of its own. A `Message` is such a request as a value: what to send, and the shell line
that would do the same. Several may travel in one datagram; the kernel works through them in order.

A socket belongs for ever to the network namespace in which it was opened. So one process can hold one on the host and
one in a container, and plug in both ends of a cable without going to and fro.
"""

from __future__ import annotations

import _socket  # the C module: `socket` costs 9 ms at each start, for enum and selectors
import errno

from minirun.errors import KernelError
from minirun.kernel.syscalls import ROOT_HINT
from minirun.light import TYPE_CHECKING, struct
from minirun.trace import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# linux/netlink.h
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_DUMP, NLM_F_EXCL, NLM_F_CREATE = 0x1, 0x4, 0x10, 0x300, 0x200, 0x400
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200  # in an answer: our request is not repeated whole; the kernel has words
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK, NLMSGERR_ATTR_MSG = 270, 10, 11, 1

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, number, port
#: The flags of a request that changes something, and of one that makes something new.
CHANGE = NLM_F_REQUEST | NLM_F_ACK
CREATE = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL

U32 = struct.Struct("=I")
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type

#: What an errno most often means, where strerror(3) does not say it.
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

    `.call` (str), its name, "RTM_NEWLINK"; `.type` (int), the same as a number; `.flags` (int), NLM_F_*; `.body`
    (bytes), all after the header; `.subject` (str), what it is about, for errors; `.line`, gives the shell line, which
    begins after the program's name.
    """

    __slots__ = ("body", "call", "flags", "line", "subject", "type")

    def __init__(self, call: str, type_: int, flags: int, body: bytes) -> None:
        self.call, self.type, self.flags, self.body = call, type_, flags, body
        self.subject = ""
        self.line: Callable[[], str] = str

    def about(self, subject: str, line: Callable[[], str]) -> Message:
        """The same message, with its subject and its shell line."""
        self.subject, self.line = subject, line
        return self

    def pack(self, number: int) -> bytes:
        """The request as bytes; `number` comes back in the answer."""
        return _HEADER.pack(16 + len(self.body), self.type, self.flags, number, 0) + self.body


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute: length, type, value, padding."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(data: bytes, place: int = 0) -> dict[int, bytes]:
    """The attributes in `data` from `place` (int) on: type → value."""
    found = {}
    while place + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, place)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[place + 4 : place + length]  # the two upper bits are flags, not type
        place += length + (-length % 4)
    return found


class Socket:
    """A netlink socket in the present network namespace: `with Socket() as netlink: netlink.do(message)`.

    Arguments: program (str), how the shell lines begin; protocol (int), NETLINK_*. Errors: KernelError.
    """

    def __init__(self, program: str = "ip", protocol: int = _socket.NETLINK_ROUTE) -> None:
        self.program = program
        self.number = 0
        try:
            self.socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, protocol)
            self.socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)  # have errors in words, not only as errno
            self.socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)  # do not send our request back to us
        except OSError as reason:
            raise KernelError("socket AF_NETLINK", reason.errno or 0) from None

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it; fine when it is closed already."""
        self.socket.close()

    def do(self, *messages: Message) -> None:
        """Send requests in one datagram and wait until the kernel has answered each.

        It goes on with the next one when one fails, so a caller that needs all or nothing must undo.
        Errors: KernelError for the first that failed.
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
        """The bodies of the answers to a question; a list that changed while the kernel read it is asked for again."""
        while True:
            self._send((question,))
            answers: list[bytes] = []
            if self._collect(question, answers):
                return answers

    def _collect(self, question: Message, answers: list[bytes]) -> bool:
        """Read all parts of an answer; False when it is not of one piece (NLM_F_DUMP_INTR)."""
        sound = True
        while True:
            for type_, flags, number, body in self._receive():
                if number != self.number:
                    continue
                sound = sound and not flags & NLM_F_DUMP_INTR
                if type_ in (NLMSG_ERROR, NLMSG_DONE):
                    failure = _failure(question, flags, body) if body else None
                    if failure is not None:
                        raise failure
                    return sound
                answers.append(body)
                if question.flags & NLM_F_DUMP != NLM_F_DUMP:
                    return sound

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
        """One datagram taken apart: (type, flags, number, body) of each message in it."""
        try:
            data, _, flags, (port, _) = self.socket.recvmsg(65536)
        except OSError as reason:
            raise KernelError("receive from netlink", reason.errno or 0) from None
        if flags & _socket.MSG_TRUNC:
            raise KernelError("receive from netlink", errno.EMSGSIZE)
        place = 0 if port == 0 else len(data)  # only the kernel is listened to
        while place + 16 <= len(data):
            length, type_, flags, number, _ = _HEADER.unpack_from(data, place)
            if not 16 <= length <= len(data) - place:
                raise KernelError("receive from netlink", errno.EBADMSG)
            yield type_, flags, number, data[place + 16 : place + length]
            place += length + (-length % 4)


def _failure(message: Message, flags: int, body: bytes) -> KernelError | None:
    """The error in an answer, or None. The body: errno below zero, our header (or whole request), then words."""
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
