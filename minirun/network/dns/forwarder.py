"""The forwarder of the embedded DNS server: queries for names that it does not know go to external name servers.

The servers (at most three) are queried one after the other, each with a timeout of four seconds. An error response, and
NXDOMAIN from a server that is not authoritative, is kept while the next server is queried; the last one is the response
if none has a better. When the last server times out, the client gets no response. A query that came over UDP is
forwarded over UDP, one over TCP over TCP; so a truncated response is passed on, and the client tries again over TCP.

Servers on the loopback in the host's resolv.conf are queried from the host's network namespace, all others from the
container's, along its routes and through its rules. Each query has a random source port and id, and only a message
from that server, to that port, with that id and question is accepted as the response (RFC 5452).
"""

from __future__ import annotations

import time
from select import EPOLLIN, EPOLLOUT

from minirun.light import TYPE_CHECKING, os, socket
from minirun.network.dns import message as dns_message
from minirun.network.dns.message import AA, HEADER, NOERROR, NXDOMAIN, RCODE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from select import epoll

    from minirun.network.dns.message import Query

#: External servers at the most, and the timeout of each in seconds.
MAX_SERVERS, TIMEOUT = 3, 4
#: Queries that may be pending; more are not forwarded (libnetwork's maxConcurrent).
MAX_PENDING = 1024
#: Sockets that are opened at once, because for each batch the container's namespace has to be entered.
BATCH = 16
PORT = 53
_FLAGS = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


class Server:
    """An external name server: `.address` (str, IPv4); `.on_host` (bool), queried from the host's namespace."""

    __slots__ = ("address", "on_host")

    def __init__(self, address: str, on_host: bool = False) -> None:
        self.address, self.on_host = address, on_host


class PendingQuery:
    """A query that was forwarded.

    `.query`; `.stream` (bool), over TCP; `.reply`, called with the response, or b"" for none; `.untried` servers;
    `.fallback`, an error response that is passed on unless a better response comes; `.number`, the id that it was
    forwarded with; `.socket`; `.deadline` (time.monotonic()).
    """

    __slots__ = (
        "deadline",
        "fallback",
        "incoming",
        "number",
        "outgoing",
        "query",
        "reply",
        "socket",
        "stream",
        "untried",
    )

    def __init__(self, query: Query, stream: bool, reply: Callable[[bytes], None], servers: Sequence[Server]) -> None:
        self.query, self.stream, self.reply, self.untried = query, stream, reply, list(servers)
        self.fallback, self.number, self.deadline = b"", 0, 0.0
        self.incoming, self.outgoing = b"", b""
        self.socket: socket.socket | None = None


