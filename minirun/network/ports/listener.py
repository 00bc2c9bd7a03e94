"""The bound socket of a published port: while it is open no other program of the host gets the port."""

from __future__ import annotations

import errno

from minirun.errors import EngineError
from minirun.light import TYPE_CHECKING, os

if TYPE_CHECKING:
    import _socket

_IPPROTO_SCTP = 132
#: As many connections may wait for accept(2) as the kernel allows (net.core.somaxconn cuts it down).
_BACKLOG = 65535


class Listener:
    """A socket bound to a published port: `.fd`; `.proto`; `.address`, `.port` of the host; `.target`, (address, port)
    in the container; `.served` (bool), whether the userland proxy serves it, or it only keeps the port in use."""

    __slots__ = ("_socket", "address", "fd", "port", "proto", "served", "target")

    def __init__(self, fd: int, mapping: dict) -> None:
        self.fd = fd
        self._socket: _socket.socket | None = None
        self.proto, self.address, self.port = mapping["Proto"], mapping["HostIP"], mapping["HostPort"]
        self.target = (mapping["ContainerIP"], mapping["ContainerPort"])
        self.served = not mapping["Hairpin"]

    def key(self) -> tuple[str, str, int]:
        """The port of the host, as in `portmapper.key`."""
        return self.proto, self.address, self.port

    def socket(self) -> _socket.socket:
        """The socket as a Python object."""
        if self._socket is None:
            from minirun.light import socket  # the idle shim need not have it loaded

            self._socket = socket.socket(fileno=self.fd)
        return self._socket

    def close(self) -> None:
        """Close the socket, which frees the port."""
        if self._socket is None:
            os.close(self.fd)
        else:
            self._socket.close()


def bind(mapping: dict) -> _socket.socket:
    """A non-blocking socket that is bound to a mapping's port of the host (see `portmapper`) and listens.

    Errors: EngineError with Docker's text, which is that of Go's package net.
    """
    from minirun.light import socket as _socket  # the idle shim need not have it loaded

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
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)  # also while old connections are in TIME_WAIT
        sock.bind((address, port))
        if proto != "udp":
            sock.listen(_BACKLOG)
    except OSError as reason:
        prefix = "" if mapping["Hairpin"] else "Error starting userland proxy: "
        raise EngineError(prefix + _error_text(proto, address, port, reason)) from None
    return sock


def _error_text(proto: str, address: str, port: int, reason: OSError) -> str:
    text = os.strerror(reason.errno or 0).lower()
    if reason.errno == errno.EPROTONOSUPPORT:
        return text
    version, where = (6, f"[{address}]") if ":" in address else (4, address)
    return f"listen {proto}{version} {where}:{port}: bind: {text}"
