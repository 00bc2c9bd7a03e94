"""The shim's event loop: the streams of a process are relayed to the log and to attached clients (conmon's main loop).

The process in a container never holds a descriptor of the terminal or pipe from which minirun was called. It has pipes
or a terminal of its own, whose other ends are here, in a process that outlives the command; so closing a window does
not end a container, and a second client can attach to it. `attach` is the client, `protocol` what the two say.

Whatever else a shim does while its container runs is done by *services*: the userland proxy, the DNS server. A service
keeps its sockets in an epoll(7) instance of its own, and the relay polls that one descriptor.
"""

from __future__ import annotations

import time
from select import POLLERR, POLLHUP, POLLIN, POLLOUT, poll

from minirun.engine.shim import protocol
from minirun.errors import KernelError
from minirun.light import TYPE_CHECKING, os

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from minirun.engine.shim.json_file import LogWriter
    from minirun.engine.shim.stdio import Stdio

    class Service(Protocol):
        """Work that a shim does beside its relay. Its module has `restore(args)`, which makes the service again in a
        re-exec'ed shim, from what `restore_args()` has returned and with `descriptors()` still open (see `reexec`)."""

        fd: int
        """A descriptor that is readable when there is work, as a rule that of an epoll instance."""

        @property
        def deadline(self) -> float | None:
            """When to call `serve` although nothing is readable (as time.monotonic(), s), or None."""

        def serve(self) -> None:
            """Do what there is to do, without blocking. Errors are handled by the service: the relay must go on."""

        def idle(self) -> bool:
            """Whether `restore_args` is all its state; a shim with a service that is not idle is not re-exec'ed."""

        def descriptors(self) -> list[int]:
            """The descriptors that it needs while it is idle."""

        def stop(self) -> None:
            """Close everything: the container has exited, and an open socket would keep its network namespace alive."""

        def restore_args(self) -> list[str]:
            """Its state as command-line arguments, none of which has a comma."""


EIO = 5  # errno(3); the module `errno` takes 20 KiB
#: Seconds of quiet after which a shim is re-exec'ed.
REEXEC_AFTER = 1
#: Bytes of output that may be queued for a slow client; then the program has to wait, as for a slow terminal.
MAX_QUEUED = 1 << 20


class Client:
    """An attached client: `.fd` of its socket, `.flags` (ATTACH_*), `.queue` of messages that did not fit in it."""

    __slots__ = ("fd", "flags", "queue", "queued")

    def __init__(self, fd: int, flags: int) -> None:
        self.fd, self.flags = fd, flags
        os.set_blocking(fd, False)
        self.queue: list[bytes] = []
        self.queued = 0

    def send(self, message: bytes) -> bool:
        """Send or queue a message; False when the client is gone."""
        if not self.queue:
            try:
                os.write(self.fd, message)
            except BlockingIOError:
                pass  # its socket is full: queue
            except OSError:
                return False
            else:
                return True
        self.queue.append(message)
        self.queued += len(message)
        return True

    def flush(self) -> bool:
        """Send as much of the queue as the socket takes; False when the client is gone."""
        queue, self.queue, self.queued = self.queue, [], 0
        return all(self.send(message) for message in queue)


