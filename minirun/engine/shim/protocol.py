"""What a relay and a watcher say to each other (unix(7), SOCK_SEQPACKET: each message arrives whole).

By a message's first byte:

    client → relay    h flags      what this client wants to see (first message of one that connected by itself)
                      i bytes      standard input            e          its end
                      w rows cols  size of the window        s number   a signal for the process
                      n            what is plugged into the container has changed
    relay → client    o bytes      standard output           r bytes    standard error
                      n text       the answer to n: "", or what went wrong
                      x code       it has ended; the last message
"""

from __future__ import annotations

import posix as os  # os without its Python half: a monitor at rest has this module

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

#: What a client wants, in the message "h".
WANTS_STDIN, WANTS_STDOUT, WANTS_STDERR = 1, 2, 4
#: The most bytes of a stream in one message.
BLOCK = 32768


def connect(directory: str, wants: int) -> _socket.socket:
    """Attach to the relay that listens in `directory`. Errors: OSError when nobody does.

    The socket is reached through an open descriptor of its directory: a socket's path may have 107 bytes (unix(7)), and
    a container's directory has most of them.
    """
    import _socket  # a monitor at rest neither connects nor listens anew

    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        sock.connect(f"/proc/self/fd/{fd}/attach.sock")
    finally:
        os.close(fd)
    sock.send(b"h" + bytes([wants]))
    return sock


def listen(directory: str) -> int:
    """Listen in `directory` for watchers. Returns: the listening socket's descriptor."""
    import _socket  # a monitor at rest neither connects nor listens anew

    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        sock.bind(f"/proc/self/fd/{fd}/attach.sock")
        sock.listen(16)
    finally:
        os.close(fd)
    return sock.detach()
