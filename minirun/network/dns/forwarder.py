"""Asking other name servers what is not known here, as Docker's embedded server does.

The servers (at most three) are asked one after the other, each for four seconds. A complaint, and "no such name" from
one that is no authority, are kept while the next is asked; the last of them is the answer if none knows better. When
the last one says nothing, nothing is answered. Over which of UDP and TCP a question came, over that it goes on; so an
answer that does not fit into a datagram is passed on cut, and whoever asked comes again over TCP.

Those that the host's resolv.conf names on a loopback are on the host's; all others are asked from where the container
is, along its routes and through its rules. Each question goes out of a port and with a number that nobody can guess,
and only an answer from that server, to that port, with that number and to that question is one.
"""

from __future__ import annotations

import _socket
import posix as os
import time
from select import EPOLLIN, EPOLLOUT

from minirun.network.dns import message as dns_message
from minirun.network.dns.message import AA, HEADER, NOERROR, NXDOMAIN, RCODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from select import epoll

    from minirun.network.dns.message import Query

SERVERS, SECONDS = 3, 4
#: So many questions may wait for an answer; more are not sent on.
OUTSTANDING = 1024
#: So many sockets are opened at once when the container's namespace is entered.
SPARE = 16
PORT = 53
_FLAGS = _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC


class Server:
    """A name server: `.address` (str, IPv4); `.on_host` (bool), asked from the host's namespace."""

    __slots__ = ("address", "on_host")

    def __init__(self, address: str, on_host: bool = False) -> None:
        self.address, self.on_host = address, on_host


class Question:
    """A question that waits for an answer.

    `.query`; `.stream` (bool), over TCP; `.reply`, takes the answer, or b"" for none; `.untried` servers; `.held`, a
    complaint that is the answer unless a better one comes; `.number`, its id on the way; `.socket`; `.deadline`.
    """

    __slots__ = ("deadline", "held", "incoming", "number", "outgoing", "query", "reply", "socket", "stream", "untried")

    def __init__(self, query: Query, stream: bool, reply: Callable[[bytes], None], servers: Sequence[Server]) -> None:
        self.query, self.stream, self.reply, self.untried = query, stream, reply, list(servers)
        self.held, self.number, self.deadline = b"", 0, 0.0
        self.incoming, self.outgoing = b"", b""
        self.socket: _socket.socket | None = None