class Relay:
    """The event loop between a process and its clients.

    Arguments: stdio, the process's streams; log, or None; listener (int), the listening socket or -1; reexec, called
    after a quiet second, to go on with less memory (see `reexec.reexec`); it may return or not.
    `.services` may be changed at any time. `.networks_changed` is called when a client reports that the container was
    connected with a network or disconnected; it returns "" or an error message. `.service_failed` is called with a
    service that was removed because of an unexpected error, and that error.
    """

    def __init__(
        self, stdio: Stdio, log: LogWriter | None, listener: int = -1, reexec: Callable[[Relay], None] | None = None
    ) -> None:
        self.stdio, self.log, self.listener, self.reexec = stdio, log, listener, reexec
        self.pid = 0
        self.clients: dict[int, Client] = {}
        self.input = b""  # what the process has not read yet
        self.stdin_eof = False
        self.outputs: dict[int, bytes] = {}
        self.services: list[Service] = []
        self.networks_changed: Callable[[], str] = str
        self.service_failed: Callable[[Service, Exception], object] = lambda _service, _error: None

    def add_client(self, fd: int, flags: int) -> None:
        """Attach a client. Arguments: fd, its connected socket; flags, ATTACH_*."""
        self.clients[fd] = Client(fd, flags)

    def run(self, pid: int) -> int:
        """Relay until a process, a child of this one, has exited. Returns: its exit code, or 128 + the signal.

        `stdio.after_start` must have been called.
        """
        self.pid = pid
        streams = ((self.stdio.stdout, protocol.STDOUT), (self.stdio.stderr, protocol.STDERR))
        self.outputs = {fd: kind for fd, kind in streams if fd >= 0}
        pidfd = os.pidfd_open(pid)  # readable once the process has exited (pidfd_open(2))
        exited, reexec_time = False, time.monotonic() + REEXEC_AFTER
        while not exited:
            ready = dict(self._poller(pidfd).poll(self._timeout()))
            exited = bool(ready.pop(pidfd, 0))
            self._serve(ready)
            if self.reexec and not exited and time.monotonic() > reexec_time and self._idle():
                self.reexec(self)
        os.close(pidfd)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self._drain()
        if self.log:
            self.log.close()
        return code if code >= 0 else 128 - code

    def _idle(self) -> bool:
        queued = any(client.queue for client in self.clients.values())
        return (
            not (queued or self.input or self.stdin_eof)
            and (self.log is None or self.log.idle)
            and all(service.idle() for service in self.services)
        )

    def _timeout(self) -> float | None:
        """How long to poll at most, in milliseconds; None: for ever."""
        now = time.monotonic()
        seconds: list[float] = [REEXEC_AFTER] if self.reexec else []
        seconds += [max(0, service.deadline - now) for service in self.services if service.deadline is not None]
        return 1000 * min(seconds) + 1 if seconds else None

    def _poller(self, pidfd: int) -> poll:
        """What to poll for now. Nothing is read that could not be written on to the other side."""
        poller = poll()
        poller.register(pidfd, POLLIN)
        if self.listener >= 0:
            poller.register(self.listener, POLLIN)
        for service in self.services:
            poller.register(service.fd, POLLIN)
        slow = any(client.queued > MAX_QUEUED for client in self.clients.values())
        for fd in self.outputs:
            if not slow:
                poller.register(fd, POLLIN)
        for fd, client in self.clients.items():
            poller.register(fd, (0 if self.input else POLLIN) | (POLLOUT if client.queue else 0))
        if self.input and self.stdio.stdin >= 0:
            both = POLLIN if self.stdio.stdin in self.outputs and not slow else 0
            poller.register(self.stdio.stdin, POLLOUT | both)
        return poller

    def _serve(self, ready: dict[int, int]) -> None:
        now = time.monotonic()
        for service in list(self.services):
            late = service.deadline is not None and service.deadline <= now
            if ready.pop(service.fd, 0) or late:
                self._run_service(service)
        for fd, events in ready.items():
            if fd == self.listener:
                self._accept()
            elif fd in self.clients:
                self._read_client(self.clients[fd], events)
            else:
                if events & POLLOUT:
                    self._write_stdin(b"")
                if fd in self.outputs and events & (POLLIN | POLLHUP | POLLERR):
                    self._copy_output(fd)

    def _run_service(self, service: Service) -> None:
        """Have a service do its work. If untrusted input makes it fail, the container goes on without it."""
        try:
            service.serve()
        except Exception as error:  # noqa: BLE001 (the last resort: it is reported, not swallowed)
            self.services.remove(service)
            self.service_failed(service, error)
            service.stop()

    def _accept(self) -> None:
        import _socket  # not kept in memory by a shim that may be idle for years

        listener = _socket.socket(fileno=self.listener)
        try:
            self.add_client(listener._accept()[0], 0)  # type: ignore[attr-defined]
        except OSError:  # it has closed it again
            return
        finally:
            listener.detach()

    def _read_client(self, client: Client, events: int) -> None:
        if events & POLLOUT and not client.flush():
            self._drop_client(client)
            return
        if not events & (POLLIN | POLLHUP | POLLERR):
            return
        try:
            message = os.read(client.fd, protocol.BLOCK + 1)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            self._drop_client(client)
        else:
            self._handle(client, message[:1], message[1:])

    def _handle(self, client: Client, kind: bytes, payload: bytes) -> None:
        if kind == protocol.ATTACH:
            client.flags = payload[0]
        elif kind == protocol.STDIN:
            self._write_stdin(payload)
        elif kind == protocol.STDIN_EOF:
            self._close_stdin()
        elif kind == protocol.RESIZE and self.stdio.master >= 0:
            from minirun.kernel import pty  # seldom needed

            pty.set_size(self.stdio.master, *pty.unpack_size(payload))
        elif kind == protocol.NETWORKS:
            client.send(protocol.NETWORKS + self.networks_changed().encode("utf-8", "replace"))
        elif kind == protocol.SIGNAL:
            try:
                os.kill(self.pid, payload[0])  # a child that was not waited for yet: the pid cannot have been reused
            except ProcessLookupError:
                return

    def _drop_client(self, client: Client) -> None:
        """A client has disconnected. If it was attached to stdin, the process gets end-of-file (Docker's StdinOnce)."""
        del self.clients[client.fd]
        os.close(client.fd)
        if client.flags & protocol.ATTACH_STDIN and self.stdio.master < 0:
            self._close_stdin()

    def _write_stdin(self, data: bytes) -> None:
        """Write input to the process, as much as its pipe takes; the rest is kept."""
        if self.stdio.stdin < 0:
            return  # it has no standard input, or no longer
        self.input += data
        try:
            while self.input:
                self.input = self.input[os.write(self.stdio.stdin, self.input) :]
        except BlockingIOError:
            return
        except OSError:  # the process has closed its standard input
            self.input, self.stdin_eof = b"", True
        if self.stdin_eof:
            self._close_stdin()

    def _close_stdin(self) -> None:
        self.stdin_eof = True
        if not self.input and self.stdio.stdin >= 0 and self.stdio.master < 0:
            os.close(self.stdio.stdin)
            self.stdio.stdin = -1

    def _copy_output(self, fd: int) -> bool:
        """Copy one block of output to the log and the clients; False when there is none now, or at its end."""
        try:
            data = os.read(fd, protocol.BLOCK)
        except BlockingIOError:
            return False
        except OSError as reason:
            # A terminal's master returns EIO while no process has the slave open: the session is over, or between two.
            if reason.errno != EIO:
                raise KernelError("read the container's output", reason.errno or 0) from None
            data = b""
        kind = self.outputs[fd]
        if not data:
            del self.outputs[fd]
            return False
        if self.log:
            self.log.feed("stdout" if kind == protocol.STDOUT else "stderr", data)
        flag = protocol.ATTACH_STDOUT if kind == protocol.STDOUT else protocol.ATTACH_STDERR
        for client in list(self.clients.values()):
            if client.flags & flag and not client.send(kind + data):
                self._drop_client(client)
        return True

    def _drain(self) -> None:
        """After the exit: read what is left in the pipes. All their writers are gone, so this ends."""
        for fd in list(self.outputs):
            while fd in self.outputs and self._copy_output(fd):
                pass

    def send_exit(self, code: int) -> None:
        """Send the exit code to all clients, after what is queued for them (this blocks), and close the connections."""
        for client in self.clients.values():
            os.set_blocking(client.fd, True)
            if client.flush():
                client.send(protocol.EXIT + b"%d" % code)
            os.close(client.fd)
        self.clients.clear()
