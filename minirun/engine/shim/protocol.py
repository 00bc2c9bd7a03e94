"""The attach protocol between a shim and its clients (unix(7), SOCK_SEQPACKET: one message a packet).

The socket is attach.sock in the container's run directory (conmon has a socket of this name for the same purpose). The
first byte of a message is its type:

    client → shim    h flags      which streams to attach (the first message of a client that has connected)
                     i bytes      standard input            e          end of standard input
                     w rows cols  the terminal's new size   s number   a signal for the container's first process
                     n            the container was connected with a network or disconnected from one
    shim → client    o bytes      standard output           r bytes    standard error
                     n text       the answer to n: "", or an error message
                     x code       the exit code; the last message
"""

from __future__ import annotations

from minirun.light import TYPE_CHECKING, os

if TYPE_CHECKING:
    import _socket

#: Message types.
ATTACH, STDIN, STDIN_EOF, RESIZE, SIGNAL, NETWORKS = b"h", b"i", b"e", b"w", b"s", b"n"
STDOUT, STDERR, EXIT = b"o", b"r", b"x"
#: The flags of ATTACH.
ATTACH_STDIN, ATTACH_STDOUT, ATTACH_STDERR = 1, 2, 4
#: The most bytes of a stream in one message.
BLOCK = 32768


def connect(directory: str, flags: int) -> _socket.socket:
    """Attach to a container. Arguments: directory, its run directory; flags, ATTACH_*. Errors: OSError without a shim.

    The socket is reached through a descriptor of its directory: a socket's path may have 107 bytes (unix(7)), and a run
    directory takes most of them.
    """
    import _socket  # the idle shim neither connects nor binds

    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        sock.connect(f"/proc/self/fd/{fd}/attach.sock")
    finally:
        os.close(fd)
    sock.send(ATTACH + bytes([flags]))
    return sock


def listen(directory: str) -> int:
    """Listen for clients in a run directory. Returns: the descriptor of the listening socket."""
    import _socket  # the idle shim neither connects nor binds

    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        sock.bind(f"/proc/self/fd/{fd}/attach.sock")
        sock.listen(16)
    finally:
        os.close(fd)
    return sock.detach()
