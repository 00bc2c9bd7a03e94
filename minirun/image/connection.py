"""HTTP as registries speak it: which host is asked, how often, and what a failure is called.

A request goes to a *base*, "https://registry.example". Redirects are followed here and not by urllib3, because the one
thing that counts about them is what does *not* go along: a token is for the host that it was given for, and a blob
often lies on another one, whose address already holds the permission. What fails for a moment (a connection that
breaks, 429, 5xx) is tried again, after a pause that doubles, or that the registry itself has named in `Retry-After`.
"""

from __future__ import annotations

import errno
import os
import ssl
import time
from urllib.parse import urljoin, urlsplit

import urllib3

from minirun.errors import EngineError, MinirunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: How often a request is made before it has failed, the first pause in seconds, and the longest that one waits.
ATTEMPTS, PAUSE, LONGEST_PAUSE = 5, 0.25, 30.0
REDIRECTS = 10
#: Seconds without a sign of life before a connection, or a read, has failed.
PATIENCE = urllib3.Timeout(connect=10, read=60)
#: Where an administrator puts the authorities of his own registries: HOST:PORT/*.crt in one of these (dockerd's name).
CERTIFICATES = ("/etc/minirun/certs.d", "/etc/docker/certs.d")
#: For a moment: worth another attempt.
PASSING = frozenset((408, 429, 500, 502, 503, 504))


class Unreachable(EngineError):
    """Nobody answered. The words are those of Go's HTTP client, as Docker hands them on."""


class Connection:
    """All requests of one command. Arguments: insecure (list of str), hosts or networks whose certificates nobody
    checks; pause, called with seconds to let pass (a test has no time)."""

    def __init__(self, insecure: list[str], pause: Callable[[float], None] = time.sleep) -> None:
        self.insecure, self.pause = insecure, pause
        self._pools: dict[tuple, urllib3.PoolManager] = {}

    def request(self, method: str, url: str, headers: dict[str, str] | None = None,
                body: Callable[[], Any] | None = None, attempts: int = ATTEMPTS) -> urllib3.BaseHTTPResponse:
        """Make a request, again if it fails for a moment.

        Arguments: body, gives what is sent, anew for each attempt. Returns: the answer, its body unread; the caller
        releases it. Errors: Unreachable; EngineError for a redirect that leads astray.
        """
        wait = PAUSE
        for attempt in range(attempts):
            last = attempt == attempts - 1
            try:
                answer = self._follow(method, url, headers or {}, body)
            except Unreachable as error:
                if last or not error.passing:  # type: ignore[attr-defined]
                    raise
            else:
                if answer.status not in PASSING or last:
                    return answer
                asked = _retry_after(answer)
                if asked > LONGEST_PAUSE:
                    return answer  # nobody waits for an hour: the caller says until when
                wait = max(wait, asked)
                answer.drain_conn()
                answer.release_conn()
            self.pause(wait)
            wait = min(wait * 2, LONGEST_PAUSE)
        raise AssertionError("unreachable")

    def _follow(self, method: str, url: str, headers: dict[str, str],
                body: Callable[[], Any] | None) -> urllib3.BaseHTTPResponse:
        for _ in range(REDIRECTS):
            answer = self._once(method, url, headers, body)
            target = answer.headers.get("Location")
            if answer.status not in (301, 302, 303, 307, 308) or not target or method not in ("GET", "HEAD"):
                return answer
            answer.drain_conn()
            answer.release_conn()
            before, url = url, urljoin(url, target)
            check_url(url, before)
            if origin(url) != origin(before):
                headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        raise EngineError(f'{method.title()} "{url}": stopped after {REDIRECTS} redirects')

    def _once(self, method: str, url: str, headers: dict[str, str],
              body: Callable[[], Any] | None) -> urllib3.BaseHTTPResponse:
        data: Any = body() if body else None
        try:
            return self._pool(url).request(method, url, headers={"User-Agent": "minirun", **headers}, body=data,
                                           redirect=False, retries=False, preload_content=False,
                                           decode_content=False, timeout=PATIENCE)
        except urllib3.exceptions.HTTPError as reason:
            raise unreachable(method, url, reason) from None
        finally:
            if hasattr(data, "close"):
                data.close()

    def _pool(self, url: str) -> urllib3.PoolManager:
        """The pool for a host: with its proxy and its authorities."""
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        proxy = _proxy(parts.scheme, parts.hostname or "", host)
        key = (proxy, host)
        if key not in self._pools:
            options: dict[str, Any] = {"maxsize": 4}
            if parts.scheme == "https":
                options["ssl_context"] = _context(host, is_insecure(host, self.insecure))
            if proxy:
                user = urlsplit(proxy)
                if user.username:
                    options["proxy_headers"] = urllib3.make_headers(
                        proxy_basic_auth=f"{user.username}:{user.password or ''}")
                self._pools[key] = urllib3.ProxyManager(proxy, **options)
            else:
                self._pools[key] = urllib3.PoolManager(**options)
        return self._pools[key]


