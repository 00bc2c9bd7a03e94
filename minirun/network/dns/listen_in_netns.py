"""Why a server at 127.0.0.11:53 disturbs nobody in the container: it is not there.

Port 53 stays free for whoever wants it. The name server listens on two ports that happened to be free, and rules in
the container's own namespace send there what is meant for 127.0.0.11:53 (DNAT), and let the answers look as if they
came from it (SNAT): Docker's rules, with DOCKER renamed to MINIRUN.
"""

from __future__ import annotations

import _socket

from minirun.errors import KernelError
from minirun.kernel import namespaces, process
from minirun.kernel.syscalls import CLONE_NEWNET
from minirun.trace import step

ADDRESS, PORT = "127.0.0.11", 53
#: Waiting to be accepted: as many as the kernel allows (net.core.somaxconn), as Go's programs have it.
BACKLOG = 65535
#: Bytes of datagrams that may wait for us; the kernel's default takes some 270 questions.
BUFFER = 1 << 20
_FLAGS = _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
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


def open_sockets(netns: str) -> tuple[_socket.socket, _socket.socket]:
    """The server's sockets in a container's network namespace, with the rules that lead there.

    Arguments: netns (str), path of the namespace. Returns: one for datagrams, one for connections.
    Errors: KernelError; MinirunError when iptables complains.
    """
    with step("listen for questions about names"), namespaces.Opened(netns) as namespace:
        datagrams, connections = _open(namespace, [_socket.SOCK_DGRAM, _socket.SOCK_STREAM])
        for sock in (datagrams, connections):
            sock.bind((ADDRESS, 0))
        datagrams.setsockopt(_socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER)
        connections.listen(BACKLOG)
        rules = _RULES.format(tcp=connections.getsockname()[1], udp=datagrams.getsockname()[1])
        process.run(["iptables-restore", "--noflush", "--wait"], stdin=rules, netns=namespace)
    return datagrams, connections


def sockets_in(netns: str, kind: int, count: int) -> list[_socket.socket]:
    """So many (int) IPv4 sockets of a kind (int, SOCK_*) in a network namespace. Errors: OSError."""
    try:
        with namespaces.Opened(netns) as namespace:
            return _open(namespace, [kind] * count)
    except KernelError as error:  # there is no such namespace any more, or too much is open
        raise OSError(error.errno, str(error)) from None


def _open(namespace: namespaces.Opened, kinds: list[int]) -> list[_socket.socket]:
    with namespaces.inside(namespace, CLONE_NEWNET):
        return [_socket.socket(_socket.AF_INET, kind | _FLAGS) for kind in kinds]
