"""The bound socket of a published port: while it is open no other program of the host gets the port."""

from __future__ import annotations

import errno
import posix as os  # os without its Python half: this stays in the re-exec'ed shim

from minirun.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

_IPPROTO_SCTP = 132
#: As many may wait to be let in as the kernel allows (net.core.somaxconn cuts it down).
_BACKLOG = 65535


class Listener:
    """A socket bound to a published port. `.fd`; `.proto`; `.address`, `.port` of the host; `.target`, (address, port)
    in the container; `.served` (bool), whether somebody answers, or the port is only kept from others."""

    __slots__ = ("_socket", "address", "fd", "port", "proto", "served", "target")

    def __init__(self, fd: int, mapping: dict) -> None:
        self.fd = fd
        self._socket: _socket.socket | None = None
        self.proto, self.address, self.port = mapping["Proto"], mapping["HostIP"], mapping["HostPort"]
        self.target = (mapping["ContainerIP"], mapping["ContainerPort"])
        self.served = not mapping["Hairpin"]

    def key(self) -> tuple[str, str, int]:
        """Which port of the host it is."""
        return self.proto, self.address, self.port

    def socket(self) -> _socket.socket:
        """The socket as an object."""
        if self._socket is None:
            import _socket  # who waits for years need not have it loaded

            self._socket = _socket.socket(fileno=self.fd)
        return self._socket

    def close(self) -> None:
        """Let the port go."""
        if self._socket is None:
            os.close(self.fd)
        else:
            self._socket.close()


def bind(mapping: dict) -> _socket.socket:
    """A socket, bound to a mapping's port of the host and listening (see `ports`). It does not block.

    Errors: EngineError in the words of Docker, which are those of Go's package net.
    """
    import _socket  # who only watches has no use for it

    proto, address, port = mapping["Proto"], mapping["HostIP"], mapping["HostPort"]
    family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
    kind = _socket.SOCK_DGRAM if proto == "udp" else _socket.SOCK_STREAM
    try:
        sock = _socket.socket(
            family, kind | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK, _IPPROTO_SCTP if proto == "sctp" else 0
        )
        if family == _socket.AF_INET6:
            sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)  # 0.0.0.0 has a socket of its own
        if proto != "udp":
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)  # old connections do not bar the port
        sock.bind((address, port))
        if proto != "udp":
            sock.listen(_BACKLOG)
    except OSError as reason:
        start = "" if mapping["Hairpin"] else "Error starting userland proxy: "
        raise EngineError(start + _complaint(proto, address, port, reason)) from None
    return sock


def _complaint(proto: str, address: str, port: int, reason: OSError) -> str:
    why = os.strerror(reason.errno or 0).lower()
    if reason.errno == errno.EPROTONOSUPPORT:
        return why
    version, where = (6, f"[{address}]") if ":" in address else (4, address)
    return f"listen {proto}{version} {where}:{port}: bind: {why}"
