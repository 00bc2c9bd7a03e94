"""The name server of one container: a socket for datagrams and one for connections, and whoever asks through them.

It answers what it knows (`nameserver`) and sends on what it does not (`upstream`). It never waits: all its sockets are
in one epoll(7), whose descriptor becomes readable when there is something to do. Whoever comes over TCP is answered
one question after the other, and let go when he says nothing for a while (RFC 7766).
"""

from __future__ import annotations

import _socket
import time
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, epoll

from minirun.network.dns import lookup
from minirun.network.dns import message as dns_message
from minirun.network.dns.forwarder import Upstream
from minirun.network.dns.message import AAAA, DATAGRAM, MESSAGE, A

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minirun.network.dns.forwarder import Server
    from minirun.network.dns.lookup import Network

#: So many datagrams are answered before somebody else has his turn.
BURST = 64
#: So many may be connected; others wait. The kernel keeps a message or two for each, not the megabytes that it would:
#: that memory is nobody's, so no limit of the container holds it.
CONNECTIONS = 256
#: For so long (seconds) may one be silent who has just come, one who has asked before, one who does not take an answer;
#: and so long does nobody new get in when there is no room.
FIRST, NEXT, SLOW, FULL = 2, 8, 2, 0.1


class Client:
    """Somebody who asks over TCP: `.socket`; `.incoming` bytes that were not looked at yet; `.outgoing`, not sent yet;
    `.busy` (bool), waits for an answer; `.ended` (bool), will say no more; `.deadline`."""

    __slots__ = ("busy", "deadline", "ended", "incoming", "outgoing", "socket")

    def __init__(self, sock: _socket.socket) -> None:
        self.socket = sock
        self.incoming, self.outgoing = b"", b""
        self.busy = self.ended = False
        self.deadline = time.monotonic() + FIRST

    def question(self) -> bytes | None:
        """The next whole message, or None."""
        end = 2 + int.from_bytes(self.incoming[:2], "big")
        if len(self.incoming) < end:
            return None
        message, self.incoming = self.incoming[2:end], self.incoming[end:]
        return message


