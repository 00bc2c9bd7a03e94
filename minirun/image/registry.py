"""A registry: HTTP requests by which images come and go (OCI distribution-spec).

    GET  /v2/                                  is there a registry, and how does one get in?
    GET  /v2/NAME/manifests/TAG or DIGEST      what the image is made of (HEAD: only its digest)
    GET  /v2/NAME/blobs/DIGEST                 a config or a layer, or the rest of one (Range)
    POST /v2/NAME/blobs/uploads/               here comes a blob; the answer says where to PUT it
    PUT  /v2/NAME/manifests/TAG                and this is the image

The first 401 says how to get in (see `challenge`). With "Bearer" there is a second server that hands out tokens, each
for one repository and one sort of deed, against a name and a password or against nothing at all.
"""

from __future__ import annotations

import base64
import threading
from urllib.parse import quote, urlencode, urljoin

from urllib3.exceptions import HTTPError

from minirun import store
from minirun.errors import EngineError, MinirunError
from minirun.image import challenge, manifests
from minirun.image.connection import Connection, Unreachable, check_url, is_insecure, origin, seconds, unreachable
from minirun.image.digests import sha256
from minirun.image.reference import check_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import urllib3

    from minirun.image.reference import Reference

#: Docker Hub: the name in references, and the host that answers.
HUB, HUB_HOST = "docker.io", "registry-1.docker.io"
#: Why there is no way in.
NO_CREDENTIALS = "no basic auth credentials"
#: The most bytes of a token server's answer.
TOKEN_MAX = 1024 * 1024


