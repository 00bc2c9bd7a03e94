"""A message channel between a parent and its child over socketpair(2), with JSON messages; errors cross it too."""

from __future__ import annotations

from minirun import jsoncodec
from minirun.errors import MinirunError, from_data
from minirun.light import os, socket


class Channel:
    """One end of a channel between parent and child; messages are JSON objects (runc's sync pipe, sync.go).

    Arguments: fd (int), the socket; it is close-on-exec, so that a successful execve closes it.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @staticmethod
    def pair() -> tuple[Channel, Channel]:
        """Two connected ends, one for each process, which closes the other one's after the fork."""
        # SOCK_SEQPACKET keeps the borders of messages, as SOCK_STREAM does not, and reads as end of file when the other
        # process dies, as SOCK_DGRAM does not (unix(7)).
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        return Channel(ours.detach()), Channel(theirs.detach())

    def send(self, message: dict[str, object]) -> bool:
        """Send a message; False when the other end is closed."""
        try:
            os.write(self.fd, jsoncodec.dumps(message).encode("utf-8", "surrogateescape"))
        except (BrokenPipeError, ConnectionResetError):  # no SIGPIPE: Python ignores it
            return False
        return True

    def send_error(self, error: MinirunError) -> bool:
        """Send an error, which `receive` raises in the other process with its trail and hint."""
        return self.send({"error": error.to_data()})

    def receive(self) -> dict | None:
        """The next message, or None when the other end is closed. Errors: the one that was sent."""
        try:
            data = os.read(self.fd, 65536)
        except ConnectionResetError:  # it died with a message of ours unread
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
