"""The attach client: keys, window size and signals go to the shim, the container's output comes from it."""

from __future__ import annotations

from select import POLLIN, poll

from minirun.engine.shim import protocol
from minirun.errors import ClientError, MinirunError
from minirun.kernel import pty
from minirun.light import TYPE_CHECKING, os, signal, socket

if TYPE_CHECKING:
    from minirun.engine.container.container import Container

#: Signals that are forwarded to the container (`--sig-proxy`); the others cannot be caught or concern this process.
FORWARDED = tuple(
    getattr(signal, f"SIG{word}")
    for word in (
        "HUP",
        "INT",
        "QUIT",
        "ABRT",
        "USR1",
        "USR2",
        "ALRM",
        "TERM",
        "CONT",
        "TSTP",
        "TTIN",
        "TTOU",
        "XCPU",
        "XFSZ",
        "VTALRM",
        "PROF",
        "IO",
        "PWR",
        "SYS",
    )
)
DETACH_KEYS = b"\x10\x11"  # ctrl-p ctrl-q


class Detached(Exception):
    """The user pressed the detach keys."""


def parse_detach_keys(text: str) -> bytes:
    """The bytes that keys in Docker's notation send: "ctrl-p,ctrl-q" or "a,ctrl-x". Errors: ClientError."""
    keys = bytearray()
    for word in text.split(","):
        if word.startswith("ctrl-") and len(word) == 6 and word[5].lower() in "@abcdefghijklmnopqrstuvwxyz[\\]^_":
            keys.append(ord(word[5].upper()) & 0x1F)
        elif len(word) == 1:
            keys += word.encode()
        else:
            raise ClientError(f"Unknown character: '{word}'")
    return bytes(keys)


class AttachClient:
    """This process, attached to a shim.

    Arguments: sock, connected to the shim; stdin (bool), forward standard input; terminal (bool), whether the container
    has a terminal; detach_keys (bytes), b"" for none; signals (bool), forward signals.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        stdin: bool,
        terminal: bool,
        detach_keys: bytes = DETACH_KEYS,
        signals: bool = True,
    ) -> None:
        self.sock, self.stdin, self.terminal, self.detach_keys = sock, stdin, terminal, detach_keys
        self.pressed = b""  # the part of the detach sequence that was pressed already
        if signals:
            for number in FORWARDED:
                signal.signal(number, self._forward_signal)
        if terminal:
            signal.signal(signal.SIGWINCH, self._send_size)
            self._send_size()  # it may have changed since it was written into config.json

    def run(self) -> int:
        """Stay attached until the container exits. Returns: its exit code. Errors: Detached."""
        if self.stdin and self.terminal:
            with pty.raw(0):
                return self._loop()
        return self._loop()

    def _loop(self) -> int:
        poller = poll()
        poller.register(self.sock.fileno(), POLLIN)
        if self.stdin:
            poller.register(0, POLLIN)
        while True:
            for fd, _events in poller.poll():
                if fd == 0:
                    if not self._forward_stdin():
                        poller.unregister(0)
                    continue
                message = self._receive()
                if message[:1] == protocol.EXIT:
                    return int(message[1:])
                self._print(1 if message[:1] == protocol.STDOUT else 2, message[1:])

    def _receive(self) -> bytes:
        try:
            message = self.sock.recv(protocol.BLOCK + 1)
        except ConnectionResetError:
            # The shim has closed the socket with unread data in it: that is reported first, its last messages next.
            message = self.sock.recv(protocol.BLOCK + 1)
        if not message:
            raise MinirunError(
                "the container's monitor was killed, and what it watched is killed for that", exit_code=137
            )
        return message

    def _print(self, fd: int, data: bytes) -> None:
        while data:
            data = data[os.write(fd, data) :]

    def _forward_stdin(self) -> bool:
        data = os.read(0, protocol.BLOCK)
        if self.terminal and data:
            data = self._without_detach_keys(data)
        if data:
            self._send(protocol.STDIN + data)
        elif not self.pressed:
            self._send(protocol.STDIN_EOF)
            return False
        return True

    def _without_detach_keys(self, data: bytes) -> bytes:
        """Hold back keys that may begin the detach sequence until another key shows that they do not."""
        held = self.pressed + data
        if self.detach_keys and self.detach_keys in held:
            raise Detached
        keep = next(
            (n for n in range(min(len(held), len(self.detach_keys) - 1), 0, -1) if held.endswith(self.detach_keys[:n])),
            0,
        )
        self.pressed = held[len(held) - keep :]
        return held[: len(held) - keep]

    def _send(self, message: bytes) -> None:
        try:
            self.sock.send(message)
        except (BrokenPipeError, ConnectionResetError):
            self.stdin = False  # it has exited; the exit code will be the next message

    def _forward_signal(self, number: int, _frame: object) -> None:
        self._send(protocol.SIGNAL + bytes([number]))

    def _send_size(self, *_: object) -> None:
        size = window_size()
        if size:
            self._send(protocol.RESIZE + pty.pack_size(*size))


class Attachment:
    """How a command attaches to a container: `.stdin`, `.stdout`, `.stderr` (bool), the streams; `.detach_keys` (bytes,
    b"" for ctrl-p,ctrl-q); `.signals` (bool), whether it forwards its signals.

    Arguments: detach_keys in Docker's notation. Errors: ClientError for others.
    """

    __slots__ = ("detach_keys", "signals", "stderr", "stdin", "stdout")

    def __init__(
        self, *, stdin: bool, stdout: bool = True, stderr: bool = True, detach_keys: str = "", signals: bool = True
    ) -> None:
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.detach_keys, self.signals = b"", signals
        if detach_keys:
            self.detach_keys = parse_detach_keys(detach_keys)

    @property
    def flags(self) -> int:
        """The streams as flags of the attach protocol (`protocol.ATTACH_*`)."""
        return (
            protocol.ATTACH_STDIN * self.stdin
            | protocol.ATTACH_STDOUT * self.stdout
            | protocol.ATTACH_STDERR * self.stderr
        )

    def client(self, sock: socket.socket, container: Container) -> AttachClient:
        """The attach client. Arguments: sock, connected to the container's shim, which may have yet to serve it."""
        return AttachClient(
            sock,
            stdin=self.stdin,
            terminal=container.record["Config"]["Tty"],
            detach_keys=self.detach_keys or DETACH_KEYS,
            signals=self.signals,
        )


def window_size() -> tuple[int, int] | None:
    """Rows and columns of the terminal (TIOCGWINSZ); None when none of the standard streams is one."""
    for fd in (0, 1, 2):
        try:
            return pty.size(fd)
        except OSError:
            continue
    return None
