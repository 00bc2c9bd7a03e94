"""What a request that was not answered is called: in the words of Go's HTTP client, as Docker hands them on."""

from __future__ import annotations

import errno
import os
import ssl

import urllib3

from minirun.errors import EngineError
from minirun.image.addresses import origin


class Unreachable(EngineError):
    """Nobody answered. `.passing` (bool), whether it may be better in a moment."""

    def __init__(self, message: str, *, passing: bool) -> None:
        super().__init__(message)
        self.passing = passing


def unreachable(method: str, url: str, reason: Exception) -> Unreachable:
    """What went wrong, in Go's words: `Get "URL": dial tcp HOST:PORT: connect: connection refused`."""
    _, host, port = origin(url)
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    cause: BaseException | None = reason
    number = None
    while cause is not None and number is None:  # urllib3 wraps what the kernel said
        number = cause.errno if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) else None
        deeper = cause.__cause__ or cause.__context__
        cause = next((word for word in cause.args if isinstance(word, BaseException)), None) or deeper
    passing = True
    if isinstance(reason, urllib3.exceptions.NameResolutionError):
        text, passing = f"dial tcp: lookup {host}: no such host", False
    elif isinstance(reason, urllib3.exceptions.SSLError):
        text, passing = f"tls: {reason.args[0] if reason.args else reason}", False
        if "WRONG_VERSION_NUMBER" in str(reason) or "record layer" in str(reason):
            text = "http: server gave HTTP response to HTTPS client"
        elif "CERTIFICATE_VERIFY_FAILED" in str(reason):
            text = f"x509: certificate of {host} cannot be verified"
    elif isinstance(reason, urllib3.exceptions.ProxyError):
        text = f"proxyconnect tcp: {reason.args[-1] if reason.args else reason}"
    elif number and number != errno.ETIMEDOUT:
        text = f"dial tcp {where}: connect: {os.strerror(number).lower()}"
        passing = number not in (errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH)
    elif isinstance(reason, urllib3.exceptions.TimeoutError):
        text, passing = f"dial tcp {where}: i/o timeout", False
    else:
        text = "EOF" if isinstance(reason, urllib3.exceptions.ProtocolError) else str(reason)
    return Unreachable(f'{method.title()} "{url}": {text}', passing=passing)
