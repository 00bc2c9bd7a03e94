"""The watcher's side of a relay: our keys, window and signals go to the container, its output comes here."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import os
from select import POLLIN, poll

from minirun.engine.shim.protocol import BLOCK, WANTS_STDERR, WANTS_STDIN, WANTS_STDOUT
from minirun.errors import ClientError, MinirunError
from minirun.kernel import pty

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from minirun.engine.container.container import Container

#: Signals that are passed on to the process; the others either cannot be caught or are about this process alone.
PASSED_ON = tuple(
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


def parse_keys(text: str) -> bytes:
    """Docker's notation of keys, "ctrl-p,ctrl-q" or "a,ctrl-x", as the bytes they send. Errors: ClientError."""
    keys = bytearray()
    for word in text.split(","):
        if word.startswith("ctrl-") and len(word) == 6 and word[5].lower() in "@abcdefghijklmnopqrstuvwxyz[\\]^_":
            keys.append(ord(word[5].upper()) & 0x1F)
        elif len(word) == 1:
            keys += word.encode()
        else:
            raise ClientError(f"Unknown character: '{word}'")
    return bytes(keys)


class Watcher:
    """Attach this process to a relay.

    Arguments: sock, connected to the relay; stdin (bool), pass our standard input on; terminal (bool), the process has
    a terminal; detach_keys (bytes); signals (bool), pass signals on.
    """

    def __init__(
        self,
        sock: _socket.socket,
        *,
        stdin: bool,
        terminal: bool,
        detach_keys: bytes = DETACH_KEYS,
        signals: bool = True,
    ) -> None:
        self.sock, self.stdin, self.terminal, self.detach_keys = sock, stdin, terminal, detach_keys
        self.pressed = b""  # as much of the detach keys as was pressed
        if signals:
            for number in PASSED_ON:
                signal.signal(number, self._pass_signal)
        if terminal:
            signal.signal(signal.SIGWINCH, self._pass_size)
            self._pass_size()  # it may have changed since the process was started with it

    def watch(self) -> int:
        """Stay attached until the process ends. Returns: its exit code. Errors: Detached."""
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
                    if not self._pass_input():
                        poller.unregister(0)
                    continue
                message = self._receive()
                if message[:1] == b"x":
                    return int(message[1:])
                self._show(1 if message[:1] == b"o" else 2, message[1:])

    def _receive(self) -> bytes:
        try:
            message = self.sock.recv(BLOCK + 1)
        except ConnectionResetError:
            # The relay ended without having read all of ours. That is said first, and its last words come after it.
            message = self.sock.recv(BLOCK + 1)
        if not message:
            raise MinirunError(
                "the container's monitor was killed, and what it watched is killed for that", exit_code=137
            )
        return message

    def _show(self, fd: int, data: bytes) -> None:
        while data:
            data = data[os.write(fd, data) :]

    def _pass_input(self) -> bool:
        data = os.read(0, BLOCK)
        if self.terminal and data:
            data = self._without_detach_keys(data)
        if data:
            self._send(b"i" + data)
        elif not self.pressed:
            self._send(b"e")
            return False
        return True

    def _without_detach_keys(self, data: bytes) -> bytes:
        """Hold back keys that may begin the detach sequence until they are known to be something else."""
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
            self.stdin = False  # it has ended; the exit code is on its way

    def _pass_signal(self, number: int, _frame: object) -> None:
        self._send(b"s" + bytes([number]))

    def _pass_size(self, *_: object) -> None:
        size = window_size()
        if size:
            self._send(b"w" + pty.pack_size(*size))


class Attachment:
    """How a command stays with a container: `.stdin`, `.stdout`, `.stderr` (bool), which streams it passes on;
    `.detach_keys` (Docker's notation, "" for ctrl-p,ctrl-q); `.signals` (bool), whether it passes its signals on."""

    __slots__ = ("detach_keys", "signals", "stderr", "stdin", "stdout")

    def __init__(
        self, *, stdin: bool, stdout: bool = True, stderr: bool = True, detach_keys: str = "", signals: bool = True
    ) -> None:
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.detach_keys, self.signals = b"", signals
        if detach_keys:
            self.detach_keys = parse_keys(detach_keys)

    @property
    def flags(self) -> int:
        """The streams as the relay's bits (`protocol.WANTS_*`)."""
        return WANTS_STDIN * self.stdin | WANTS_STDOUT * self.stdout | WANTS_STDERR * self.stderr

    def watcher(self, sock: _socket.socket, container: Container) -> Watcher:
        """Who passes the streams on, over a socket on which the container's monitor listens or will listen."""
        return Watcher(
            sock,
            stdin=self.stdin,
            terminal=container.record["Config"]["Tty"],
            detach_keys=self.detach_keys or DETACH_KEYS,
            signals=self.signals,
        )


def window_size() -> tuple[int, int] | None:
    """Rows and columns of our window; None when none of our standard streams is a terminal."""
    for fd in (0, 1, 2):
        try:
            return pty.size(fd)
        except OSError:
            continue
    return None
