"""How one gets into a registry: with a password, or with a token that another server gives for it.

    "Basic"     the name and the password go along with each request
    "Bearer"    a token goes along; it is good for one *scope* ("repository:tools/sh:pull,push") and for some minutes,
                and comes from the server that the challenge names, against a password, an identity token, or nothing

(distribution, spec/auth/token.md and oauth.md.) What a registry wants, it says in its first 401: see `challenge`.
"""

from __future__ import annotations

import base64
import threading
import time
from urllib.parse import urlencode

from minirun import jsoncodec
from minirun.errors import EngineError
from minirun.image.registry import challenge, responses
from minirun.image.registry.responses import Denied
from minirun.image.registry.urls import check_url, origin
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    import urllib3

    from minirun.image.registry.http import Connection

#: Why there is no way in.
NO_CREDENTIALS = "no basic auth credentials"
#: The fewest seconds that a token is good for, whatever its server says (token.md): a registry may know better.
SHORTEST_LIFE = 60
#: As whom we ask for tokens.
CLIENT = "minirun"


class Credentials:
    """Who we are to a registry: `.user` and `.password`, or `.identity`, a token that counts instead of both."""

    def __init__(self, user: str = "", password: str = "", identity: str = "") -> None:
        self.user, self.password, self.identity = user, password, identity

    def __bool__(self) -> bool:
        return bool(self.user or self.identity)

    @property
    def basic(self) -> str:
        """The value of the header Authorization."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


class Authorizer:
    """The door of one registry, and our keys to it. Several threads may ask; one of them fetches the token.

    Arguments: connection; credentials; lasting (bool), ask for an identity token, too, to be kept instead of the
    password. Attribute: identity (str), that token, "" as long as there is none.
    """

    def __init__(self, connection: Connection, credentials: Credentials, *, lasting: bool = False) -> None:
        self.connection, self.credentials, self.lasting = connection, credentials, lasting
        self.identity = ""
        self._challenges: dict[str, dict[str, str]] = {}
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}  # of each set of scopes: the token, its end
        self._lock = threading.Lock()

    def learn(self, answer: urllib3.BaseHTTPResponse) -> bool:
        """Read from a 401 how one gets in. Returns: whether it says that."""
        found = challenge.parse(", ".join(answer.headers.getlist("WWW-Authenticate")))
        if found:
            self._challenges = {one.scheme: one.parameters for one in reversed(found)}
        return bool(found)

    def key(self, scopes: tuple[str, ...], method: str, url: str) -> str:
        """The value of the header Authorization for a request; "" when the registry has asked for none.

        Errors: Denied without the credentials that it takes, or when the token server says no; Unreachable.
        """
        with self._lock:
            if not self._challenges:
                return ""
            if "bearer" in self._challenges:
                token, end = self._tokens.get(scopes, ("", 0.0))
                if time.monotonic() >= end:
                    token, life = self._token(self._challenges["bearer"], scopes, f'{method.title()} "{url}"')
                    self._tokens[scopes] = token, time.monotonic() + life
                return f"Bearer {token}"
            if self.credentials.user and not self.credentials.identity:
                return self.credentials.basic
            raise Denied(NO_CREDENTIALS, at=f'{method.title()} "{url}"')

    def refused(self, key: str) -> bool:
        """The registry did not take this key. Returns: whether there may be a better one."""
        with self._lock:
            self._tokens = {scopes: known for scopes, known in self._tokens.items() if f"Bearer {known[0]}" != key}
        return not key.startswith("Basic")

    def _token(self, asked: dict[str, str], scopes: tuple[str, ...], at: str) -> tuple[str, float]:
        """A token, and for how many seconds it is good. Arguments: at (str), what it is for: 'Get "https://..."'."""
        realm = asked.get("realm", "")
        check_url(realm, at.split('"')[1])
        fields = [
            (name, value)
            for name, value in (("service", asked.get("service", "")), *(("scope", scope) for scope in scopes))
            if value
        ]
        answer = self._by_identity(realm, fields) if self.credentials.identity else self._by_password(realm, fields)
        data = responses.read(answer, realm)
        if answer.status != 200:
            raise responses.refusal(answer, data, at)
        try:
            document: Any = jsoncodec.loads(data.decode())
            token = document.get("token") or document.get("access_token")
            life, identity = document.get("expires_in"), document.get("refresh_token")
        except (ValueError, AttributeError, RecursionError):
            token = life = identity = None
        if not _is_token(token):
            raise EngineError(f"the token server at {origin(realm)[1]} gave no token")
        self.identity = identity if _is_token(identity) else self.identity
        return token, max(SHORTEST_LIFE, life if isinstance(life, int) else 0)

    def _by_password(self, realm: str, fields: list[tuple[str, str]]) -> urllib3.BaseHTTPResponse:
        """GET, with the password as Basic, or as nobody."""
        headers = {"Authorization": self.credentials.basic} if self.credentials else {}
        fields = [*([("account", self.credentials.user)] if self.credentials else []), *fields]
        if self.lasting:
            fields += [("offline_token", "true"), ("client_id", CLIENT)]
        return self.connection.request("GET", f"{realm}{'&' if '?' in realm else '?'}{urlencode(fields)}", headers)

    def _by_identity(self, realm: str, fields: list[tuple[str, str]]) -> urllib3.BaseHTTPResponse:
        """POST, as OAuth 2 does: the scopes are one field."""
        scope = " ".join(value for name, value in fields if name == "scope")
        form = urlencode(
            {
                **dict(fields),
                **({"scope": scope} if scope else {}),
                "grant_type": "refresh_token",
                "refresh_token": self.credentials.identity,
                "client_id": CLIENT,
            }
        ).encode()
        return self.connection.request(
            "POST", realm, {"Content-Type": "application/x-www-form-urlencoded"}, lambda: form, secret=True
        )


def _is_token(value: object) -> bool:
    return isinstance(value, str) and bool(value) and value.isascii() and value.isprintable()
