"""A registry client (OCI distribution-spec): the requests that pull and push consist of.

GET  /v2/                                  ping: is it a registry, and what authorization does it want?
GET  /v2/NAME/manifests/TAG or DIGEST      a manifest or an index (HEAD: only its digest)
GET  /v2/NAME/tags/list                    the tags, in pages
GET  /v2/NAME/blobs/DIGEST                 a config or a layer, or the rest of one (Range)
POST /v2/NAME/blobs/uploads/               start the upload of a blob (see minirun.image.transfer.upload)
PUT  /v2/NAME/manifests/TAG                store the manifest, which makes the image visible
"""

from __future__ import annotations

from urllib.parse import quote

from minirun.errors import EngineError, MinirunError
from minirun.image import manifests
from minirun.image.digest import sha256
from minirun.image.reference import check_digest, is_tag
from minirun.image.registry import responses
from minirun.image.registry.auth import Authorizer, Credentials
from minirun.image.registry.http import release
from minirun.image.registry.http_errors import Unreachable
from minirun.image.registry.responses import RegistryError
from minirun.image.registry.tls import is_insecure
from minirun.image.registry.urls import origin, resolve_location
from minirun.image.sanitize import printable
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import urllib3

    from minirun.image.reference import Reference
    from minirun.image.registry.http import HTTPClient

#: Docker Hub: its domain in references, and the host of its registry.
HUB, HUB_HOST = "docker.io", "registry-1.docker.io"
#: The most tags of a repository that are listed.
MAX_TAGS = 100_000