class Upstream:
    """The servers that are asked, and the questions that wait for them.

    Arguments: servers; epoll, in which the sockets are; enter, opens so many (int) sockets of a type (SOCK_DGRAM or
    SOCK_STREAM) in the container's namespace.
    """

    def __init__(
        self, servers: Sequence[Server], epoll: epoll, enter: Callable[[int, int], list[_socket.socket]]
    ) -> None:
        self.servers, self.epoll, self.enter = list(servers), epoll, enter
        self.spare: list[_socket.socket] = []
        self.waiting: dict[int, Question] = {}  # by descriptor; who has waited longest is first

    def deadline(self) -> float | None:
        """When somebody will have waited too long, or None."""
        for question in self.waiting.values():
            return question.deadline
        return None

    def ask(self, query: Query, stream: bool, reply: Callable[[bytes], None]) -> None:
        """Send a question on; `reply` is called with the answer, perhaps at once, or with b"" when there is none."""
        self._try_next(Question(query, stream, reply, self.servers[:SERVERS]))

    def serve(self, fd: int, events: int) -> None:
        """Something has happened to a socket of ours."""
        question = self.waiting.get(fd)
        if question is None:
            return
        try:
            message = self._converse(question, events) if question.stream else self._receive(question)
        except BlockingIOError:
            return
        except OSError:  # nobody listens there, or cannot be reached
            self._give_up(question)
            return
        if message:
            self._judge(question, message)

    def expire(self, now: float) -> None:
        """Go on without the answers that should have come by now."""
        while self.waiting:
            question = next(iter(self.waiting.values()))
            if question.deadline > now:
                return
            self._give_up(question)

    def stop(self) -> None:
        """Forget all questions."""
        for question in list(self.waiting.values()):
            self._hang_up(question)
        for sock in self.spare:
            sock.close()

    # ---- one question ------------------------------------------------------------------------------------------

    def _try_next(self, question: Question) -> None:
        """Send the question to the next server that can be reached."""
        while question.untried and len(self.waiting) < OUTSTANDING:
            server = question.untried.pop(0)
            try:
                question.socket = self._open(server, question.stream)
            except OSError:  # too many are open, or the container has just ended
                continue
            try:
                self._begin(question, question.socket, server)
            except OSError:
                question.socket.close()
                continue
            return
        question.reply(question.held)

    def _open(self, server: Server, stream: bool) -> _socket.socket:
        kind = _socket.SOCK_STREAM if stream else _socket.SOCK_DGRAM
        if server.on_host:
            return _socket.socket(_socket.AF_INET, kind | _FLAGS)
        if stream:
            return self.enter(kind, 1)[0]
        if not self.spare:
            self.spare = self.enter(kind, SPARE)
        return self.spare.pop()

    def _begin(self, question: Question, sock: _socket.socket, server: Server) -> None:
        question.number = int.from_bytes(os.urandom(2), "big")
        message = question.query.message(question.number)
        try:
            sock.connect((server.address, PORT))  # from now on the kernel drops what comes from anywhere else
        except BlockingIOError:  # a handshake is under way
            pass
        if question.stream:
            question.incoming, question.outgoing = b"", len(message).to_bytes(2, "big") + message
        else:
            sock.send(message)
        self.epoll.register(sock.fileno(), EPOLLOUT if question.stream else EPOLLIN)
        self._await(question, sock)

    def _await(self, question: Question, sock: _socket.socket) -> None:
        question.deadline = time.monotonic() + SECONDS
        self.waiting.pop(sock.fileno(), None)
        self.waiting[sock.fileno()] = question  # last: nobody's time ends later

    def _receive(self, question: Question) -> bytes:
        """The answer; b"" while there is none."""
        assert question.socket
        while True:
            message = question.socket.recv(dns_message.MESSAGE)
            if dns_message.answers(message, question.query, question.number):
                return message

    def _converse(self, question: Question, events: int) -> bytes:
        """The same over TCP, where a message comes after its length. Errors: OSError when that goes wrong."""
        sock = question.socket
        assert sock
        if question.outgoing:
            question.outgoing = question.outgoing[sock.send(question.outgoing) :]
            if not question.outgoing:
                self.epoll.modify(sock.fileno(), EPOLLIN)
                self._await(question, sock)
            return b""
        part = sock.recv(dns_message.MESSAGE)
        question.incoming += part
        length = int.from_bytes(question.incoming[:2], "big")
        if len(question.incoming) < 2 + length or length == 0:
            if not part:
                raise ConnectionError
            return b""
        message = question.incoming[2 : 2 + length]
        if not dns_message.answers(message, question.query, question.number):
            raise ConnectionError
        return message

    def _judge(self, question: Question, message: bytes) -> None:
        """Pass an answer on, or keep it while the next server is asked."""
        self._hang_up(question)
        flags = HEADER.unpack_from(message)[1]
        message = dns_message.renumbered(message, question.query.id)
        code = flags & RCODE
        if code == NOERROR or (code == NXDOMAIN and flags & AA):
            question.reply(message)
        else:
            question.held = message
            self._try_next(question)

    def _give_up(self, question: Question) -> None:
        self._hang_up(question)
        question.held = b""  # as in Docker: who says nothing is heard last
        self._try_next(question)

    def _hang_up(self, question: Question) -> None:
        assert question.socket
        del self.waiting[question.socket.fileno()]
        question.socket.close()  # which takes it out of the epoll
