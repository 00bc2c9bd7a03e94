"""UDP through the userland proxy: UDP has no connections, so the proxy tracks the clients (docker-proxy's UDPProxy).

For each client of the published port there is one socket that is connected to the container: what is received on it is
for that client. UDP has no end either; a client to which the container has not replied for 90 seconds is dropped, as in
docker-proxy, which has the number from the kernel's connection tracking.
"""

from __future__ import annotations

import time
from select import EPOLLIN, epoll

from minirun.light import TYPE_CHECKING, socket

if TYPE_CHECKING:
    from minirun.network.ports.listener import Listener

#: Seconds without a reply from the container after which a client is dropped (docker-proxy's UDPConnTrackTimeout).
TIMEOUT = 90
#: The longest datagram: 65535 without the headers of IP and UDP.
_LONGEST = 65507
#: Datagrams that are forwarded in one turn.
_BURST = 64


class Client:
    """A client: the `.listener` it sends to, its `.address`, the `.socket` towards the container, and the `.deadline`
    (time.monotonic()) at which it is dropped."""

    __slots__ = ("address", "deadline", "listener", "socket")

    def __init__(self, listener: Listener, address: tuple, sock: socket.socket) -> None:
        self.listener, self.address, self.socket = listener, address, sock
        self.deadline = time.monotonic() + TIMEOUT


class UDPProxy:
    """All clients of a proxy: `.clients`, by the descriptor of the socket towards the container, the earliest deadline
    first."""

    def __init__(self, events: epoll) -> None:
        self.epoll = events
        self.clients: dict[int, Client] = {}
        self.by_address: dict[tuple[int, tuple], Client] = {}

    def accept(self, listener: Listener) -> None:
        """Forward the datagrams that a listener has received."""
        for _ in range(_BURST):
            try:
                data, address = listener.socket().recvfrom(_LONGEST)
            except OSError:  # nothing more for now
                return
            client = self.by_address.get((listener.fd, address)) or self._new_client(listener, address)
            if client and not _send(client.socket, data):
                _send(client.socket, data)  # the error was of an earlier datagram, and is reported only now (udp(7))

    def _new_client(self, listener: Listener, address: tuple) -> Client | None:
        try:
            family = socket.AF_INET6 if ":" in listener.target[0] else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            sock.connect(listener.target)
            self.epoll.register(sock.fileno(), EPOLLIN)
        except OSError:  # too many open files, or no route: UDP may lose a datagram
            return None
        client = self.clients[sock.fileno()] = self.by_address[listener.fd, address] = Client(listener, address, sock)
        return client

    def serve(self, fd: int) -> None:
        """Forward replies of the container to the client of the socket (int) on which they came."""
        client = self.clients.pop(fd, None)
        if client is None:
            return
        self.clients[fd] = client  # now with the latest deadline
        client.deadline = time.monotonic() + TIMEOUT
        for _ in range(_BURST):
            try:
                data = client.socket.recv(_LONGEST)
            except ConnectionError:  # ICMP port unreachable: no program listens in the container, or not yet
                continue
            except OSError:  # nothing more for now
                return
            try:
                client.listener.socket().sendto(data, client.address)
            except OSError:  # no route back: UDP may lose a datagram
                continue

    def close_listener(self, listener: Listener) -> None:
        """Drop all clients of a listener that is closed."""
        for client in [client for client in self.clients.values() if client.listener is listener]:
            self._drop(client)

    def _drop(self, client: Client) -> None:
        del self.clients[client.socket.fileno()], self.by_address[client.listener.fd, client.address]
        client.socket.close()

    def run_pending(self) -> float | None:
        """Drop the clients whose deadline is over. Returns: when to call again (time.monotonic()), or None."""
        now = time.monotonic()
        while self.clients:
            client = next(iter(self.clients.values()))
            if client.deadline > now:
                return client.deadline
            self._drop(client)
        return None


def _send(sock: socket.socket, data: bytes) -> bool:
    try:
        sock.send(data)
    except OSError:
        return False
    return True
