"""A token server as a registry believes it (distribution, spec/auth/jwt.md): signed by a key whose certificate it has.

    python3 tests/harness/registry/token_server.py PORT DIRECTORY

DIRECTORY holds `key` and `crt` (PEM). There is one user, "me", with the password "secret"; he may do anything, and
nobody in particular may pull from repositories that begin with "public/". Who asks with offline_token=true gets an
identity token, "identity-of-me", that is as good as the password.

DIRECTORY/behaviour.json: {"expired": N}, the first N tokens have seen their end; {"plain": true}, no identity tokens.
What was asked is written to DIRECTORY/log, a JSON line for each request: method, who, scopes.
"""

import base64
import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

PORT, TOP = int(sys.argv[1]), Path(sys.argv[2])
LOCK = threading.Lock()
GIVEN: list[str] = []
HOUR = 3600


def in_base64(data: bytes) -> str:
    """base64url without padding, as in a JSON Web Token."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def allowed(user: str, scope: str) -> dict:
    """What of a scope ("repository:public/x:pull,push") a user ("" for nobody) is given."""
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    wanted = actions.split(",")
    given = wanted if user else [action for action in wanted if action == "pull" and name.startswith("public/")]
    return {"type": kind, "name": name, "actions": given}


def token(user: str, service: str, scopes: list[str], begin: float) -> str:
    """A JSON Web Token, signed as RS256."""
    chain = "".join((TOP / "crt").read_text().splitlines()[1:-1])
    header = {"typ": "JWT", "alg": "RS256", "x5c": [chain]}
    claims = {
        "iss": "lab",
        "sub": user,
        "aud": service,
        "iat": int(begin),
        "nbf": int(begin) - 1,
        "exp": int(begin) + HOUR,
        "jti": str(begin),
        "access": [allowed(user, scope) for scope in scopes],
    }
    signed = ".".join(in_base64(json.dumps(part).encode()) for part in (header, claims))
    signature = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", TOP / "key"], input=signed.encode(), capture_output=True, check=True
    ).stdout
    return f"{signed}.{in_base64(signature)}"


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, status: int, document: dict) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        words = parse_qs(self.path.partition("?")[2])
        given = base64.b64decode((self.headers.get("Authorization") or "Basic ").partition(" ")[2]).decode()
        user = given.partition(":")[0]
        if given not in ("", "me:secret"):
            self.note(user, words)
            self.reply(401, {"errors": [{"code": "UNAUTHORIZED", "message": "incorrect username or password"}]})
        else:
            self.give(user, words)

    def do_POST(self) -> None:
        words = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        words["scope"] = words.get("scope", [""])[0].split()
        if (words["grant_type"], words.get("refresh_token")) != (["refresh_token"], ["identity-of-me"]):
            self.note("", words)
            self.reply(401, {"errors": [{"code": "UNAUTHORIZED", "message": "no such identity"}]})
        else:
            self.give("me", words)

    def give(self, user: str, words: dict[str, list[str]]) -> None:
        self.note(user, words)
        behaviour = json.loads((TOP / "behaviour.json").read_text()) if (TOP / "behaviour.json").exists() else {}
        with LOCK:
            GIVEN.append(user)
            old = len(GIVEN) <= behaviour.get("expired", 0)
        begin = time.time() - (2 * HOUR if old else 0)
        name = "access_token" if self.command == "POST" else "token"
        document = {name: token(user, words["service"][0], words.get("scope", []), begin), "expires_in": HOUR}
        if words.get("offline_token") == ["true"] and "plain" not in behaviour:
            document["refresh_token"] = "identity-of-me"
        self.reply(200, document)

    def note(self, user: str, words: dict[str, list[str]]) -> None:
        with LOCK, (TOP / "log").open("a") as log:
            log.write(
                json.dumps(
                    {
                        "method": self.command,
                        "user": user,
                        "scopes": words.get("scope", []),
                        "account": words.get("account", [""])[0],
                    }
                )
                + "\n"
            )


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    print("ready", flush=True)
    server.serve_forever()
