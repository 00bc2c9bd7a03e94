"""UDP through the userland proxy. There are no connections, so the proxy must remember who asked.

For each client that speaks to the published port there is a socket of its own towards the container: what comes back on
it is for that client. Nobody says good-bye in UDP; a client of whom nothing was heard back for 90 seconds is forgotten,
as docker-proxy does, which has the number from the kernel's own connection tracking.
"""

from __future__ import annotations

import _socket
import time
from select import EPOLLIN, epoll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.network.ports.listener import Listener

#: Seconds without an answer after which a client is forgotten.
PATIENCE = 90
#: The longest datagram: 65535 without the headers of IP and UDP.
_LONGEST = 65507
#: So many are passed on before others get their turn.
_MANY = 64


class Peer:
    """A client: through which `.door` it came, its `.address`, the `.socket` towards the container, and until when
    (time.monotonic()) an answer is expected."""

    __slots__ = ("address", "door", "socket", "until")

    def __init__(self, door: Listener, address: tuple, sock: _socket.socket) -> None:
        self.door, self.address, self.socket = door, address, sock
        self.until = time.monotonic() + PATIENCE


class Datagrams:
    """All clients of a proxy: `.peers`, by the descriptor of the socket towards the container, who is first to be
    forgotten first."""

    def __init__(self, events: epoll) -> None:
        self.epoll = events
        self.peers: dict[int, Peer] = {}
        self.known: dict[tuple[int, tuple], Peer] = {}

    def welcome(self, door: Listener) -> None:
        """Pass on what has come to a door."""
        for _ in range(_MANY):
            try:
                data, address = door.socket().recvfrom(_LONGEST)
            except OSError:  # nothing now
                return
            peer = self.known.get((door.fd, address)) or self._meet(door, address)
            if peer and not _send(peer.socket, data):
                _send(peer.socket, data)  # what failed was an earlier one, of which we hear only now (udp(7))

    def _meet(self, door: Listener, address: tuple) -> Peer | None:
        try:
            family = _socket.AF_INET6 if ":" in door.target[0] else _socket.AF_INET
            sock = _socket.socket(family, _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC)
            sock.connect(door.target)
            self.epoll.register(sock.fileno(), EPOLLIN)
        except OSError:  # too many open files, or no way there: a datagram may be lost
            return None
        peer = self.peers[sock.fileno()] = self.known[door.fd, address] = Peer(door, address, sock)
        return peer

    def serve(self, fd: int) -> None:
        """Pass answers on to the client whom they are for."""
        peer = self.peers.pop(fd, None)
        if peer is None:
            return
        self.peers[fd] = peer  # now the last to be forgotten
        peer.until = time.monotonic() + PATIENCE
        for _ in range(_MANY):
            try:
                data = peer.socket.recv(_LONGEST)
            except ConnectionError:  # nobody listens in the container, or not yet
                continue
            except OSError:  # nothing now
                return
            try:
                peer.door.socket().sendto(data, peer.address)
            except OSError:  # no way back: it is lost
                continue

    def leave(self, door: Listener) -> None:
        """A door is closed: all who came through it are forgotten."""
        for peer in [peer for peer in self.peers.values() if peer.door is door]:
            self._forget(peer)

    def _forget(self, peer: Peer) -> None:
        del self.peers[peer.socket.fileno()], self.known[peer.door.fd, peer.address]
        peer.socket.close()

    def tend(self) -> float | None:
        """Forget who is to be forgotten. Returns: when to come again (time.monotonic()), or None."""
        now = time.monotonic()
        while self.peers:
            peer = next(iter(self.peers.values()))
            if peer.until > now:
                return peer.until
            self._forget(peer)
        return None


def _send(sock: _socket.socket, data: bytes) -> bool:
    try:
        sock.send(data)
    except OSError:
        return False
    return True