class Registry:
    """A client for one repository of a registry.

    Arguments: http; name, a reference with the domain and the repository; credentials; actions (str), of the token's
    scope, "pull" or "pull,push"; host (str), another host than the domain's: a mirror, "https://mirror.example".
    """

    def __init__(
        self, http: HTTPClient, name: Reference, credentials: Credentials, actions: str = "pull", host: str = ""
    ) -> None:
        self.http, self.path = http, name.path
        self.authorizer = Authorizer(http, credentials, offline_token=not name.path)  # no repository: that is `login`
        self.scopes: tuple[str, ...] = (f"repository:{name.path}:{actions}",) if name.path else ()
        self.base = ""
        self._host = host or (HUB_HOST if name.domain == HUB else name.domain)

    # ---- authorization ---------------------------------------------------------------------------------------

    def ping(self) -> int:
        """Find the registry's base URL and the authorization it wants. Returns: the status of its response.

        Errors: Unreachable. An insecure registry (`tls.is_insecure`) is tried with TLS first, then without.
        """
        bases = [self._host] if "://" in self._host else [f"https://{self._host}"]
        if is_insecure(self._host.rpartition("://")[2], self.http.insecure) and "://" not in self._host:
            bases.append(f"http://{self._host}")
        for base in bases:
            try:
                response = self.http.request("GET", f"{base}/v2/")
            except Unreachable:
                if base == bases[-1]:
                    raise
                continue
            release(response)
            self.base = base
            if response.status == 401:
                self.authorizer.add_challenges(response)
            return response.status
        raise AssertionError("unreachable")

    def login(self) -> None:
        """Check the credentials. Errors: RegistryError with the message of Docker's daemon; Unreachable."""
        if self.ping() == 401:
            url = f"{self.base}/v2/"
            key = self.authorizer.authorization((), "GET", url)
            response = self.http.request("GET", url, {"Authorization": key})
            release(response)
            if response.status != 200:
                raise RegistryError(
                    f"login attempt to {url} failed with status: {response.status} {printable(response.reason)}"
                )

    # ---- pulling ---------------------------------------------------------------------------------------------

    def manifest(self, what: str) -> tuple[bytes, str, str]:
        """Get a manifest or an index. Arguments: what (str), a tag or a digest.

        Returns: its bytes, the media type in the header Content-Type, its digest. Errors: RegistryError; EngineError
        when it is larger than the limit, or does not match its digest.
        """
        response = self.request("GET", f"manifests/{quote(what, safe=':')}", {"Accept": manifests.ACCEPTED})
        data = self._read(response, manifests.MAX_DOCUMENT)
        if response.status != 200:
            raise responses.error_from(response, data)
        digest = sha256(data)
        if ":" in what and digest != what:
            raise EngineError(f"manifest verification failed for digest {what}")
        return data, response.headers.get("Content-Type") or "", digest

    def resolve(self, tag: str) -> str:
        """The digest that a tag refers to (HEAD); "" when the registry does not say it: `manifest` then tells why."""
        response = self.request("HEAD", f"manifests/{quote(tag)}", {"Accept": manifests.ACCEPTED})
        release(response)
        digest = response.headers.get("Docker-Content-Digest") or ""
        return digest if response.status == 200 and _is_digest(digest) else ""

    def tags(self) -> list[str]:
        """All tags, in the registry's order. Errors: RegistryError; EngineError for more than MAX_TAGS."""
        found: list[str] = []
        told = 0
        url = f"{self.base}/v2/{self.path}/tags/list"
        while url:
            response = self.request_url("GET", url, {}, None)
            data = self._read(response, manifests.MAX_DOCUMENT)
            if response.status != 200:
                raise responses.error_from(response, data)
            page = responses.string_list(data, "tags")
            found += [tag for tag in page if is_tag(tag)]
            told += len(page)  # invalid tags count as well, else a hostile registry could go on for ever
            if told > MAX_TAGS:
                raise EngineError(f"{self.path} has more than {MAX_TAGS} tags")
            target = responses.next_page(response) if page else ""  # an empty page is the last one
            url = resolve_location(url, target) if target else ""
        return found

    def blob_bytes(self, descriptor: dict) -> bytes:
        """Get a small blob, a config. Errors: EngineError when it is too large, or does not match its digest."""
        response = self.blob(descriptor["digest"])
        data = self._read(response, min(descriptor["size"], manifests.MAX_DOCUMENT))
        if sha256(data) != descriptor["digest"]:
            raise EngineError(f"filesystem layer verification failed for digest {descriptor['digest']}")
        return data

    def blob(self, digest: str, begin: int = 0) -> urllib3.BaseHTTPResponse:
        """Start to get a blob from byte `begin` on. Returns: the response, its status 206, 200 (all of it) or 416."""
        headers = {"Range": f"bytes={begin}-"} if begin else {}
        response = self.request("GET", f"blobs/{digest}", headers)
        if response.status not in (200, 206, 416):
            raise responses.error_from(response, self._read(response))
        return response

    # ---- pushing ---------------------------------------------------------------------------------------------

    def has_blob(self, digest: str) -> bool:
        """Whether the repository has this blob (HEAD)."""
        response = self.request("HEAD", f"blobs/{digest}")
        release(response)
        if response.status in (401, 403):
            raise responses.error_from(response, b"")
        return response.status == 200

    def put_manifest(self, what: str, data: bytes, media_type: str) -> None:
        """Store a manifest under a tag. Its blobs must have been pushed before."""
        response = self.request("PUT", f"manifests/{quote(what, safe=':')}", {"Content-Type": media_type}, lambda: data)
        text = self._read(response)
        if response.status not in (200, 201):
            raise responses.error_from(response, text)

    # ---- requests --------------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        where: str,
        headers: dict[str, str] | None = None,
        body: Callable[[], Any] | None = None,
        *,
        extra_scope: str = "",
    ) -> urllib3.BaseHTTPResponse:
        """Make a request to this repository.

        Arguments: where (str), "blobs/sha256:..."; body, as for `HTTPClient.request`; extra_scope (str), of another
        repository that the request needs. Errors: RegistryError; Unreachable.
        """
        if not self.base:
            self.ping()
        url = f"{self.base}/v2/{self.path}/{where}"
        return self._authorized(
            self.http.request,
            (*self.scopes, *([extra_scope] if extra_scope else [])),
            (method, url, headers or {}, body),
        )

    def request_url(
        self, method: str, url: str, headers: dict[str, str], body: Callable[[], Any] | None
    ) -> urllib3.BaseHTTPResponse:
        """Make a request to a URL that the registry has named; it is not retried."""
        if origin(url) != origin(self.base):  # a signed URL of another host, which must not get our token
            return self.http.follow(method, url, headers, body)
        return self._authorized(self.http.follow, self.scopes, (method, url, headers, body))

    def _authorized(
        self, make: Callable[..., urllib3.BaseHTTPResponse], scopes: tuple[str, ...], words: tuple
    ) -> urllib3.BaseHTTPResponse:
        """Make a request with the header Authorization; after a 401 once more. Arguments: words, those of `make`."""
        method, url, headers, body = words
        for attempt in range(2):
            key = self.authorizer.authorization(scopes, method, url)
            response = make(method, url, {**headers, **({"Authorization": key} if key else {})}, body)
            if (
                response.status != 401
                or attempt
                or not self.authorizer.add_challenges(response)
                or not self.authorizer.invalidate(key)
            ):
                break
            release(response)
        return response

    def _read(self, response: urllib3.BaseHTTPResponse, most: int = responses.MAX_BODY) -> bytes:
        return responses.read_body(response, f"{self.base}/v2/{self.path}", most)


def _is_digest(text: str) -> bool:
    try:
        check_digest(text)
    except MinirunError:
        return False
    return text.startswith("sha256:")
