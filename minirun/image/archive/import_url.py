"""`import URL`: an archive that is unpacked while it comes over HTTP.

`ImageWriter` reads from a descriptor, so a thread carries the bytes from the connection into a pipe. A connection that
breaks looks to the reader like the end of the archive, and a tar may seem whole without its last bytes: so whoever has
read to the end asks whether that was the end (`check`).
"""

from __future__ import annotations

import os
import threading
from urllib.parse import unquote, urlsplit, urlunsplit

import urllib3

from minirun.errors import EngineError
from minirun.image.registry.http import HTTPClient
from minirun.image.registry.http_errors import unreachable
from minirun.image.sanitize import shown
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = 256 * 1024


class UrlSource:
    """The body of an HTTP answer: `with Fetched(url) as body: ... os.read(body.fd, 4096) ...; body.check()`.

    Arguments: url (str), "http://..." or "https://...", perhaps with USER:PASSWORD@ before the host; begins, called
    with the URL, without the password, when the answer begins.
    Attributes: fd (int), where it can be read; source (str), the URL without the password.
    Errors: EngineError in Docker's words when there is no such thing, or nobody answers.
    """

    def __init__(self, url: str, begins: Callable[[str], None] = lambda _: None) -> None:
        self.source, self._headers = _taken_apart(url)
        self.begins = begins
        self.fd = -1
        self._failure: Exception | None = None

    def __enter__(self) -> UrlSource:
        self._answer = HTTPClient([], attempts=1).request("GET", self.source, self._headers)
        if self._answer.status >= 400:
            raise EngineError(
                f"failed to GET {self.source} with status {self._answer.status} {shown(self._answer.reason)}"
            )
        self.begins(self.source)
        self.fd, write = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._carry, args=(write,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)  # the thread, if it still carries, meets a broken pipe
        self._answer.close()

    def check(self) -> None:
        """After the last byte: was it the last? Errors: EngineError when the connection broke before."""
        self._thread.join()
        if self._failure:
            raise unreachable("GET", self.source, self._failure)

    def _carry(self, write: int) -> None:
        try:
            for data in self._answer.stream(_CHUNK):
                view = memoryview(data)
                while view:
                    view = view[os.write(write, view) :]
        except BrokenPipeError:  # the reader has given up, for a reason of his own
            return
        except urllib3.exceptions.HTTPError as reason:
            self._failure = reason
        finally:
            os.close(write)


def _taken_apart(url: str) -> tuple[str, dict[str, str]]:
    """The URL without user and password, and the header that says these."""
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
    plain = urlunsplit(parts._replace(netloc=host if port is None else f"{host}:{port}"))
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return plain, urllib3.make_headers(basic_auth=user)
