"""A message pipe between a parent and its child: what is said is JSON, and errors cross it whole (socketpair(2))."""

from __future__ import annotations

import os

from minirun import jsoncodec
from minirun.errors import MinirunError, from_data
from minirun.light import socket


class Channel:
    """One end of a message pipe between parent and child; messages are JSON objects.

    A SOCK_SEQPACKET pair keeps message borders, and its reader sees the end when the writer dies, however it dies.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @staticmethod
    def pair() -> tuple[Channel, Channel]:
        """Two connected ends: one for each process; each closes the other's."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        return Channel(ours.detach()), Channel(theirs.detach())

    def send(self, message: dict[str, object]) -> bool:
        """Send a message; False when nobody is left to hear it."""
        try:
            os.write(self.fd, jsoncodec.dumps(message).encode("utf-8", "surrogateescape"))
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def send_error(self, error: MinirunError) -> bool:
        """Send an error; `receive` raises it on the other side, trail and hint kept."""
        return self.send({"error": error.to_data()})

    def receive(self) -> dict | None:
        """The next message, or None when the other side is gone. Errors: the one that was sent."""
        try:
            data = os.read(self.fd, 65536)
        except ConnectionResetError:
            return None
        if not data:
            return None
        message = jsoncodec.loads(data.decode("utf-8", "surrogateescape"))
        if "error" in message:  # type: ignore[operator]
            raise from_data(message["error"])  # type: ignore[index]
        return message  # type: ignore[return-value]

    def close(self) -> None:
        """Close this end; fine when it is closed already."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