class Resolver:
    """A name server.

    Arguments: datagrams and connections, its two sockets; networks, gives the networks that the container is on;
    servers and enter, see `upstream`; ndots (bool), names without a dot are not asked for elsewhere, because somebody
    wished for `options ndots` and so will ask again with a domain.
    """

    def __init__(
        self,
        sockets: tuple[_socket.socket, _socket.socket],
        networks: Callable[[], Sequence[Network]],
        servers: Sequence[Server],
        enter: Callable[[int, int], list[_socket.socket]],
        ndots: bool = False,
    ) -> None:
        self.datagrams, self.connections = sockets
        self.networks, self.ndots = networks, ndots
        self.epoll = epoll()
        self.fd = self.epoll.fileno()
        self.upstream = Upstream(servers, self.epoll, enter)
        self.clients: dict[int, Client] = {}
        self.answered: set[Client] = set()
        self.full_until = 0.0
        for sock in sockets:
            sock.setblocking(False)
            self.epoll.register(sock.fileno(), EPOLLIN)

    @property
    def deadline(self) -> float | None:
        """When somebody's time is over, or None."""
        deadlines = [client.deadline for client in self.clients.values() if not client.busy]
        waiting = self.upstream.deadline()
        if waiting is not None:
            deadlines.append(waiting)
        if self.full_until:
            deadlines.append(self.full_until)
        return min(deadlines, default=None)

    def idle(self) -> bool:
        """Whether nobody waits for anything."""
        return not (self.clients or self.upstream.waiting or self.full_until)

    def descriptors(self) -> list[int]:
        """The two sockets."""
        return [self.datagrams.fileno(), self.connections.fileno()]

    def stop(self) -> None:
        """Serve no more."""
        self.upstream.stop()
        for client in list(self.clients.values()):
            self._leave(client)
        for thing in (self.datagrams, self.connections, self.epoll):
            thing.close()

    def serve(self) -> None:
        """Do what there is to do."""
        for fd, events in self.epoll.poll(0):
            if fd == self.datagrams.fileno():
                self._read_datagrams()
            elif fd == self.connections.fileno():
                self._welcome()
            elif fd in self.clients:
                self._attend(self.clients[fd], events)
            else:
                self.upstream.serve(fd, events)
        now = time.monotonic()
        self.upstream.expire(now)
        while self.answered:
            self._go_on(self.answered.pop())
        for client in list(self.clients.values()):
            if client.deadline <= now and not client.busy:
                self._leave(client)
        if self.full_until and self.full_until <= now:
            self.full_until = 0.0
            self.epoll.modify(self.connections.fileno(), EPOLLIN)

    def _answer(self, message: bytes, stream: bool, reply: Callable[[bytes], None]) -> None:
        """Answer a message. `reply` is called once, now or later; with b"" when there is nothing to say."""
        query = dns_message.read(message)
        if query is None:
            reply(b"")
            return
        if query.complaint:
            reply(dns_message.complaint(query))
            return
        limit = MESSAGE - 1 if stream else query.size
        answer = lookup.answer(query, self.networks(), limit)
        if answer is None and self.ndots and query.type in (A, AAAA) and query.is_single():
            answer = lookup.empty(query, limit)
        if answer is None:
            self.upstream.ask(query, stream, lambda found: reply(found and dns_message.cut(found, query, limit)))
        else:
            reply(answer)

    # ---- datagrams ---------------------------------------------------------------------------------------------

    def _read_datagrams(self) -> None:
        for _ in range(BURST):
            try:
                # What is longer is cut, and complained about, as in Docker.
                message, asker = self.datagrams.recvfrom(DATAGRAM)
            except OSError:  # no more, for now
                return
            self._answer(message, False, self._reply_to(asker))

    def _reply_to(self, asker: tuple[str, int]) -> Callable[[bytes], None]:
        def send(answer: bytes) -> None:
            if not answer:
                return
            try:
                self.datagrams.sendto(answer, asker)
            except OSError:  # a rule of the container forbids it, or its buffer is full: a datagram may get lost
                return

        return send

    # ---- connections -------------------------------------------------------------------------------------------

    def _welcome(self) -> None:
        try:
            fd = self.connections._accept()[0]  # type: ignore[attr-defined]
        except (BlockingIOError, ConnectionError):  # he has gone again
            return
        except OSError:  # this process has no descriptor left; he stays where he is
            self._close_the_door()
            return
        client = Client(_socket.socket(fileno=fd))
        client.socket.setblocking(False)
        client.socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, MESSAGE)
        self.clients[fd] = client
        self.epoll.register(fd, EPOLLIN)
        if len(self.clients) >= CONNECTIONS:
            self._close_the_door()

    def _close_the_door(self) -> None:
        """Let nobody in for a moment."""
        self.full_until = time.monotonic() + FULL
        self.epoll.modify(self.connections.fileno(), 0)

    def _leave(self, client: Client) -> None:
        del self.clients[client.socket.fileno()]
        client.socket.close()  # which takes it out of the epoll

    def _attend(self, client: Client, events: int) -> None:
        """Somebody has sent something, or takes what we have for him, or is gone."""
        try:
            if client.outgoing:
                client.outgoing = client.outgoing[client.socket.send(client.outgoing) :]
            elif client.busy and events & (EPOLLERR | EPOLLHUP):
                self._leave(client)
            elif not (client.busy or client.ended):
                part = client.socket.recv(MESSAGE)
                client.incoming += part
                client.ended = not part
        except BlockingIOError:
            return
        except OSError:
            self._leave(client)
        self._go_on(client)

    def _go_on(self, client: Client) -> None:
        """Answer what he has asked, one after the other, as far as that goes now."""
        fd = client.socket.fileno()
        if fd not in self.clients:  # he has gone meanwhile
            return
        while not (client.busy or client.outgoing):
            message = client.question()
            if message is None:
                break
            client.busy = True
            self._answer(message, True, lambda answer: self._hand_over(client, answer))
        if client.ended and not (client.busy or client.outgoing):
            self._leave(client)
        else:
            self.epoll.modify(fd, EPOLLOUT if client.outgoing else 0 if client.busy or client.ended else EPOLLIN)

    def _hand_over(self, client: Client, answer: bytes) -> None:
        """Send an answer as far as the connection takes it now; `serve` goes on with him."""
        client.busy = False
        self.answered.add(client)
        if answer and client.socket.fileno() >= 0:
            client.outgoing = len(answer).to_bytes(2, "big") + answer
            try:
                client.outgoing = client.outgoing[client.socket.send(client.outgoing) :]
            except OSError as reason:
                if not isinstance(reason, BlockingIOError):  # he is gone, which his next event tells
                    client.outgoing = b""
        client.deadline = time.monotonic() + (SLOW if client.outgoing else NEXT)