def origin(url: str) -> tuple[str, str, int | None]:
    """Whom a URL asks: scheme, host and port."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def check_url(url: str, before: str) -> None:
    """Refuse an address that a registry sends us to, if it is no HTTP or less safe than where we come from."""
    try:
        scheme, host, _ = origin(url)
    except ValueError:
        scheme = host = ""
    if scheme not in ("http", "https") or not host or (scheme == "http" and urlsplit(before).scheme == "https"):
        raise EngineError(f'Get "{before}": refusing to go on to {url!r}')


def is_insecure(host: str, insecure: list[str]) -> bool:
    """Whether a host may be spoken to in plain text: the loopback network, and what the config file names.

    Arguments: host (str), "name:port"; insecure (list of str), "name", "name:port" or "10.0.0.0/8".
    """
    import ipaddress

    name = host.rpartition(":")[0].strip("[]") if ":" in host.rpartition("]")[2] else host.strip("[]")
    if name == "localhost" or host in insecure or name in insecure:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    networks = ["127.0.0.0/8", "::1/128", *(word for word in insecure if "/" in word)]
    return any(address in ipaddress.ip_network(network, strict=False) for network in networks)


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
    error = Unreachable(f'{method.title()} "{url}": {text}')
    error.passing = passing  # type: ignore[attr-defined]
    return error


def _context(host: str, insecure: bool) -> ssl.SSLContext:
    if insecure:
        # It need not be said at each request: whoever wrote the config file knows it, or it is this machine.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the 20 ms of the system's authorities
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context = ssl.create_default_context()
    for place in CERTIFICATES:
        try:
            names = sorted(os.listdir(f"{place}/{host}"))
        except OSError:
            continue
        for name in names:
            if name.endswith(".crt"):
                try:
                    context.load_verify_locations(f"{place}/{host}/{name}")
                except OSError as reason:  # which an SSLError is, too
                    raise MinirunError(f"{place}/{host}/{name}: {reason.strerror or reason}") from None
    return context


def _proxy(scheme: str, name: str, host: str) -> str:
    """The proxy that the environment names for a host ("" for none); never for the loopback network, as in Go."""
    if not any(variable.lower().endswith("_proxy") for variable in os.environ):
        return ""
    from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]  # 20 ms

    proxies = getproxies_environment()
    if scheme not in proxies or name == "localhost" or name.startswith("127.") or name == "::1":
        return ""
    if proxy_bypass_environment(host, proxies):
        return ""
    proxy = proxies[scheme]
    return proxy if "://" in proxy else f"http://{proxy}"


def _retry_after(answer: urllib3.BaseHTTPResponse) -> float:
    """Seconds that a registry wants us to wait (RFC 9110, section 10.2.3): a number, or a date."""
    return seconds(answer.headers.get("Retry-After") or "")


def seconds(word: str) -> float:
    """What `Retry-After` says, in seconds from now; 0 for what makes no sense."""
    if word.isascii() and word.isdigit():
        return float(word[:9])
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(word).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0
