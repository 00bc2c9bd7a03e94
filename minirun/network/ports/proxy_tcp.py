"""TCP through the userland proxy: two connections, and what comes out of one goes into the other, both ways.

The bytes do not come to us. splice(2) moves them from a socket into a pipe and from there into the other socket, inside
the kernel. A pipe holds a fixed amount, so a fast sender waits for a slow receiver (back-pressure) and a thousand of
them cost no memory of ours. A connection has a pipe only while it has something in it.

Each way has its own end: who has sent all he has to send closes his half, that is passed on, and the other half goes on
until it ends as well (half-close, shutdown(2)). When both have ended the connection is over.

epoll tells only of changes here (EPOLLET), so nothing has to be asked for or called off: whenever a socket stirs, its
connection is moved on until nothing goes any more, or until others should have a turn.
"""

from __future__ import annotations

import _socket
import fcntl
import posix as os
import resource
import time
from select import EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, epoll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.network.ports.listener import Listener

_EDGES = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET
_FLAGS = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
#: So many bytes a pipe takes, of 64 KiB that it has by itself: each turn costs the same, whatever it moves.
_MUCH = 1 << 18
#: So often a connection is moved on before others get their turn, and so many newcomers are let in.
_ROUNDS, _NEWCOMERS = 16, 64
#: So many empty pipes are kept.
_SPARE = 16
#: Open files of a connection at the most (two sockets, two pipes), and of the monitor besides.
_FILES, _OWN_FILES = 6, 32
#: Seconds after which it is tried again when there are too many open files.
_PAUSE = 0.1
#: As Go sets it for every connection: after 15 s without a word the kernel asks whether the other side is there.
_KEEP_ALIVE = (
    (_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1),
    (_socket.IPPROTO_TCP, _socket.TCP_KEEPIDLE, 15),
    (_socket.IPPROTO_TCP, _socket.TCP_KEEPINTVL, 15),
    (_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1),
)


class Half:
    """One way through a connection: `.pipe` (read, write) while `.held` bytes are in it; `.done`, nothing more will
    come through."""

    __slots__ = ("done", "held", "pipe", "sink", "source")

    def __init__(self, source: _socket.socket, sink: _socket.socket) -> None:
        self.source, self.sink = source, sink
        self.pipe: tuple[int, int] | None = None
        self.held = 0
        self.done = False

    def move(self, pipes: Pipes) -> bool:
        """Move on what can be moved. Returns: whether there may be more. Errors: OSError when no pipe is to be had."""
        for _ in range(_ROUNDS):
            if not self.held and not self._fill(pipes):
                return False
            if not self._drain(pipes):
                return False
        return True

    def _fill(self, pipes: Pipes) -> bool:
        """Take something in; False when there is nothing now, or nothing more."""
        pipe = self.pipe or pipes.take()
        try:
            count = os.splice(self.source.fileno(), pipe[1], _MUCH, flags=_FLAGS)
        except BlockingIOError:
            pipes.give_back(pipe)
            return False
        except OSError:  # broken off: for the other side that is an end
            count = 0
        if count:
            self.pipe, self.held = pipe, count
            return True
        pipes.give_back(pipe)
        self.done = True
        try:
            self.sink.shutdown(_socket.SHUT_WR)
        except OSError:  # it has gone, too
            return False
        return False

    def _drain(self, pipes: Pipes) -> bool:
        """Let something out; False when nothing can be now, or never again."""
        assert self.pipe
        try:
            self.held -= os.splice(self.pipe[0], self.sink.fileno(), self.held, flags=_FLAGS)
        except BlockingIOError:
            return False
        except OSError:  # nobody is there to take it
            self.done = True
            self.drop()
            return False
        if not self.held:
            pipes.give_back(self.pipe)
            self.pipe = None
        return True

    def drop(self) -> None:
        """Forget what is held."""
        for fd in self.pipe or ():
            os.close(fd)
        self.pipe, self.held = None, 0


class Pipes:
    """Empty pipes, for who has something to put in."""

    def __init__(self) -> None:
        self.spare: list[tuple[int, int]] = []

    def take(self) -> tuple[int, int]:
        """An empty pipe. Errors: OSError when there are too many open files."""
        if self.spare:
            return self.spare.pop()
        pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, _MUCH)
        except OSError:  # fs.pipe-max-size is less: then it goes in smaller pieces
            return pipe
        return pipe

    def give_back(self, pipe: tuple[int, int]) -> None:
        """It is empty again."""
        if len(self.spare) < _SPARE:
            self.spare.append(pipe)
        else:
            for fd in pipe:
                os.close(fd)


