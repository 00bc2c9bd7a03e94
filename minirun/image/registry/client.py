"""A registry: HTTP requests by which images come and go (OCI distribution-spec).

GET  /v2/                                  is there a registry, and how does one get in? (see `authorizer`)
GET  /v2/NAME/manifests/TAG or DIGEST      what the image is made of (HEAD: only its digest)
GET  /v2/NAME/tags/list                    which tags there are, a page at a time
GET  /v2/NAME/blobs/DIGEST                 a config or a layer, or the rest of one (Range)
POST /v2/NAME/blobs/uploads/               here comes a blob (see `upload`)
PUT  /v2/NAME/manifests/TAG                and this is the image
"""

from __future__ import annotations

from urllib.parse import quote

from minirun.errors import EngineError, MinirunError
from minirun.image import manifests
from minirun.image.digest import sha256
from minirun.image.reference import check_digest, is_tag
from minirun.image.registry import responses
from minirun.image.registry.auth import Authorizer, Credentials
from minirun.image.registry.http import done
from minirun.image.registry.http_errors import Unreachable
from minirun.image.registry.responses import Denied
from minirun.image.registry.tls import is_insecure
from minirun.image.registry.urls import onward, origin
from minirun.image.sanitize import shown
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import urllib3

    from minirun.image.reference import Reference
    from minirun.image.registry.http import Connection

#: Docker Hub: the name in references, and the host that answers.
HUB, HUB_HOST = "docker.io", "registry-1.docker.io"
#: The most tags that a repository may have when all of them are wanted.
TAGS_MAX = 100_000


