"""The HTTP client for registries: redirects, retries, proxies and TLS.

Redirects are followed here and not by urllib3, because the header Authorization must not go along: a token is for the
host that asked for it, and blobs are often on another host, with a signed URL. Transient failures (a broken connection,
429, 5xx) are retried after a pause that doubles each time, or that the registry names in `Retry-After`.
"""

from __future__ import annotations

import os
import time
from email.utils import parsedate_to_datetime
from urllib.parse import unquote, urlsplit

import urllib3

from minirun import trace
from minirun.errors import EngineError
from minirun.image.registry import tls
from minirun.image.registry.http_errors import Unreachable, unreachable
from minirun.image.registry.urls import origin, proxy_for, resolve_location
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: The number of attempts, the first pause and the longest pause (seconds).
ATTEMPTS, PAUSE, MAX_PAUSE = 5, 0.25, 30.0
MAX_REDIRECTS = 10
#: The redirects, and those that keep the method and the body (RFC 9110, section 15.4).
REDIRECT_STATUS, REDIRECT_SAME_METHOD = (301, 302, 303, 307, 308), (307, 308)
#: The most bytes of an unneeded body that are read in order to reuse the connection.
MAX_DRAIN = 64 * 1024
#: Seconds without any data before connect(2), or a read, has failed.
TIMEOUT = urllib3.Timeout(connect=10, read=60)
#: Options of the resolver (resolv.conf(5)): four seconds for an unreachable name server; by default it is ten.
RES_OPTIONS = "timeout:2 attempts:2"
#: Statuses of a transient failure, which is retried.
TRANSIENT = frozenset((408, 429, 500, 502, 503, 504))


class HTTPClient:
    """Makes the requests of one command, over a pool of connections for each host.

    Arguments: insecure (list of str), hosts or networks whose certificates are not verified; attempts (int), for each
    request; pause, called with seconds to wait (tests replace it).
    """

    def __init__(
        self, insecure: list[str], attempts: int = ATTEMPTS, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self.insecure, self.attempts, self.pause = insecure, attempts, pause
        os.environ.setdefault("RES_OPTIONS", RES_OPTIONS)  # read at the first lookup
        self._pools: dict[tuple, urllib3.PoolManager] = {}

    def request(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        body: Callable[[], Any] | None = None,
        *,
        no_redirects: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        """Make a request, with redirects and retries.

        Arguments: body, called for each attempt, returns the body (bytes or a file); no_redirects (bool), for a body
        with a secret, which is for this host only.
        Returns: the response, its body unread; the caller releases it. Errors: Unreachable; EngineError for a redirect
        to a forbidden URL.
        """
        make = self._once if no_redirects else self.follow
        return self.retry(lambda: make(method, url, headers or {}, body))

    def retry(self, make_request: Callable[[], urllib3.BaseHTTPResponse]) -> urllib3.BaseHTTPResponse:
        """Call a function that makes a request until it does not fail transiently. Errors: as for `request`."""
        wait = PAUSE
        for attempt in range(self.attempts):
            last = attempt == self.attempts - 1
            try:
                response = make_request()
            except Unreachable as error:
                if last or not error.transient:
                    raise
            else:
                if response.status not in TRANSIENT or last:
                    return response
                retry_after = _retry_after(response)
                if retry_after > MAX_PAUSE:
                    return response  # too long to wait: the caller reports it
                wait = max(wait, retry_after)
                release(response)
            self.pause(wait)
            wait = min(wait * 2, MAX_PAUSE)
        raise AssertionError("unreachable")

    def follow(
        self, method: str, url: str, headers: dict[str, str], body: Callable[[], Any] | None
    ) -> urllib3.BaseHTTPResponse:
        """Make a request with redirects, but without retries. Arguments, result, errors: as for `request`."""
        first_origin = origin(url)
        for _ in range(MAX_REDIRECTS):
            response = self._once(method, url, headers, body)
            target = response.headers.get("Location")
            if (
                response.status not in (REDIRECT_SAME_METHOD if body or method == "POST" else REDIRECT_STATUS)
                or not target
            ):
                if origin(url) != first_origin:
                    response.headers.discard("WWW-Authenticate")  # another host must not get our password
                return response
            release(response)
            before, url = url, resolve_location(url, target)
            if origin(url) != origin(before):
                headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        raise EngineError(f'{method.title()} "{url}": stopped after {MAX_REDIRECTS} redirects')

    def _once(
        self, method: str, url: str, headers: dict[str, str], body: Callable[[], Any] | None
    ) -> urllib3.BaseHTTPResponse:
        data: Any = body() if body else None
        trace.tell(method, as_curl, method, url, headers, bool(body))
        try:
            return self._pool(url).request(
                method,
                url,
                headers={"User-Agent": "minirun", **headers},
                body=data,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=TIMEOUT,
            )
        except urllib3.exceptions.HTTPError as reason:
            raise unreachable(method, url, reason) from None
        finally:
            if hasattr(data, "close"):
                data.close()

    def _pool(self, url: str) -> urllib3.PoolManager:
        """The connection pool of a host, with its proxy and its certificates."""
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        proxy_url = proxy_for(url)
        key = (proxy_url, host)
        if key not in self._pools:
            options: dict[str, Any] = {"maxsize": 4, "blocksize": 256 * 1024}
            if parts.scheme == "https":
                options["ssl_context"] = tls.context(host, tls.is_insecure(host, self.insecure))
            if proxy_url:
                proxy_user = urlsplit(proxy_url)
                if proxy_user.username:
                    options["proxy_headers"] = urllib3.make_headers(
                        proxy_basic_auth=f"{unquote(proxy_user.username)}:{unquote(proxy_user.password or '')}"
                    )
                self._pools[key] = urllib3.ProxyManager(proxy_url, **options)
            else:
                self._pools[key] = urllib3.PoolManager(**options)
        return self._pools[key]


def as_curl(method: str, url: str, headers: dict[str, str], has_body: bool = False) -> str:
    """The curl(1) command of a request, for `--explain`; the token is replaced by a shell variable."""
    words = {"GET": "curl -s", "HEAD": "curl -sI"}.get(method, f"curl -s -X {method}")
    for name, value in headers.items():
        if name == "Authorization":
            words += f' -H "Authorization: {value.partition(" ")[0]} $TOKEN"'
        elif name != "Content-Length":
            words += f" -H {trace.quoted(f'{name}: {value}')}"
    return f"{words}{' --data-binary @-' if has_body else ''} {trace.quoted(url)}"


def release(response: urllib3.BaseHTTPResponse) -> None:
    """Release the connection for reuse after reading the rest of the body; if that is long, close it instead."""
    try:
        if len(response.read(MAX_DRAIN, decode_content=False)) < MAX_DRAIN:
            response.release_conn()
            return
    except urllib3.exceptions.HTTPError:
        pass  # the connection cannot be reused
    response.close()


def _retry_after(response: urllib3.BaseHTTPResponse) -> float:
    """The header Retry-After in seconds (RFC 9110, section 10.2.3); 0 without one."""
    return seconds(response.headers.get("Retry-After") or "")


def seconds(word: str) -> float:
    """A value of Retry-After, a number or a date, in seconds from now; 0 for an invalid one."""
    if word.isascii() and word.isdigit():
        return float(word[:9])
    try:
        return max(0.0, parsedate_to_datetime(word).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