class Connection:
    """Two sockets and the two ways between them."""

    __slots__ = ("client", "connected", "door", "halves", "server")

    def __init__(self, door: Listener, client: _socket.socket, server: _socket.socket) -> None:
        self.door, self.client, self.server, self.connected = door, client, server, False
        self.halves = (Half(client, server), Half(server, client))


class Streams:
    """All connections of a proxy: `.connections`, by each of their two descriptors."""

    def __init__(self, events: epoll) -> None:
        self.epoll = events
        self.connections: dict[int, Connection] = {}
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.most = max(1, (files - _OWN_FILES) // _FILES)  # at a time; others wait at the door
        self.pipes = Pipes()
        self.unfinished: set[Connection] = set()  # moved on as far as was fair
        self.starved: set[Connection] = set()  # in want of a descriptor
        self.shut: set[Listener] = set()  # nobody is let in, for the same reason

    def welcome(self, door: Listener) -> None:
        """Let in who waits at a door, and begin a connection to the container for each."""
        listener = door.socket()
        for _ in range(_NEWCOMERS):
            if not self._has_room():
                self._shut(door)
                return
            try:
                fd, _address = listener._accept()  # type: ignore[attr-defined]
            except (BlockingIOError, ConnectionError):  # nobody, or he has left again
                return
            except OSError:  # too many open files
                self._shut(door)
                return
            client = _socket.socket(listener.family, listener.type, listener.proto, fileno=fd)
            self._connect(door, client)

    def _has_room(self) -> bool:
        return len(self.connections) < 2 * self.most

    def _shut(self, door: Listener) -> None:
        """Let nobody in: who comes waits at the door (the kernel keeps a queue)."""
        self.epoll.unregister(door.fd)
        self.shut.add(door)

    def _connect(self, door: Listener, client: _socket.socket) -> None:
        server: _socket.socket | None = None
        try:
            family = _socket.AF_INET6 if ":" in door.target[0] else _socket.AF_INET
            kind = _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
            server = _socket.socket(family, kind, client.proto)
            os.set_blocking(client.fileno(), False)
            if door.proto == "tcp":
                for option in _KEEP_ALIVE:
                    client.setsockopt(*option)
                    server.setsockopt(*option)
            try:
                server.connect(door.target)
            except BlockingIOError:
                pass  # epoll tells how it came out
            connection = Connection(door, client, server)
            for sock in (client, server):
                self.connections[sock.fileno()] = connection
                self.epoll.register(sock.fileno(), _EDGES)
        except OSError:  # nobody listens there, or there is no way; the client sees an end, as from docker-proxy
            for broken in (client, server):
                if broken:
                    self.connections.pop(broken.fileno(), None)
                    broken.close()

    def serve(self, fd: int, events: int) -> bool:
        """Something has happened on a connection's socket; False when it is none of ours."""
        connection = self.connections.get(fd)
        if connection is None:
            return False
        if not connection.connected:
            if fd != connection.server.fileno() or not events & (EPOLLOUT | EPOLLERR | EPOLLHUP):
                return True  # what the client says is heard when there is somebody to tell
            if connection.server.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR):
                self._end(connection)
                return True
            connection.connected = True
        self._move(connection)
        return True

    def _move(self, connection: Connection) -> None:
        more = False
        try:
            for half in connection.halves:
                if not half.done:
                    more = half.move(self.pipes) or more
        except OSError:
            self.starved.add(connection)
            return
        if all(half.done for half in connection.halves):
            self._end(connection)
        elif more:
            self.unfinished.add(connection)

    def _end(self, connection: Connection) -> None:
        for half in connection.halves:
            half.drop()
        for sock in (connection.client, connection.server):
            del self.connections[sock.fileno()]
            sock.close()
        self.unfinished.discard(connection)
        self.starved.discard(connection)

    def leave(self, door: Listener) -> None:
        """A door is closed: all who came through it are let go."""
        for connection in {connection for connection in self.connections.values() if connection.door is door}:
            self._end(connection)
        self.shut.discard(door)

    def tend(self) -> float | None:
        """Go on where it was not fair to go on before. Returns: when to come again (time.monotonic()), or None."""
        unfinished, self.unfinished = self.unfinished, set()
        starved, self.starved = self.starved, set()
        for connection in (*unfinished, *starved):
            self._move(connection)
        wanting = bool(self.starved or self.shut)
        if self._has_room():
            for door in self.shut:
                self.epoll.register(door.fd, EPOLLIN)
            self.shut.clear()
        return 0.0 if self.unfinished else time.monotonic() + _PAUSE if wanting else None