class Registry:
    """One repository of a registry, and what one may do with it.

    Arguments: connection; name, a reference that says host and repository; credentials; actions (str), "pull" or
    "pull,push"; host (str), another one to ask: a mirror's "https://mirror.example".
    """

    def __init__(
        self, connection: Connection, name: Reference, credentials: Credentials, actions: str = "pull", host: str = ""
    ) -> None:
        self.connection, self.path = connection, name.path
        self.authorizer = Authorizer(connection, credentials, lasting=not name.path)  # `login` asks for no repository
        self.scopes: tuple[str, ...] = (f"repository:{name.path}:{actions}",) if name.path else ()
        self.base = ""
        self._host = host or (HUB_HOST if name.domain == HUB else name.domain)

    # ---- getting in ------------------------------------------------------------------------------------------

    def ping(self) -> int:
        """Find out where the registry is and how one gets in. Returns: the status of its answer.

        Errors: Unreachable. An insecure registry (see `trust`) is tried with TLS first, then without.
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
            done(answer)
            self.base = base
            if answer.status == 401:
                self.authorizer.learn(answer)
            return answer.status
        raise AssertionError("unreachable")

    def login(self) -> None:
        """See whether the registry knows us. Errors: Denied, in the words of Docker's daemon; Unreachable."""
        if self.ping() == 401:
            url = f"{self.base}/v2/"
            key = self.authorizer.key((), "GET", url)
            answer = self.connection.request("GET", url, {"Authorization": key})
            done(answer)
            if answer.status != 200:
                raise Denied(f"login attempt to {url} failed with status: {answer.status} {shown(answer.reason)}")

    # ---- asking ----------------------------------------------------------------------------------------------

    def manifest(self, what: str) -> tuple[bytes, str, str]:
        """A manifest or an index. Arguments: what (str), a tag or a digest.

        Returns: its bytes, its media type as the header says, its digest. Errors: Denied; EngineError when it is
        larger than the limit, or not what its digest says.
        """
        answer = self.ask("GET", f"manifests/{quote(what, safe=':')}", {"Accept": manifests.ACCEPTED})
        data = self._read(answer, manifests.LARGEST)
        if answer.status != 200:
            raise responses.refusal(answer, data)
        digest = sha256(data)
        if ":" in what and digest != what:
            raise EngineError(f"manifest verification failed for digest {what}")
        return data, answer.headers.get("Content-Type") or "", digest

    def digest(self, tag: str) -> str:
        """The digest that a tag points at, as the registry says; "" if it does not: who asks for more learns why."""
        answer = self.ask("HEAD", f"manifests/{quote(tag)}", {"Accept": manifests.ACCEPTED})
        done(answer)
        digest = answer.headers.get("Docker-Content-Digest") or ""
        return digest if answer.status == 200 and _is_digest(digest) else ""

    def tags(self) -> list[str]:
        """All tags, in the registry's order. Errors: Denied; EngineError for more than anybody reads."""
        found: list[str] = []
        told = 0
        url = f"{self.base}/v2/{self.path}/tags/list"
        while url:
            answer = self.send("GET", url, {}, None)
            data = self._read(answer, manifests.LARGEST)
            if answer.status != 200:
                raise responses.refusal(answer, data)
            page = responses.strings(data, "tags")
            found += [tag for tag in page if is_tag(tag)]
            told += len(page)  # what is no tag counts too, or it could go on for ever
            if told > TAGS_MAX:
                raise EngineError(f"{self.path} has more than {TAGS_MAX} tags")
            target = responses.next_page(answer) if page else ""  # who gives nothing has nothing more
            url = onward(url, target) if target else ""
        return found

    def blob_bytes(self, descriptor: dict) -> bytes:
        """A config. Errors: EngineError when it is too large, or not what its digest says."""
        answer = self.blob(descriptor["digest"])
        data = self._read(answer, min(descriptor["size"], manifests.LARGEST))
        if sha256(data) != descriptor["digest"]:
            raise EngineError(f"filesystem layer verification failed for digest {descriptor['digest']}")
        return data

    def blob(self, digest: str, begin: int = 0) -> urllib3.BaseHTTPResponse:
        """The answer that brings a blob, from byte `begin` on; the status says whether it does (206) or not (200)."""
        headers = {"Range": f"bytes={begin}-"} if begin else {}
        answer = self.ask("GET", f"blobs/{digest}", headers)
        if answer.status not in (200, 206, 416):
            raise responses.refusal(answer, self._read(answer))
        return answer

    # ---- bringing --------------------------------------------------------------------------------------------

    def has(self, digest: str) -> bool:
        """Whether the registry has this blob in this repository."""
        answer = self.ask("HEAD", f"blobs/{digest}")
        done(answer)
        if answer.status in (401, 403):
            raise responses.refusal(answer, b"")
        return answer.status == 200

    def put_manifest(self, what: str, data: bytes, media_type: str) -> None:
        """Bring a manifest, whose blobs are there, under a tag."""
        answer = self.ask("PUT", f"manifests/{quote(what, safe=':')}", {"Content-Type": media_type}, lambda: data)
        text = self._read(answer)
        if answer.status not in (200, 201):
            raise responses.refusal(answer, text)

    # ---- each of them ----------------------------------------------------------------------------------------

    def ask(
        self,
        method: str,
        where: str,
        headers: dict[str, str] | None = None,
        body: Callable[[], Any] | None = None,
        *,
        also: str = "",
    ) -> urllib3.BaseHTTPResponse:
        """A request about this repository.

        Arguments: where (str), "blobs/sha256:..."; body, see `Connection`; also (str), the scope of another
        repository that it is about, too. Errors: Denied; Unreachable.
        """
        if not self.base:
            self.ping()
        url = f"{self.base}/v2/{self.path}/{where}"
        return self._let_in(
            self.connection.request, (*self.scopes, *([also] if also else [])), (method, url, headers or {}, body)
        )

    def send(
        self, method: str, url: str, headers: dict[str, str], body: Callable[[], Any] | None
    ) -> urllib3.BaseHTTPResponse:
        """A request to a place that the registry has named; nobody makes it again if it fails for a moment."""
        if origin(url) != origin(self.base):
            return self.connection.follow(method, url, headers, body)  # its address is the permission
        return self._let_in(self.connection.follow, self.scopes, (method, url, headers, body))

    def _let_in(
        self, make: Callable[..., urllib3.BaseHTTPResponse], scopes: tuple[str, ...], words: tuple
    ) -> urllib3.BaseHTTPResponse:
        """A request with what lets us in; once more when that has run out. Arguments: words, `make`'s arguments."""
        method, url, headers, body = words
        for attempt in range(2):
            key = self.authorizer.key(scopes, method, url)
            answer = make(method, url, {**headers, **({"Authorization": key} if key else {})}, body)
            if answer.status != 401 or attempt or not self.authorizer.learn(answer) or not self.authorizer.refused(key):
                break
            done(answer)
        return answer

    def _read(self, answer: urllib3.BaseHTTPResponse, most: int = responses.WORDS_MAX) -> bytes:
        return responses.read(answer, f"{self.base}/v2/{self.path}", most)


def _is_digest(text: str) -> bool:
    try:
        check_digest(text)
    except MinirunError:
        return False
    return text.startswith("sha256:")
