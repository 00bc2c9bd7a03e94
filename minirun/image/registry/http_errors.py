"""What a request that was not answered is called: in the words of Go's HTTP client, as Docker hands them on."""

from __future__ import annotations

import errno
import os
import socket
import ssl

import urllib3

from minirun.errors import EngineError
from minirun.image.registry.urls import origin, proxy
from minirun.image.sanitize import shown
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What OpenSSL has against a certificate (X509_V_ERR_...).
NOT_YET_VALID, EXPIRED, HOSTNAME_MISMATCH, ADDRESS_MISMATCH = 9, 10, 62, 64


class Unreachable(EngineError):
    """Nobody answered. `.passing` (bool), whether it may be better in a moment."""

    def __init__(self, message: str, *, passing: bool) -> None:
        super().__init__(message)
        self.passing = passing


def unreachable(method: str, url: str, reason: Exception) -> Unreachable:
    """What went wrong: `Get "URL": dial tcp HOST:PORT: connect: connection refused`.

    Arguments: reason, an exception of urllib3's.
    """
    if isinstance(reason, urllib3.exceptions.ProxyError):
        text, passing = _of_the_proxy(url, reason), False
    elif isinstance(reason, urllib3.exceptions.SSLError):
        text, passing = _of_tls(origin(url)[1], reason), False
    else:
        text, passing = _of_the_line(url, reason)
    return Unreachable(f'{method.title()} "{url}": {text}', passing=passing)


def _of_the_line(url: str, reason: BaseException) -> tuple[str, bool]:
    """A host that is not there, or does not answer; and whether it may be better in a moment."""
    _, host, port = origin(url)
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(reason, urllib3.exceptions.NameResolutionError):
        return f"dial tcp: lookup {host}{_name_server()}: {_of_the_name(reason)}", False
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
        passing = number not in (errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH)
        return f"dial tcp {_dialled(host, where, port)}: connect: {os.strerror(number).lower()}", passing
    if isinstance(reason, urllib3.exceptions.ReadTimeoutError):
        return f"read tcp {where}: i/o timeout", False
    if number or isinstance(reason, urllib3.exceptions.TimeoutError):
        return f"dial tcp {where}: i/o timeout", False
    return "EOF" if isinstance(reason, urllib3.exceptions.ProtocolError) else shown(reason), True


def _dialled(host: str, where: str, port: int | None) -> str:
    """The address behind a name that somebody was called by; Go names that."""
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]
    except (OSError, UnicodeError):
        return where
    return f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"


def _causes(reason: BaseException | None) -> Iterator[BaseException]:
    """What an exception was raised from, or wraps: urllib3 wraps what the kernel said."""
    while reason is not None:
        yield reason
        deeper = reason.__cause__ or reason.__context__
        reason = next((word for word in reason.args if isinstance(word, BaseException)), None) or deeper


def _of_the_name(reason: BaseException) -> str:
    for cause in _causes(reason):
        if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_AGAIN:
            return "Temporary failure in name resolution"  # no answer, or none that helps
    return "no such host"


def _name_server() -> str:
    """Who was asked, as Go says it: " on 10.0.0.2:53"; "" if there is none."""
    try:
        with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
            words = [line.split() for line in file]
    except OSError:
        return ""
    return next((f" on {line[1]}:53" for line in words if line[:1] == ["nameserver"] and len(line) > 1), "")


def _of_tls(host: str, reason: urllib3.exceptions.SSLError) -> str:
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


def _of_the_proxy(url: str, reason: urllib3.exceptions.ProxyError) -> str:
    refused = str(reason).partition("Tunnel connection failed: ")[2]
    if refused:
        return refused.partition(" ")[2].rstrip("')")  # without the number, as Go says it: the words of the status
    return f"proxyconnect tcp: {_of_the_line(proxy(url), reason.original_error)[0]}"
