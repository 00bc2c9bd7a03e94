"""HTTP as registries speak it: which host is asked, how often, and what a failure is called.

A request goes to a *base*, "https://registry.example". Redirects are followed here and not by urllib3, because the one
thing that counts about them is what does *not* go along: a token is for the host that it was given for, and a blob
often lies on another one, whose address already holds the permission. What fails for a moment (a connection that
breaks, 429, 5xx) is tried again, after a pause that doubles, or that the registry itself has named in `Retry-After`.
"""

from __future__ import annotations

import os
import time
from urllib.parse import unquote, urlsplit

import urllib3

from minirun import trace
from minirun.errors import EngineError
from minirun.image.registry import tls
from minirun.image.registry.http_errors import Unreachable, unreachable
from minirun.image.registry.urls import onward, origin, proxy
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: How often a request is made before it has failed, the first pause in seconds, and the longest that one waits.
ATTEMPTS, PAUSE, LONGEST_PAUSE = 5, 0.25, 30.0
REDIRECTS = 10
#: "It is elsewhere", and those of them that have the method and the body go along (RFC 9110, section 15.4).
REDIRECTED, KEPT = (301, 302, 303, 307, 308), (307, 308)
#: The most bytes of a body that are read although nobody wants them.
DRAINED = 64 * 1024
#: Seconds without a sign of life before a connection, or a read, has failed.
PATIENCE = urllib3.Timeout(connect=10, read=60)
#: How long the resolver waits for a name server, and how often it asks: four seconds, where its own habit is ten.
RESOLVER = "timeout:2 attempts:2"
#: For a moment: worth another attempt.
PASSING = frozenset((408, 429, 500, 502, 503, 504))


class Connection:
    """All requests of one command.

    Arguments: insecure (list of str), hosts or networks whose certificates nobody checks; attempts (int), how often a
    request is made at most; pause, called with seconds to let pass (a test has no time).
    """

    def __init__(
        self, insecure: list[str], attempts: int = ATTEMPTS, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self.insecure, self.attempts, self.pause = insecure, attempts, pause
        os.environ.setdefault("RES_OPTIONS", RESOLVER)  # read when the first name is looked up (resolv.conf(5))
        self._pools: dict[tuple, urllib3.PoolManager] = {}

    def request(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        body: Callable[[], Any] | None = None,
        *,
        secret: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        """Make a request, again if it fails for a moment.

        Arguments: body, gives what is sent, anew for each attempt; secret (bool), it goes to this host and no other.
        Returns: the answer, its body unread; the caller releases it. Errors: Unreachable; EngineError for a redirect
        that leads astray.
        """
        make = self._once if secret else self.follow
        return self.persist(lambda: make(method, url, headers or {}, body))

    def persist(self, act: Callable[[], urllib3.BaseHTTPResponse]) -> urllib3.BaseHTTPResponse:
        """Do what has an answer, again if it fails for a moment. Errors: as for `request`."""
        wait = PAUSE
        for attempt in range(self.attempts):
            last = attempt == self.attempts - 1
            try:
                answer = act()
            except Unreachable as error:
                if last or not error.passing:
                    raise
            else:
                if answer.status not in PASSING or last:
                    return answer
                asked = _retry_after(answer)
                if asked > LONGEST_PAUSE:
                    return answer  # nobody waits for an hour: the caller says until when
                wait = max(wait, asked)
                done(answer)
            self.pause(wait)
            wait = min(wait * 2, LONGEST_PAUSE)
        raise AssertionError("unreachable")

    def follow(
        self, method: str, url: str, headers: dict[str, str], body: Callable[[], Any] | None
    ) -> urllib3.BaseHTTPResponse:
        """Make a request once, wherever it leads. Arguments, result, errors: as for `request`."""
        home = origin(url)
        for _ in range(REDIRECTS):
            answer = self._once(method, url, headers, body)
            target = answer.headers.get("Location")
            if answer.status not in (KEPT if body or method == "POST" else REDIRECTED) or not target:
                if origin(url) != home:
                    answer.headers.discard("WWW-Authenticate")  # who asks for a password there gets none of ours
                return answer
            done(answer)
            before, url = url, onward(url, target)
            if origin(url) != origin(before):
                headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        raise EngineError(f'{method.title()} "{url}": stopped after {REDIRECTS} redirects')

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
                timeout=PATIENCE,
            )
        except urllib3.exceptions.HTTPError as reason:
            raise unreachable(method, url, reason) from None
        finally:
            if hasattr(data, "close"):
                data.close()

    def _pool(self, url: str) -> urllib3.PoolManager:
        """The pool for a host: with its proxy and its authorities."""
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        through = proxy(url)
        key = (through, host)
        if key not in self._pools:
            options: dict[str, Any] = {"maxsize": 4, "blocksize": 256 * 1024}
            if parts.scheme == "https":
                options["ssl_context"] = tls.context(host, tls.is_insecure(host, self.insecure))
            if through:
                user = urlsplit(through)
                if user.username:
                    options["proxy_headers"] = urllib3.make_headers(
                        proxy_basic_auth=f"{unquote(user.username)}:{unquote(user.password or '')}"
                    )
                self._pools[key] = urllib3.ProxyManager(through, **options)
            else:
                self._pools[key] = urllib3.PoolManager(**options)
        return self._pools[key]


def as_curl(method: str, url: str, headers: dict[str, str], has_body: bool = False) -> str:
    """The shell line that would make the same request; what is secret in it is left to the shell's variables."""
    words = {"GET": "curl -s", "HEAD": "curl -sI"}.get(method, f"curl -s -X {method}")
    for name, value in headers.items():
        if name == "Authorization":
            words += f' -H "Authorization: {value.partition(" ")[0]} $TOKEN"'
        elif name != "Content-Length":
            words += f" -H {trace.quoted(f'{name}: {value}')}"
    return f"{words}{' --data-binary @-' if has_body else ''} {trace.quoted(url)}"


def done(answer: urllib3.BaseHTTPResponse) -> None:
    """Let the connection serve again, whatever it has still to say; if that is much, or has no end, it is closed."""
    try:
        if len(answer.read(DRAINED, decode_content=False)) < DRAINED:
            answer.release_conn()
            return
    except urllib3.exceptions.HTTPError:
        pass  # it is of no use any more
    answer.close()


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
    except (ValueError, TypeError, OverflowError):
        return 0.0
