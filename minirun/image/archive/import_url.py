"""`import URL`: an archive that is unpacked while it is downloaded.

`ImageWriter` reads from a descriptor, so a thread copies the bytes from the connection into a pipe. To the reader, a
broken connection looks like the end of the archive, and a tar may seem complete without its last bytes; so the reader
calls `check` at the end.
"""

from __future__ import annotations

import os
import threading
from urllib.parse import unquote, urlsplit, urlunsplit

import urllib3

from minirun import store
from minirun.errors import EngineError
from minirun.image.registry.http import HTTPClient
from minirun.image.registry.http_errors import unreachable
from minirun.image.sanitize import printable
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = 256 * 1024


class UrlSource:
    """The body of an HTTP response: `with UrlSource(url) as body: ... os.read(body.fd, 4096) ...; body.check()`.

    Arguments: url (str), "http://..." or "https://...", with or without USER:PASSWORD@ before the host; on_response,
    called with the URL without the password when the response begins.
    Attributes: fd (int), a pipe to read the body from; source (str), the URL without the password.
    Errors: EngineError with Docker's message for an error response, or without a response.
    """

    def __init__(self, url: str, on_response: Callable[[str], None] = lambda _: None) -> None:
        self.source, self._headers = _split_userinfo(url)
        self.on_response = on_response
        self.fd = -1
        self._error: Exception | None = None

    def __enter__(self) -> UrlSource:
        self._response = HTTPClient([], attempts=1).request("GET", self.source, self._headers)
        if self._response.status >= 400:
            raise EngineError(
                f"failed to GET {self.source} with status {self._response.status} {printable(self._response.reason)}"
            )
        self.on_response(self.source)
        self.fd, write_fd = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._copy, args=(write_fd,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)  # the thread, if it still runs, gets EPIPE
        self._response.close()

    def check(self) -> None:
        """To be called after the last byte. Errors: EngineError when the connection broke before the end."""
        self._thread.join()
        if self._error:
            raise unreachable("GET", self.source, self._error)

    def _copy(self, write_fd: int) -> None:
        try:
            for data in self._response.stream(_CHUNK):
                store.write_all(write_fd, data)
        except BrokenPipeError:  # the reader has stopped and reports its own error
            return
        except urllib3.exceptions.HTTPError as reason:
            self._error = reason
        finally:
            os.close(write_fd)


def _split_userinfo(url: str) -> tuple[str, dict[str, str]]:
    """Split off user and password. Returns: the URL without them, and the header Authorization."""
    try:
        parts = urlsplit(url)
        name, port = parts.hostname or "", parts.port
    except ValueError as reason:
        raise EngineError(f'parse "{url}": {str(reason).lower()}') from None
    if not name:
        raise EngineError(f'Get "{url}": http: no Host in request URL')
    if parts.username is None:
        return url, {}
    host = f"[{name}]" if ":" in name else name
    url_without_user = urlunsplit(parts._replace(netloc=host if port is None else f"{host}:{port}"))
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return url_without_user, urllib3.make_headers(basic_auth=user)
