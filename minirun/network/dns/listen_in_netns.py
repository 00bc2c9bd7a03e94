"""The sockets of the embedded DNS server, opened in the container's network namespace, with the rules that lead there.

The server does not occupy port 53, which stays free for the container's own programs. It listens on two ephemeral
ports, and NAT rules in the container's namespace redirect what is sent to 127.0.0.11:53 (DNAT) and make the responses
look as if they came from there (SNAT): Docker's rules, with DOCKER renamed to MINIRUN.
"""

from __future__ import annotations

from minirun.errors import KernelError
from minirun.kernel import namespaces, process
from minirun.kernel.syscalls import CLONE_NEWNET
from minirun.light import socket
from minirun.trace import step

ADDRESS, PORT = "127.0.0.11", 53
#: Connections that may wait for accept(2): as many as the kernel allows (net.core.somaxconn), as in Go.
BACKLOG = 65535
#: The receive buffer in bytes; the kernel's default holds some 270 queries.
RECEIVE_BUFFER = 1 << 20
_FLAGS = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
_RULES = """\
*nat
:MINIRUN_OUTPUT - [0:0]
:MINIRUN_POSTROUTING - [0:0]
-A OUTPUT -d 127.0.0.11/32 -j MINIRUN_OUTPUT
-A POSTROUTING -d 127.0.0.11/32 -j MINIRUN_POSTROUTING
-A MINIRUN_OUTPUT -d 127.0.0.11/32 -p tcp -m tcp --dport 53 -j DNAT --to-destination 127.0.0.11:{tcp}
-A MINIRUN_OUTPUT -d 127.0.0.11/32 -p udp -m udp --dport 53 -j DNAT --to-destination 127.0.0.11:{udp}
-A MINIRUN_POSTROUTING -s 127.0.0.11/32 -p tcp -m tcp --sport {tcp} -j SNAT --to-source :53
-A MINIRUN_POSTROUTING -s 127.0.0.11/32 -p udp -m udp --sport {udp} -j SNAT --to-source :53
COMMIT
"""


def open_sockets(netns: str) -> tuple[socket.socket, socket.socket]:
    """Open the server's sockets in a container's network namespace, and set the rules that lead there.

    Arguments: netns (str), path of the namespace. Returns: the UDP socket, the listening TCP socket.
    Errors: KernelError; MinirunError with iptables' message.
    """
    with step("listen for questions about names"), namespaces.Namespace(netns) as namespace:
        datagrams, connections = _open(namespace, [socket.SOCK_DGRAM, socket.SOCK_STREAM])
        for sock in (datagrams, connections):
            sock.bind((ADDRESS, 0))
        datagrams.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
        connections.listen(BACKLOG)
        rules = _RULES.format(tcp=connections.getsockname()[1], udp=datagrams.getsockname()[1])
        process.run(["iptables-restore", "--noflush", "--wait"], stdin=rules, netns=namespace)
    return datagrams, connections


def sockets_in(netns: str, kind: int, count: int) -> list[socket.socket]:
    """Open `count` IPv4 sockets of a kind (int, SOCK_*) in a network namespace. Errors: OSError."""
    try:
        with namespaces.Namespace(netns) as namespace:
            return _open(namespace, [kind] * count)
    except KernelError as error:  # the namespace is gone, or too many files are open
        raise OSError(error.errno, str(error)) from None


def _open(namespace: namespaces.Namespace, kinds: list[int]) -> list[socket.socket]:
    with namespaces.inside(namespace, CLONE_NEWNET):
        return [socket.socket(socket.AF_INET, kind | _FLAGS) for kind in kinds]
