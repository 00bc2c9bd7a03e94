"""TCP through the userland proxy: a connection from the client and one to the container, and what is received on one is
sent on the other (docker-proxy's TCPProxy). SCTP in its one-to-one style goes the same way.

The data is not copied to us. splice(2) moves it from a socket into a pipe and from there into the other socket, inside
the kernel. A pipe has a fixed capacity, so a fast sender waits for a slow receiver (back-pressure) and a thousand of
them cost no memory of ours. A connection has a pipe only while there is data in it.

Each direction ends by itself: when one side has shut its sending half down, that is passed on, and the other direction
goes on until it ends too (half-close, shutdown(2)). When both have ended the connection is closed.

epoll is edge-triggered here (EPOLLET), so no interest has to be changed: on every event of a socket its connection is
served until both directions would block, or until others should have their turn.
"""

from __future__ import annotations

import fcntl
import resource
import time
from select import EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, epoll

from minirun.light import TYPE_CHECKING, os, socket

if TYPE_CHECKING:
    from minirun.network.ports.listener import Listener

_EDGES = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET
_FLAGS = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
#: Bytes that a pipe holds, instead of the default 64 KiB: a splice costs the same, whatever it moves.
_PIPE_SIZE = 1 << 18
#: Splices for a connection in one turn, and connections that are accepted in one turn.
_ROUNDS, _ACCEPTS = 16, 64
#: Empty pipes that are kept for reuse.
_SPARE_PIPES = 16
#: Open files of a connection at the most (two sockets, two pipes), and of the shim besides.
_FILES, _OWN_FILES = 6, 32
#: Seconds until the next try when there are too many open files.
_RETRY_DELAY = 0.1
#: As Go sets it for every connection: after 15 s of silence the kernel sends a keep-alive probe.
_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
)


class Direction:
    """One direction of a connection: `.pipe` (read end, write end) while `.held` bytes are in it; `.done`, it ended."""

    __slots__ = ("done", "held", "pipe", "sink", "source")

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source, self.sink = source, sink
        self.pipe: tuple[int, int] | None = None
        self.held = 0
        self.done = False

    def move(self, pipes: PipePool) -> bool:
        """Move what can be moved now. Returns: whether there may be more. Errors: OSError when no pipe is to be had."""
        for _ in range(_ROUNDS):
            if not self.held and not self._fill(pipes):
                return False
            if not self._drain(pipes):
                return False
        return True

    def _fill(self, pipes: PipePool) -> bool:
        """Splice from the source into a pipe. Returns: False when there is nothing to read, now or ever."""
        pipe = self.pipe or pipes.acquire()
        try:
            count = os.splice(self.source.fileno(), pipe[1], _PIPE_SIZE, flags=_FLAGS)
        except BlockingIOError:
            pipes.release(pipe)
            return False
        except OSError:  # reset: for the other side that is an end
            count = 0
        if count:
            self.pipe, self.held = pipe, count
            return True
        pipes.release(pipe)
        self.done = True
        try:
            self.sink.shutdown(socket.SHUT_WR)
        except OSError:  # it is closed, too
            return False
        return False

    def _drain(self, pipes: PipePool) -> bool:
        """Splice from the pipe into the sink. Returns: False when nothing can be written, now or ever."""
        assert self.pipe
        try:
            self.held -= os.splice(self.pipe[0], self.sink.fileno(), self.held, flags=_FLAGS)
        except BlockingIOError:
            return False
        except OSError:  # the receiver is gone
            self.done = True
            self.drop()
            return False
        if not self.held:
            pipes.release(self.pipe)
            self.pipe = None
        return True

    def drop(self) -> None:
        """Discard the pipe and the data in it."""
        for fd in self.pipe or ():
            os.close(fd)
        self.pipe, self.held = None, 0


class PipePool:
    """Empty pipes for reuse."""

    def __init__(self) -> None:
        self.spare: list[tuple[int, int]] = []

    def acquire(self) -> tuple[int, int]:
        """An empty pipe. Errors: OSError when there are too many open files."""
        if self.spare:
            return self.spare.pop()
        pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        except OSError:  # above fs.pipe-max-size: then in smaller pieces
            return pipe
        return pipe

    def release(self, pipe: tuple[int, int]) -> None:
        """Keep an empty pipe for reuse, or close it."""
        if len(self.spare) < _SPARE_PIPES:
            self.spare.append(pipe)
        else:
            for fd in pipe:
                os.close(fd)


