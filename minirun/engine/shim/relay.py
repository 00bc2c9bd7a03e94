"""Standing between a process and whoever watches it: its output goes to the log and to the attached, theirs to it.

The program in a container never holds a descriptor of the terminal or pipe from which minirun was called. It has pipes
(or a terminal of its own), and their other ends are here, in a process that outlives the one that was called; so a
closed window does not end a container, and a second person can attach to it. `attach` has the other side, and what is
said between the two.

What else a container's monitor has to do while it waits is done by *services*: the proxy of published ports, the name
service. A service keeps its sockets, however many, in an epoll(7) of its own; the relay listens to that one descriptor.
"""

from __future__ import annotations

import posix as os  # os without its Python half: 250 KiB less in a monitor at rest
import time
from select import POLLERR, POLLHUP, POLLIN, POLLOUT, poll

from minirun.engine.shim.protocol import BLOCK, WANTS_STDERR, WANTS_STDIN, WANTS_STDOUT
from minirun.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from minirun.engine.shim.json_file import LogWriter
    from minirun.engine.shim.stdio import Ends

    class Service(Protocol):
        """Work that a monitor does beside its relay. Its module has `taken_over(words)`, which makes it anew of
        `words()` in a process that has `descriptors()` open (see `resting`)."""

        fd: int
        """A descriptor that becomes readable when there is something to do; an epoll's own, mostly."""

        @property
        def deadline(self) -> float | None:
            """When to call `serve` although nothing is readable (as time.monotonic()), or None."""

        def serve(self) -> None:
            """Do what there is to do, without ever waiting. It keeps its troubles to itself: the relay must go on."""

        def idle(self) -> bool:
            """Whether it could go on from its `words` alone; what is not idle keeps the monitor from its rest."""

        def descriptors(self) -> list[int]:
            """What must stay open when it is idle."""

        def stop(self) -> None:
            """Close everything: the container has ended, and what is open would keep its network alive."""

        def words(self) -> list[str]:
            """What it must know to go on: words without a comma."""


EIO = 5  # errno(3); the module of that name is 20 KiB of names
#: After so long a relay may rest.
SECONDS = 1
#: So much output may wait for a slow client; then the program waits as well, as it would for a slow terminal.
PATIENCE = 1 << 20


class Client:
    """One attached socket: `.fd`, `.wants` (WANTS_*), `.queue` of messages that it was too slow to take."""

    __slots__ = ("fd", "queue", "queued", "wants")

    def __init__(self, fd: int, wants: int) -> None:
        self.fd, self.wants = fd, wants
        os.set_blocking(fd, False)
        self.queue: list[bytes] = []
        self.queued = 0

    def send(self, message: bytes) -> bool:
        """Send or queue a message; False when the client is gone."""
        if not self.queue:
            try:
                os.write(self.fd, message)
            except BlockingIOError:
                pass  # it is slow: the message waits
            except OSError:
                return False
            else:
                return True
        self.queue.append(message)
        self.queued += len(message)
        return True

    def flush(self) -> bool:
        """Send what is queued as far as it goes; False when the client is gone."""
        queue, self.queue, self.queued = self.queue, [], 0
        return all(self.send(message) for message in queue)


