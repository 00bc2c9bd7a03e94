"""The embedded DNS server of one container, at 127.0.0.11 (libnetwork's Resolver).

It resolves the names that it knows (`lookup`) and forwards all other queries (`forwarder`). It never blocks: all its
sockets are in one epoll(7), whose descriptor becomes readable when there is something to do. A client over TCP gets the
responses to its queries one after the other, and is disconnected when it is idle for some seconds (RFC 7766).
"""

from __future__ import annotations

import time
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, epoll

from minirun.light import TYPE_CHECKING, socket
from minirun.network.dns import lookup
from minirun.network.dns import message as dns_message
from minirun.network.dns.forwarder import Forwarder
from minirun.network.dns.message import AAAA, DATAGRAM, MESSAGE, A

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minirun.network.dns.forwarder import Server
    from minirun.network.dns.lookup import ServiceRecords

#: Datagrams that are read in one turn.
BURST = 64
#: TCP clients at a time; others wait in the listen queue. Their send buffers are limited to a message or two instead of
#: megabytes, because the kernel's memory for these sockets is charged to no container, so no limit holds it.
MAX_CLIENTS = 256
#: Timeouts in seconds: for the first query of a client, for its next one, for taking a response; and the time for which
#: no connection is accepted when there are too many.
FIRST, NEXT, SLOW, FULL = 2, 8, 2, 0.1


class Client:
    """A TCP client: `.socket`; `.incoming`, bytes not parsed yet; `.outgoing`, bytes not sent yet; `.busy` (bool), it
    waits for a response; `.ended` (bool), it has shut its sending side down; `.deadline` (time.monotonic())."""

    __slots__ = ("busy", "deadline", "ended", "incoming", "outgoing", "socket")

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.incoming, self.outgoing = b"", b""
        self.busy = self.ended = False
        self.deadline = time.monotonic() + FIRST

    def next_message(self) -> bytes | None:
        """The next complete message, or None."""
        end = 2 + int.from_bytes(self.incoming[:2], "big")
        if len(self.incoming) < end:
            return None
        message, self.incoming = self.incoming[2:end], self.incoming[end:]
        return message