class Denied(EngineError):
    """A registry does not let us in, or has no such thing for us. `.status` (int), `.code` (str, the registry's)."""

    def __init__(self, message: str, status: int = 401, code: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status, self.code = status, code


class Credentials:
    """Who we are to a registry: `.user` and `.password`, or `.identity`, a token that stands for both."""

    def __init__(self, user: str = "", password: str = "", identity: str = "") -> None:
        self.user, self.password, self.identity = user, password, identity

    def __bool__(self) -> bool:
        return bool(self.user or self.identity)

    @property
    def basic(self) -> str:
        """The value of the header Authorization."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


class Registry:
    """One repository of a registry, and what one may do with it.

    Arguments: connection; name, a reference that says host and repository; credentials; actions (str), "pull" or
    "pull,push"; host (str), another one to ask: a mirror's "https://mirror.example".
    """

    def __init__(self, connection: Connection, name: Reference, credentials: Credentials, actions: str = "pull",
                 host: str = "") -> None:
        self.connection, self.path, self.credentials = connection, name.path, credentials
        self.scope = f"repository:{name.path}:{actions}" if name.path else ""  # `login` asks for no repository
        self.base = ""
        self._host = host or (HUB_HOST if name.domain == HUB else name.domain)
        self._challenges: list[challenge.Challenge] = []
        self._authorization = ""
        self._lock = threading.Lock()  # several layers come at the same time; one of them fetches the token

    # ---- getting in ------------------------------------------------------------------------------------------

    def ping(self) -> int:
        """Find out where the registry is and how one gets in. Returns: the status of its answer.

        Errors: Unreachable. An insecure registry (see `is_insecure`) is tried with TLS first, then without.
        """
        bases = [self._host] if "://" in self._host else [f"https://{self._host}"]
        if is_insecure(self._host.rpartition("://")[2], self.connection.insecure) and "://" not in self._host:
            bases.append(f"http://{self._host}")
        for base in bases:
            try:
                answer = self.connection.request("GET", f"{base}/v2/")
            except Unreachable:
                if base == bases[-1]:
                    raise
                continue
            headers = answer.headers.getlist("WWW-Authenticate")
            self._done(answer)
            self.base = base
            if answer.status == 401:
                self._challenges = challenge.parse(", ".join(headers))
            return answer.status
        raise AssertionError("unreachable")

    def login(self) -> None:
        """See whether the registry knows us. Errors: Denied, in the words of Docker's daemon; Unreachable."""
        if self.ping() == 401:
            self.enter(f"{self.base}/v2/", "GET")
            answer = self.connection.request("GET", f"{self.base}/v2/", {"Authorization": self._authorization})
            self._done(answer)
            if answer.status != 200:
                raise Denied(f"login attempt to {self.base}/v2/ failed with status: {answer.status} {answer.reason}")

    def enter(self, url: str, method: str) -> None:
        """Have in hand what the challenge asks for; nothing, if there was none.

        Errors: Denied without the credentials it takes, or when the token server says no.
        """
        with self._lock:
            if self._authorization or not self._challenges:
                return
            by_scheme = {one.scheme: one.parameters for one in reversed(self._challenges)}
            if "bearer" in by_scheme:
                self._authorization = "Bearer " + self._token(by_scheme["bearer"])
            elif self.credentials.user:
                self._authorization = self.credentials.basic
            else:
                raise Denied(f'{method.title()} "{url}": {NO_CREDENTIALS}', code=NO_CREDENTIALS)

    def _token(self, asked: dict[str, str]) -> str:
        """A token from the server that the challenge names (distribution, spec/auth/token.md and oauth.md)."""
        realm = asked.get("realm", "")
        check_url(realm, self.base)
        fields = {key: value for key, value in (("scope", self.scope), ("service", asked.get("service"))) if value}
        if self.credentials.identity:
            form = {**fields, "grant_type": "refresh_token", "refresh_token": self.credentials.identity,
                    "client_id": "minirun"}
            answer = self.connection.request("POST", realm, {"Content-Type": "application/x-www-form-urlencoded"},
                                             lambda: urlencode(form).encode())
        else:
            headers = {"Authorization": self.credentials.basic} if self.credentials else {}
            account = {"account": self.credentials.user} if self.credentials else {}
            answer = self.connection.request("GET", f"{realm}{'&' if '?' in realm else '?'}"
                                             + urlencode({**account, **fields}), headers)
        data = self._read(answer, TOKEN_MAX)
        if answer.status != 200:
            raise self._refusal(answer, data)
        try:
            document: Any = store.loads(data.decode())
            token = document.get("token") or document.get("access_token")
        except (ValueError, AttributeError, RecursionError):
            token = None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise EngineError(f"the token server at {origin(realm)[1]} gave no token")
        return token

    # ---- asking ----------------------------------------------------------------------------------------------

    def manifest(self, what: str) -> tuple[bytes, str, str]:
        """A manifest or an index. Arguments: what (str), a tag or a digest.

        Returns: its bytes, its media type as the header says, its digest. Errors: Denied; EngineError when it is
        larger than the limit, or not what its digest says.
        """
        answer = self._ask("GET", f"manifests/{quote(what, safe=':')}", {"Accept": manifests.ACCEPTED})
        data = self._read(answer, manifests.LARGEST)
        if answer.status != 200:
            raise self._refusal(answer, data)
        digest = sha256(data)
        if ":" in what and digest != what:
            raise EngineError(f"manifest verification failed for digest {what}")
        return data, answer.headers.get("Content-Type") or "", digest

    def digest(self, tag: str) -> str:
        """The digest that a tag points at, as the registry says; "" if it does not: who asks for more learns why."""
        answer = self._ask("HEAD", f"manifests/{quote(tag)}", {"Accept": manifests.ACCEPTED})
        self._done(answer)
        digest = answer.headers.get("Docker-Content-Digest") or ""
        return digest if answer.status == 200 and _is_digest(digest) else ""

    def small_blob(self, descriptor: dict) -> bytes:
        """A config. Errors: EngineError when it is too large, or not what its digest says."""
        answer = self.blob(descriptor["digest"])
        data = self._read(answer, min(descriptor["size"], manifests.LARGEST))
        if sha256(data) != descriptor["digest"]:
            raise EngineError(f"filesystem layer verification failed for digest {descriptor['digest']}")
        return data

    def blob(self, digest: str, begin: int = 0) -> urllib3.BaseHTTPResponse:
        """The answer that brings a blob, from byte `begin` on; the status says whether it does (206) or not (200)."""
        headers = {"Range": f"bytes={begin}-"} if begin else {}
        answer = self._ask("GET", f"blobs/{digest}", headers)
        if answer.status not in (200, 206, 416):
            raise self._refusal(answer, self._read(answer, TOKEN_MAX))
        return answer

    # ---- bringing --------------------------------------------------------------------------------------------

    def has(self, digest: str) -> bool:
        """Whether the registry has this blob in this repository."""
        answer = self._ask("HEAD", f"blobs/{digest}")
        self._done(answer)
        if answer.status in (401, 403):
            raise self._refusal(answer, b"")
        return answer.status == 200

    def upload(self, descriptor: dict, content: Callable[[], Any]) -> None:
        """Bring a blob. Arguments: content, opens it anew for each attempt."""
        answer = self._ask("POST", "blobs/uploads/", {"Content-Length": "0"})
        data = self._read(answer, TOKEN_MAX)
        location = answer.headers.get("Location") or ""
        if answer.status != 202 or not location:
            raise self._refusal(answer, data)
        url = urljoin(f"{self.base}/v2/{self.path}/blobs/uploads/", location)
        check_url(url, self.base)
        url += ("&" if "?" in url else "?") + urlencode({"digest": descriptor["digest"]})
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(descriptor["size"])}
        answer = self._request("PUT", url, headers, content)
        data = self._read(answer, TOKEN_MAX)
        if answer.status != 201:
            raise self._refusal(answer, data)

    def put_manifest(self, what: str, data: bytes, media_type: str) -> None:
        """Bring a manifest, whose blobs are there, under a tag."""
        answer = self._ask("PUT", f"manifests/{quote(what, safe=':')}", {"Content-Type": media_type}, lambda: data)
        text = self._read(answer, TOKEN_MAX)
        if answer.status not in (200, 201):
            raise self._refusal(answer, text)

    # ---- each of them --------------------------------------------------------------------------------------------

    def _ask(self, method: str, where: str, headers: dict[str, str] | None = None,
             body: Callable[[], Any] | None = None) -> urllib3.BaseHTTPResponse:
        if not self.base:
            self.ping()
        return self._request(method, f"{self.base}/v2/{self.path}/{where}", headers or {}, body)

    def _request(self, method: str, url: str, headers: dict[str, str],
                 body: Callable[[], Any] | None) -> urllib3.BaseHTTPResponse:
        """A request with what lets us in; once more when that has run out."""
        for attempt in range(2):
            self.enter(url, method)
            used = self._authorization if origin(url) == origin(self.base) else ""
            answer = self.connection.request(method, url, {**headers, **({"Authorization": used} if used else {})},
                                             body)
            if answer.status != 401 or attempt:
                break
            asked = challenge.parse(", ".join(answer.headers.getlist("WWW-Authenticate")))
            if not asked or used.startswith("Basic"):
                break
            self._done(answer)
            with self._lock:
                self._challenges = asked
                self._authorization = "" if self._authorization == used else self._authorization
        return answer

    def _read(self, answer: urllib3.BaseHTTPResponse, most: int) -> bytes:
        """The body of an answer, at most so many bytes. Errors: EngineError for a larger one."""
        data = b""
        try:
            while len(data) <= most and (part := answer.read(most + 1 - len(data))):
                data += part
            if len(data) > most:
                answer.close()
                raise EngineError(f"the registry's answer is larger than {most} bytes")
            return data
        except HTTPError as reason:
            raise unreachable("GET", f"{self.base}/v2/{self.path}", reason) from None
        finally:
            answer.release_conn()

    def _done(self, answer: urllib3.BaseHTTPResponse) -> None:
        answer.drain_conn()
        answer.release_conn()

    def _refusal(self, answer: urllib3.BaseHTTPResponse, data: bytes) -> Denied:
        """What a registry has to say against it (distribution-spec, "Error Codes"), in the words of Docker's client."""
        code = message = ""
        try:
            document: Any = store.loads(data.decode())
            first = (document.get("errors") or [{}])[0]
            code, message = str(first.get("code", "")), str(first.get("message", ""))
            message = message or str(document.get("details") or document.get("error") or "")
        except (ValueError, AttributeError, TypeError, IndexError, RecursionError):
            pass  # no JSON: the status has to do
        status = answer.status
        hint = ""
        if status == 429:
            code, message = code or "TOOMANYREQUESTS", message or "Rate exceeded"
            wait = seconds(answer.headers.get("Retry-After") or answer.headers.get("RateLimit-Reset") or "")
            hint = f"the registry takes requests again in {int(wait)} seconds" if wait else ""
        if not code and status == 401:
            code, message = "UNAUTHORIZED", "authentication required"
        if not code:
            return Denied(f"received unexpected HTTP status: {status} {answer.reason or ''}".rstrip(), status)
        text = f"{code.lower().replace('_', ' ')}: {_one_line(message)}"
        return Denied(text, status, code, hint)


def _is_digest(text: str) -> bool:
    try:
        check_digest(text)
    except MinirunError:
        return False
    return text.startswith("sha256:")


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)[:500]
