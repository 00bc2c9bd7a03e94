"""Authorization of requests to a registry, by password or by token (containerd docker.Authorizer).

    "Basic"     user name and password are sent with each request
    "Bearer"    a token is sent; it is valid for one scope ("repository:tools/sh:pull,push") and for some minutes, and
                comes from the token server that the challenge names, for a password, an identity token, or anonymously

(distribution, spec/auth/token.md and oauth.md.) The registry's first 401 has the challenge, see
minirun.image.registry.challenge.
"""

from __future__ import annotations

import base64
import threading
import time
from urllib.parse import urlencode

from minirun import jsoncodec
from minirun.errors import EngineError
from minirun.image.registry import challenge, responses
from minirun.image.registry.responses import RegistryError
from minirun.image.registry.urls import check_url, origin
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    import urllib3

    from minirun.image.registry.http import HTTPClient

#: Docker's message for a registry that wants a password when there is none.
NO_CREDENTIALS = "no basic auth credentials"
#: Seconds that a token is taken to be valid at least (token.md says so for clients), whatever `expires_in` says.
MIN_LIFETIME = 60
#: The OAuth 2 client id that is sent to the token server.
CLIENT_ID = "minirun"


class Credentials:
    """The credentials for a registry: `.user` and `.password`, or `.identity_token`, which replaces both."""

    def __init__(self, user: str = "", password: str = "", identity_token: str = "") -> None:
        self.user, self.password, self.identity_token = user, password, identity_token

    def __bool__(self) -> bool:
        return bool(self.user or self.identity_token)

    @property
    def basic(self) -> str:
        """The value of the header Authorization for Basic."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


class Authorizer:
    """Authorizes the requests to one registry. Thread-safe: one thread fetches a token, the others wait for it.

    Arguments: http; credentials; offline_token (bool), ask for an identity token as well, which `login` stores instead
    of the password. Attribute: identity_token (str), "" until the token server has given one.
    """

    def __init__(self, http: HTTPClient, credentials: Credentials, *, offline_token: bool = False) -> None:
        self.http, self.credentials, self.offline_token = http, credentials, offline_token
        self.identity_token = ""
        self._challenges: dict[str, dict[str, str]] = {}
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}  # scopes → token, when it expires (time.monotonic)
        self._lock = threading.Lock()

    def add_challenges(self, response: urllib3.BaseHTTPResponse) -> bool:
        """Read the challenges of a 401 response. Returns: whether it has any."""
        found = challenge.parse(", ".join(response.headers.getlist("WWW-Authenticate")))
        if found:
            self._challenges = {one.scheme: one.parameters for one in reversed(found)}
        return bool(found)

    def authorization(self, scopes: tuple[str, ...], method: str, url: str) -> str:
        """The value of the header Authorization for a request; "" when the registry has not sent a challenge.

        Errors: RegistryError without the credentials that it wants, or when the token server refuses them; Unreachable.
        """
        with self._lock:
            if not self._challenges:
                return ""
            if "bearer" in self._challenges:
                token, expires = self._tokens.get(scopes, ("", 0.0))
                if time.monotonic() >= expires:
                    token, lifetime = self._token(self._challenges["bearer"], scopes, f'{method.title()} "{url}"')
                    self._tokens[scopes] = token, time.monotonic() + lifetime
                return f"Bearer {token}"
            if self.credentials.user and not self.credentials.identity_token:
                return self.credentials.basic
            raise RegistryError(NO_CREDENTIALS, at=f'{method.title()} "{url}"')

    def invalidate(self, key: str) -> bool:
        """Forget a token that the registry has refused. Arguments: key (str), the header Authorization.

        Returns: whether a new token may be accepted; False for Basic.
        """
        with self._lock:
            self._tokens = {scopes: known for scopes, known in self._tokens.items() if f"Bearer {known[0]}" != key}
        return not key.startswith("Basic")

    def _token(self, parameters: dict[str, str], scopes: tuple[str, ...], at: str) -> tuple[str, float]:
        """Fetch a token. Arguments: asked, the challenge's parameters; at (str), for messages: 'Get "https://..."'.

        Returns: the token, and the seconds that it is valid.
        """
        realm = parameters.get("realm", "")
        check_url(realm, at.split('"')[1])
        fields = [
            (name, value)
            for name, value in (("service", parameters.get("service", "")), *(("scope", scope) for scope in scopes))
            if value
        ]
        response = (
            self._by_identity_token(realm, fields)
            if self.credentials.identity_token
            else self._by_password(realm, fields)
        )
        data = responses.read_body(response, realm)
        if response.status != 200:
            raise responses.error_from(response, data, at)
        try:
            document: Any = jsoncodec.loads(data.decode())
            token = document.get("token") or document.get("access_token")
            lifetime, identity_token = document.get("expires_in"), document.get("refresh_token")
        except (ValueError, AttributeError, RecursionError):
            token = lifetime = identity_token = None
        if not _is_token(token):
            raise EngineError(f"the token server at {origin(realm)[1]} gave no token")
        self.identity_token = identity_token if _is_token(identity_token) else self.identity_token
        return token, max(MIN_LIFETIME, lifetime if isinstance(lifetime, int) else 0)

    def _by_password(self, realm: str, fields: list[tuple[str, str]]) -> urllib3.BaseHTTPResponse:
        """GET with the password as Basic, or anonymously (token.md)."""
        headers = {"Authorization": self.credentials.basic} if self.credentials else {}
        fields = [*([("account", self.credentials.user)] if self.credentials else []), *fields]
        if self.offline_token:
            fields += [("offline_token", "true"), ("client_id", CLIENT_ID)]
        return self.http.request("GET", f"{realm}{'&' if '?' in realm else '?'}{urlencode(fields)}", headers)

    def _by_identity_token(self, realm: str, fields: list[tuple[str, str]]) -> urllib3.BaseHTTPResponse:
        """POST as in OAuth 2 (oauth.md), where all scopes are one field."""
        scope = " ".join(value for name, value in fields if name == "scope")
        form = urlencode(
            {
                **dict(fields),
                **({"scope": scope} if scope else {}),
                "grant_type": "refresh_token",
                "refresh_token": self.credentials.identity_token,
                "client_id": CLIENT_ID,
            }
        ).encode()
        return self.http.request(
            "POST", realm, {"Content-Type": "application/x-www-form-urlencoded"}, lambda: form, no_redirects=True
        )


def _is_token(value: object) -> bool:
    return isinstance(value, str) and bool(value) and value.isascii() and value.isprintable()
