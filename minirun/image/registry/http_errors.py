"""Errors of requests without a response, with the messages of Go's HTTP client, which Docker shows."""

from __future__ import annotations

import errno
import os
import socket
import ssl

import urllib3

from minirun.errors import EngineError
from minirun.image.registry.urls import origin, proxy_for
from minirun.image.sanitize import printable
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: OpenSSL's verification errors (X509_V_ERR_...).
NOT_YET_VALID, EXPIRED, HOSTNAME_MISMATCH, ADDRESS_MISMATCH = 9, 10, 62, 64


class Unreachable(EngineError):
    """No response to a request. Attribute: transient (bool), whether a retry may succeed."""

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.transient = transient


def unreachable(method: str, url: str, reason: Exception) -> Unreachable:
    """The error of a request: `Get "URL": dial tcp HOST:PORT: connect: connection refused`.

    Arguments: reason, an exception of urllib3.
    """
    if isinstance(reason, urllib3.exceptions.ProxyError):
        text, transient = _proxy_error(url, reason), False
    elif isinstance(reason, urllib3.exceptions.SSLError):
        text, transient = _tls_error(origin(url)[1], reason), False
    else:
        text, transient = _connection_error(url, reason)
    return Unreachable(f'{method.title()} "{url}": {text}', transient=transient)


def _connection_error(url: str, reason: BaseException) -> tuple[str, bool]:
    """The message for a failed lookup or connection, and whether a retry may succeed."""
    _, host, port = origin(url)
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(reason, urllib3.exceptions.NameResolutionError):
        return f"dial tcp: lookup {host}{_name_server()}: {_lookup_error(reason)}", False
    causes = list(_causes(reason))
    number = next(
        (
            cause.errno
            for cause in causes
            if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and cause.errno
        ),
        None,
    )
    if number and number != errno.ETIMEDOUT:
        transient = number not in (errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH)
        return f"dial tcp {_dialled(host, where, port)}: connect: {os.strerror(number).lower()}", transient
    if isinstance(reason, urllib3.exceptions.ReadTimeoutError):
        return f"read tcp {where}: i/o timeout", False
    if number or isinstance(reason, urllib3.exceptions.TimeoutError):
        return f"dial tcp {where}: i/o timeout", False
    return "EOF" if isinstance(reason, urllib3.exceptions.ProtocolError) else printable(reason), True


def _dialled(host: str, where: str, port: int | None) -> str:
    """The address that the host was resolved to, which is in Go's message."""
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]
    except (OSError, UnicodeError):
        return where
    return f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"


def _causes(reason: BaseException | None) -> Iterator[BaseException]:
    """An exception with its causes: urllib3 wraps the OSError."""
    while reason is not None:
        yield reason
        deeper = reason.__cause__ or reason.__context__
        reason = next((word for word in reason.args if isinstance(word, BaseException)), None) or deeper


def _lookup_error(reason: BaseException) -> str:
    for cause in _causes(reason):
        if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_AGAIN:
            return "Temporary failure in name resolution"  # EAI_AGAIN: no response, or SERVFAIL
    return "no such host"


def _name_server() -> str:
    """The first name server, as in Go's message: " on 10.0.0.2:53"; "" if there is none."""
    try:
        with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
            words = [line.split() for line in file]
    except OSError:
        return ""
    return next((f" on {line[1]}:53" for line in words if line[:1] == ["nameserver"] and len(line) > 1), "")


def _tls_error(host: str, reason: urllib3.exceptions.SSLError) -> str:
    text = str(reason)
    if "WRONG_VERSION_NUMBER" in text or "record layer" in text:
        return "http: server gave HTTP response to HTTPS client"
    if "_ALERT_" in text:
        return f"remote error: tls: {text.partition(' alert ')[2].partition(' (')[0]}"
    for cause in _causes(reason):
        if isinstance(cause, ssl.SSLCertVerificationError):
            if cause.verify_code in (HOSTNAME_MISMATCH, ADDRESS_MISMATCH):
                return f"x509: certificate is not valid for {host}"
            if cause.verify_code in (NOT_YET_VALID, EXPIRED):
                return "x509: certificate has expired or is not yet valid"
    return "x509: certificate signed by unknown authority" if "CERTIFICATE_VERIFY_FAILED" in text else f"tls: {text}"


def _proxy_error(url: str, reason: urllib3.exceptions.ProxyError) -> str:
    refused = str(reason).partition("Tunnel connection failed: ")[2]
    if refused:
        return refused.partition(" ")[2].rstrip("')")  # the reason phrase without the status number, as in Go
    return f"proxyconnect tcp: {_connection_error(proxy_for(url), reason.original_error)[0]}"