class Connection:
    """The client's socket, the one to the container (`.server`), and the two directions between them."""

    __slots__ = ("client", "connected", "directions", "listener", "server")

    def __init__(self, listener: Listener, client: socket.socket, server: socket.socket) -> None:
        self.listener, self.client, self.server, self.connected = listener, client, server, False
        self.directions = (Direction(client, server), Direction(server, client))


class TCPProxy:
    """All connections of a proxy: `.connections`, by each of their two descriptors."""

    def __init__(self, events: epoll) -> None:
        self.epoll = events
        self.connections: dict[int, Connection] = {}
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.limit = max(1, (files - _OWN_FILES) // _FILES)  # of connections; others wait in the listen queue
        self.pipes = PipePool()
        self.unfinished: set[Connection] = set()  # with more to move when it is their turn again
        self.starved: set[Connection] = set()  # no descriptor was free for a pipe
        self.paused: set[Listener] = set()  # not accepting, for the same reason

    def accept(self, listener: Listener) -> None:
        """Accept the connections that wait at a listener, and connect to the container for each."""
        sock = listener.socket()
        for _ in range(_ACCEPTS):
            if not self._has_room():
                self._pause(listener)
                return
            try:
                fd, _address = sock._accept()  # type: ignore[attr-defined]
            except (BlockingIOError, ConnectionError):  # none, or the client is gone already
                return
            except OSError:  # too many open files
                self._pause(listener)
                return
            client = socket.socket(sock.family, sock.type, sock.proto, fileno=fd)
            self._connect(listener, client)

    def _has_room(self) -> bool:
        return len(self.connections) < 2 * self.limit

    def _pause(self, listener: Listener) -> None:
        """Accept no more connections for now: they wait in the kernel's listen queue."""
        self.epoll.unregister(listener.fd)
        self.paused.add(listener)

    def _connect(self, listener: Listener, client: socket.socket) -> None:
        server: socket.socket | None = None
        try:
            family = socket.AF_INET6 if ":" in listener.target[0] else socket.AF_INET
            kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            server = socket.socket(family, kind, client.proto)
            os.set_blocking(client.fileno(), False)
            if listener.proto == "tcp":
                for option in _KEEP_ALIVE:
                    client.setsockopt(*option)
                    server.setsockopt(*option)
            try:
                server.connect(listener.target)
            except BlockingIOError:
                pass  # epoll reports the result
            connection = Connection(listener, client, server)
            for sock in (client, server):
                self.connections[sock.fileno()] = connection
                self.epoll.register(sock.fileno(), _EDGES)
        except OSError:  # refused, or no route: the client sees its connection closed, as from docker-proxy
            for broken in (client, server):
                if broken:
                    self.connections.pop(broken.fileno(), None)
                    broken.close()

    def serve(self, fd: int, events: int) -> bool:
        """Serve the connection of a socket with these events. Returns: False when the socket is of none."""
        connection = self.connections.get(fd)
        if connection is None:
            return False
        if not connection.connected:
            if fd != connection.server.fileno() or not events & (EPOLLOUT | EPOLLERR | EPOLLHUP):
                return True  # what the client sends is read when the container is connected
            if connection.server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._close(connection)
                return True
            connection.connected = True
        self._move(connection)
        return True

    def _move(self, connection: Connection) -> None:
        more = False
        try:
            for direction in connection.directions:
                if not direction.done:
                    more = direction.move(self.pipes) or more
        except OSError:
            self.starved.add(connection)
            return
        if all(direction.done for direction in connection.directions):
            self._close(connection)
        elif more:
            self.unfinished.add(connection)

    def _close(self, connection: Connection) -> None:
        for direction in connection.directions:
            direction.drop()
        for sock in (connection.client, connection.server):
            del self.connections[sock.fileno()]
            sock.close()
        self.unfinished.discard(connection)
        self.starved.discard(connection)

    def close_listener(self, listener: Listener) -> None:
        """Close all connections of a listener that is closed."""
        for connection in {connection for connection in self.connections.values() if connection.listener is listener}:
            self._close(connection)
        self.paused.discard(listener)

    def run_pending(self) -> float | None:
        """Go on with the connections whose turn was over. Returns: when to call again (time.monotonic()), or None."""
        unfinished, self.unfinished = self.unfinished, set()
        starved, self.starved = self.starved, set()
        for connection in (*unfinished, *starved):
            self._move(connection)
        waiting = bool(self.starved or self.paused)
        if self._has_room():
            for listener in self.paused:
                self.epoll.register(listener.fd, EPOLLIN)
            self.paused.clear()
        return 0.0 if self.unfinished else time.monotonic() + _RETRY_DELAY if waiting else None