class Forwarder:
    """The external servers, and the pending queries.

    Arguments: servers; epoll, which watches the sockets; enter, (type, count) → that many sockets of the type
    (SOCK_DGRAM or SOCK_STREAM), opened in the container's network namespace.
    """

    def __init__(
        self, servers: Sequence[Server], epoll: epoll, enter: Callable[[int, int], list[socket.socket]]
    ) -> None:
        self.servers, self.epoll, self.enter = list(servers), epoll, enter
        self.spare: list[socket.socket] = []
        self.pending: dict[int, PendingQuery] = {}  # by descriptor; the earliest deadline is first

    def deadline(self) -> float | None:
        """The next deadline (time.monotonic()), or None."""
        for pending in self.pending.values():
            return pending.deadline
        return None

    def forward(self, query: Query, stream: bool, reply: Callable[[bytes], None]) -> None:
        """Forward a query; `reply` is called with the response, perhaps at once, or with b"" when there is none."""
        self._try_next(PendingQuery(query, stream, reply, self.servers[:MAX_SERVERS]))

    def serve(self, fd: int, events: int) -> None:
        """Handle the events of a socket."""
        pending = self.pending.get(fd)
        if pending is None:
            return
        try:
            message = self._exchange(pending, events) if pending.stream else self._receive(pending)
        except BlockingIOError:
            return
        except OSError:  # refused, or unreachable
            self._give_up(pending)
            return
        if message:
            self._accept(pending, message)

    def expire(self, now: float) -> None:
        """Give up on the servers whose timeout is over. Arguments: now (time.monotonic())."""
        while self.pending:
            pending = next(iter(self.pending.values()))
            if pending.deadline > now:
                return
            self._give_up(pending)

    def stop(self) -> None:
        """Drop all pending queries."""
        for pending in list(self.pending.values()):
            self._close(pending)
        for sock in self.spare:
            sock.close()

    # ---- one query ------------------------------------------------------------------------------------------

    def _try_next(self, pending: PendingQuery) -> None:
        """Send the query to the next server that can be reached."""
        while pending.untried and len(self.pending) < MAX_PENDING:
            server = pending.untried.pop(0)
            try:
                pending.socket = self._open(server, pending.stream)
            except OSError:  # too many open files, or the container has just ended
                continue
            try:
                self._send(pending, pending.socket, server)
            except OSError:
                pending.socket.close()
                continue
            return
        pending.reply(pending.fallback)

    def _open(self, server: Server, stream: bool) -> socket.socket:
        kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
        if server.on_host:
            return socket.socket(socket.AF_INET, kind | _FLAGS)
        if stream:
            return self.enter(kind, 1)[0]
        if not self.spare:
            self.spare = self.enter(kind, BATCH)
        return self.spare.pop()

    def _send(self, pending: PendingQuery, sock: socket.socket, server: Server) -> None:
        pending.number = int.from_bytes(os.urandom(2), "big")
        message = pending.query.message(pending.number)
        try:
            sock.connect((server.address, PORT))  # the kernel drops datagrams from any other address now
        except BlockingIOError:  # the TCP handshake is in progress
            pass
        if pending.stream:
            pending.incoming, pending.outgoing = b"", len(message).to_bytes(2, "big") + message
        else:
            sock.send(message)
        self.epoll.register(sock.fileno(), EPOLLOUT if pending.stream else EPOLLIN)
        self._start_timeout(pending, sock)

    def _start_timeout(self, pending: PendingQuery, sock: socket.socket) -> None:
        pending.deadline = time.monotonic() + TIMEOUT
        self.pending.pop(sock.fileno(), None)
        self.pending[sock.fileno()] = pending  # last: all have the same timeout

    def _receive(self, pending: PendingQuery) -> bytes:
        """Receive the response. Errors: BlockingIOError while there is none."""
        assert pending.socket
        while True:
            message = pending.socket.recv(dns_message.MESSAGE)
            if dns_message.is_response(message, pending.query, pending.number):
                return message

    def _exchange(self, pending: PendingQuery, events: int) -> bytes:
        """The same over TCP, where each message follows its length; b"" while it is incomplete. Errors: OSError."""
        sock = pending.socket
        assert sock
        if pending.outgoing:
            pending.outgoing = pending.outgoing[sock.send(pending.outgoing) :]
            if not pending.outgoing:
                self.epoll.modify(sock.fileno(), EPOLLIN)
                self._start_timeout(pending, sock)
            return b""
        part = sock.recv(dns_message.MESSAGE)
        pending.incoming += part
        length = int.from_bytes(pending.incoming[:2], "big")
        if len(pending.incoming) < 2 + length or length == 0:
            if not part:
                raise ConnectionError
            return b""
        message = pending.incoming[2 : 2 + length]
        if not dns_message.is_response(message, pending.query, pending.number):
            raise ConnectionError
        return message

    def _accept(self, pending: PendingQuery, message: bytes) -> None:
        """Pass a response on, or keep it while the next server is queried."""
        self._close(pending)
        flags = HEADER.unpack_from(message)[1]
        message = dns_message.with_id(message, pending.query.id)
        code = flags & RCODE
        if code == NOERROR or (code == NXDOMAIN and flags & AA):
            pending.reply(message)
        else:
            pending.fallback = message
            self._try_next(pending)

    def _give_up(self, pending: PendingQuery) -> None:
        self._close(pending)
        pending.fallback = b""  # as in Docker: a later timeout discards an earlier error response
        self._try_next(pending)

    def _close(self, pending: PendingQuery) -> None:
        assert pending.socket
        del self.pending[pending.socket.fileno()]
        pending.socket.close()  # which takes it out of the epoll