class Resolver:
    """The server.

    Arguments: sockets, the UDP socket and the listening TCP socket; networks, called for the service records of the
    container's networks; servers and enter, see `Forwarder`; ndots (bool), queries for names without a dot are not
    forwarded: the container has `options ndots`, so that its resolver asks again with a search domain.
    """

    def __init__(
        self,
        sockets: tuple[socket.socket, socket.socket],
        networks: Callable[[], Sequence[ServiceRecords]],
        servers: Sequence[Server],
        enter: Callable[[int, int], list[socket.socket]],
        ndots: bool = False,
    ) -> None:
        self.datagrams, self.connections = sockets
        self.networks, self.ndots = networks, ndots
        self.epoll = epoll()
        self.fd = self.epoll.fileno()
        self.forwarder = Forwarder(servers, self.epoll, enter)
        self.clients: dict[int, Client] = {}
        self.responded: set[Client] = set()
        self.full_until = 0.0
        for sock in sockets:
            sock.setblocking(False)
            self.epoll.register(sock.fileno(), EPOLLIN)

    @property
    def deadline(self) -> float | None:
        """The next deadline (time.monotonic()), or None."""
        deadlines = [client.deadline for client in self.clients.values() if not client.busy]
        waiting = self.forwarder.deadline()
        if waiting is not None:
            deadlines.append(waiting)
        if self.full_until:
            deadlines.append(self.full_until)
        return min(deadlines, default=None)

    def idle(self) -> bool:
        """Whether there are no clients and no pending queries."""
        return not (self.clients or self.forwarder.pending or self.full_until)

    def descriptors(self) -> list[int]:
        """The two sockets."""
        return [self.datagrams.fileno(), self.connections.fileno()]

    def stop(self) -> None:
        """Close all sockets."""
        self.forwarder.stop()
        for client in list(self.clients.values()):
            self._disconnect(client)
        for closing in (self.datagrams, self.connections, self.epoll):
            closing.close()

    def serve(self) -> None:
        """Handle what is ready."""
        for fd, events in self.epoll.poll(0):
            if fd == self.datagrams.fileno():
                self._read_datagrams()
            elif fd == self.connections.fileno():
                self._accept()
            elif fd in self.clients:
                self._transfer(self.clients[fd], events)
            else:
                self.forwarder.serve(fd, events)
        now = time.monotonic()
        self.forwarder.expire(now)
        while self.responded:
            self._continue(self.responded.pop())
        for client in list(self.clients.values()):
            if client.deadline <= now and not client.busy:
                self._disconnect(client)
        if self.full_until and self.full_until <= now:
            self.full_until = 0.0
            self.epoll.modify(self.connections.fileno(), EPOLLIN)

    def _respond(self, message: bytes, stream: bool, reply: Callable[[bytes], None]) -> None:
        """Respond to a message. `reply` is called once, now or later; with b"" for no response."""
        query = dns_message.read(message)
        if query is None:
            reply(b"")
            return
        if query.error:
            reply(dns_message.error_response(query))
            return
        limit = MESSAGE - 1 if stream else query.size
        answer = lookup.answer(query, self.networks(), limit)
        if answer is None and self.ndots and query.type in (A, AAAA) and query.is_single():
            answer = lookup.empty(query, limit)
        if answer is None:
            self.forwarder.forward(
                query, stream, lambda found: reply(found and dns_message.truncate(found, query, limit))
            )
        else:
            reply(answer)

    # ---- datagrams ---------------------------------------------------------------------------------------------

    def _read_datagrams(self) -> None:
        for _ in range(BURST):
            try:
                # A longer one is truncated here, and gets FORMERR, as in Docker.
                message, client = self.datagrams.recvfrom(DATAGRAM)
            except OSError:  # nothing more for now
                return
            self._respond(message, False, self._reply_to(client))

    def _reply_to(self, client: tuple[str, int]) -> Callable[[bytes], None]:
        def send(answer: bytes) -> None:
            if not answer:
                return
            try:
                self.datagrams.sendto(answer, client)
            except OSError:  # a rule of the container drops it, or its buffer is full: UDP may lose a datagram
                return

        return send

    # ---- connections -------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            fd = self.connections._accept()[0]  # type: ignore[attr-defined]
        except (BlockingIOError, ConnectionError):  # the client is gone already
            return
        except OSError:  # too many open files; the client stays in the listen queue
            self._pause_accept()
            return
        client = Client(socket.socket(fileno=fd))
        client.socket.setblocking(False)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MESSAGE)
        self.clients[fd] = client
        self.epoll.register(fd, EPOLLIN)
        if len(self.clients) >= MAX_CLIENTS:
            self._pause_accept()

    def _pause_accept(self) -> None:
        """Accept no connection for a moment."""
        self.full_until = time.monotonic() + FULL
        self.epoll.modify(self.connections.fileno(), 0)

    def _disconnect(self, client: Client) -> None:
        del self.clients[client.socket.fileno()]
        client.socket.close()  # which takes it out of the epoll

    def _transfer(self, client: Client, events: int) -> None:
        """Read from a client, or write to it; or disconnect one that is gone."""
        try:
            if client.outgoing:
                client.outgoing = client.outgoing[client.socket.send(client.outgoing) :]
            elif client.busy and events & (EPOLLERR | EPOLLHUP):
                self._disconnect(client)
            elif not (client.busy or client.ended):
                part = client.socket.recv(MESSAGE)
                client.incoming += part
                client.ended = not part
        except BlockingIOError:
            return
        except OSError:
            self._disconnect(client)
        self._continue(client)

    def _continue(self, client: Client) -> None:
        """Respond to the messages of a client, one after the other, until it has to wait."""
        fd = client.socket.fileno()
        if fd not in self.clients:  # disconnected meanwhile
            return
        while not (client.busy or client.outgoing):
            message = client.next_message()
            if message is None:
                break
            client.busy = True
            self._respond(message, True, lambda answer: self._send_response(client, answer))
        if client.ended and not (client.busy or client.outgoing):
            self._disconnect(client)
        else:
            self.epoll.modify(fd, EPOLLOUT if client.outgoing else 0 if client.busy or client.ended else EPOLLIN)

    def _send_response(self, client: Client, answer: bytes) -> None:
        """Send a response as far as that is possible now; `serve` goes on with this client."""
        client.busy = False
        self.responded.add(client)
        if answer and client.socket.fileno() >= 0:
            client.outgoing = len(answer).to_bytes(2, "big") + answer
            try:
                client.outgoing = client.outgoing[client.socket.send(client.outgoing) :]
            except OSError as reason:
                if not isinstance(reason, BlockingIOError):  # disconnected, which its next event reports
                    client.outgoing = b""
        client.deadline = time.monotonic() + (SLOW if client.outgoing else NEXT)