class Relay:
    """The loop that stands between a process and its watchers.

    Arguments: ends; log or None; listener (int), a listening socket or -1; rest, called when it has been at work for a
    second and nothing is under way, in case there is a cheaper way to wait (it need not come back).
    `.services` may be added to and taken from at any time. `.changed` is called when somebody says that what is plugged
    into the container is not what it was; it returns "" or what went wrong. `.failed` is called with a service that was
    taken out because of an error that it did not expect, and that error.
    """

    def __init__(
        self, ends: Ends, log: LogWriter | None, listener: int = -1, rest: Callable[[Relay], None] | None = None
    ) -> None:
        self.ends, self.log, self.listener, self.rest = ends, log, listener, rest
        self.pid = 0
        self.clients: dict[int, Client] = {}
        self.input = b""  # what the process was too slow to read
        self.input_ends = False
        self.outputs: dict[int, bytes] = {}
        self.services: list[Service] = []
        self.changed: Callable[[], str] = str
        self.failed: Callable[[Service, Exception], object] = lambda _service, _error: None

    def add(self, fd: int, wants: int) -> None:
        """Attach a client, by its connected socket."""
        self.clients[fd] = Client(fd, wants)

    def run(self, pid: int) -> int:
        """Relay until a process, our child, has ended. Returns: its exit code, or 128 + the signal that ended it.

        The ends must have been settled.
        """
        self.pid = pid
        self.outputs = {fd: word for fd, word in ((self.ends.stdout, b"o"), (self.ends.stderr, b"r")) if fd >= 0}
        pidfd = os.pidfd_open(pid)  # becomes readable when the process ends (pidfd_open(2))
        ended, tired = False, time.monotonic() + SECONDS
        while not ended:
            ready = dict(self._poller(pidfd).poll(self._timeout()))
            ended = bool(ready.pop(pidfd, 0))
            self._serve(ready)
            if self.rest and not ended and time.monotonic() > tired and self._nothing_under_way():
                self.rest(self)
        os.close(pidfd)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self._drain()
        if self.log:
            self.log.close()
        return code if code >= 0 else 128 - code

    def _nothing_under_way(self) -> bool:
        queued = any(client.queue for client in self.clients.values())
        return (
            not (queued or self.input or self.input_ends)
            and (self.log is None or self.log.idle)
            and all(service.idle() for service in self.services)
        )

    def _timeout(self) -> float | None:
        """For how many milliseconds there is nothing to do unless somebody has something for us; None: for ever."""
        now = time.monotonic()
        seconds: list[float] = [SECONDS] if self.rest else []
        seconds += [max(0, service.deadline - now) for service in self.services if service.deadline is not None]
        return 1000 * min(seconds) + 1 if seconds else None

    def _poller(self, pidfd: int) -> poll:
        """Whom to listen to now: nobody is read from whose words could not be passed on."""
        poller = poll()
        poller.register(pidfd, POLLIN)
        if self.listener >= 0:
            poller.register(self.listener, POLLIN)
        for service in self.services:
            poller.register(service.fd, POLLIN)
        slow = any(client.queued > PATIENCE for client in self.clients.values())
        for fd in self.outputs:
            if not slow:
                poller.register(fd, POLLIN)
        for fd, client in self.clients.items():
            poller.register(fd, (0 if self.input else POLLIN) | (POLLOUT if client.queue else 0))
        if self.input and self.ends.stdin >= 0:
            both = POLLIN if self.ends.stdin in self.outputs and not slow else 0
            poller.register(self.ends.stdin, POLLOUT | both)
        return poller

    def _serve(self, ready: dict[int, int]) -> None:
        now = time.monotonic()
        for service in list(self.services):
            late = service.deadline is not None and service.deadline <= now
            if ready.pop(service.fd, 0) or late:
                self._have_serve(service)
        for fd, events in ready.items():
            if fd == self.listener:
                self._welcome()
            elif fd in self.clients:
                self._hear(self.clients[fd], events)
            else:
                if events & POLLOUT:
                    self._feed(b"")
                if fd in self.outputs and events & (POLLIN | POLLHUP | POLLERR):
                    self._pass_on(fd)

    def _have_serve(self, service: Service) -> None:
        """Let a service work. What strangers send may bring it down; the container it serves goes on without it."""
        try:
            service.serve()
        except Exception as error:  # noqa: BLE001 (the last net: it is told, not swallowed)
            self.services.remove(service)
            self.failed(service, error)
            service.stop()

    def _welcome(self) -> None:
        import _socket  # who waits for years need not have it loaded

        listener = _socket.socket(fileno=self.listener)
        try:
            self.add(listener._accept()[0], 0)  # type: ignore[attr-defined]
        except OSError:  # it has gone again
            return
        finally:
            listener.detach()

    def _hear(self, client: Client, events: int) -> None:
        if events & POLLOUT and not client.flush():
            self._leave(client)
            return
        if not events & (POLLIN | POLLHUP | POLLERR):
            return
        try:
            message = os.read(client.fd, BLOCK + 1)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            self._leave(client)
        else:
            self._obey(client, message[:1], message[1:])

    def _obey(self, client: Client, word: bytes, rest: bytes) -> None:
        if word == b"h":
            client.wants = rest[0]
        elif word == b"i":
            self._feed(rest)
        elif word == b"e":
            self._end_input()
        elif word == b"w" and self.ends.master >= 0:
            from minirun.kernel import pty  # a window changes seldom

            pty.set_size(self.ends.master, *pty.unpack_size(rest))
        elif word == b"n":
            client.send(b"n" + self.changed().encode("utf-8", "replace"))
        elif word == b"s":
            try:
                os.kill(self.pid, rest[0])  # our own child, not waited for yet: the pid cannot be anybody else's
            except ProcessLookupError:
                return

    def _leave(self, client: Client) -> None:
        """A client has gone. If it was the one that typed, the process's input ends with it (Docker's StdinOnce)."""
        del self.clients[client.fd]
        os.close(client.fd)
        if client.wants & WANTS_STDIN and self.ends.master < 0:
            self._end_input()

    def _feed(self, data: bytes) -> None:
        """Write input to the process as far as it takes it."""
        if self.ends.stdin < 0:
            return  # it has no standard input, or no longer
        self.input += data
        try:
            while self.input:
                self.input = self.input[os.write(self.ends.stdin, self.input) :]
        except BlockingIOError:
            return
        except OSError:  # the process has closed its standard input
            self.input, self.input_ends = b"", True
        if self.input_ends:
            self._end_input()

    def _end_input(self) -> None:
        self.input_ends = True
        if not self.input and self.ends.stdin >= 0 and self.ends.master < 0:
            os.close(self.ends.stdin)
            self.ends.stdin = -1

    def _pass_on(self, fd: int) -> bool:
        """Pass on one block of output; False when there is none now, or no more."""
        try:
            data = os.read(fd, BLOCK)
        except BlockingIOError:
            return False
        except OSError as reason:
            # A terminal's master answers EIO while no process has its slave open: the session is over, or between two.
            if reason.errno != EIO:
                raise KernelError("read the container's output", reason.errno or 0) from None
            data = b""
        word = self.outputs[fd]
        if not data:
            del self.outputs[fd]
            return False
        if self.log:
            self.log.feed("stdout" if word == b"o" else "stderr", data)
        wanted = WANTS_STDOUT if word == b"o" else WANTS_STDERR
        for client in list(self.clients.values()):
            if client.wants & wanted and not client.send(word + data):
                self._leave(client)
        return True

    def _drain(self) -> None:
        """After the end: take what is still in the pipes. Nobody is left to write, so they run dry."""
        for fd in list(self.outputs):
            while fd in self.outputs and self._pass_on(fd):
                pass

    def farewell(self, code: int) -> None:
        """Tell all clients the end, after what they have not read yet (for which we wait), and let them go."""
        for client in self.clients.values():
            os.set_blocking(client.fd, True)
            if client.flush():
                client.send(b"x%d" % code)
            os.close(client.fd)
        self.clients.clear()
