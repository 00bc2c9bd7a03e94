"""Names and passwords for registries, where Docker's client keeps them: `docker login` and `minirun login` are one.

    $DOCKER_CONFIG/config.json, ~/.docker/config.json    what `login` writes: {"auths": {HOST: {"auth": base64}}}
    $REGISTRY_AUTH_FILE, $XDG_RUNTIME_DIR/containers/auth.json, ~/.config/containers/auth.json   Podman's and skopeo's

The first file may leave a host, or all of them, to a helper: a program docker-credential-NAME that reads a host on its
standard input and prints JSON (github.com/docker/docker-credential-helpers). Podman's files have the same form, and
keys that may go on after the host: "registry.example/team".
"""

from __future__ import annotations

import base64
import os

from minirun import jsoncodec, store
from minirun.errors import MinirunError
from minirun.image.registry.auth import Credentials
from minirun.image.registry.client import HUB
from minirun.kernel import process
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

#: Under which name Docker Hub's password is kept.
HUB_KEY = "https://index.docker.io/v1/"
#: What a helper has instead of a user's name when the secret is a token.
TOKEN_USER = "<token>"


def find(domain: str, path: str = "") -> Credentials:
    """What is known for a registry; empty credentials if nothing is.

    Arguments: domain and path (str), of a reference. Errors: MinirunError for a file that is not JSON, or a helper
    that fails.
    """
    key = config_key(domain)
    config = _read(config_path())
    helper = _helper(config, key)
    if helper:
        found = _ask_helper(helper, key)
        if found:
            return found
    place = f"{_place(key)}/{path}/"
    for document in (config, *map(_read, _other_paths())):
        auths = document.get("auths")
        known = {
            _place(name): found
            for name, entry in (auths if isinstance(auths, dict) else {}).items()
            if isinstance(entry, dict) and (found := _decoded(entry))
        }
        for name in sorted(known, key=len, reverse=True):  # the one that says most
            if place.startswith(f"{name}/"):
                return known[name]
    return Credentials()


def config_key(domain: str) -> str:
    """Under which name a registry's password is kept. Arguments: domain (str), "docker.io", "host:5000"."""
    return HUB_KEY if domain == HUB else domain


def config_path() -> str:
    """The file that `login` writes."""
    directory = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    return f"{directory}/config.json"


def keep(domain: str, credentials: Credentials) -> str:
    """Write credentials down. Returns: the path of the file if they lie there in plain text, else "".

    Errors: MinirunError for a file that is not JSON or cannot be written, or a helper that fails.
    """
    key, config = config_key(domain), _read(config_path())
    helper = _helper(config, key)
    if helper:
        words = {
            "ServerURL": key,
            "Username": TOKEN_USER if credentials.identity else credentials.user,
            "Secret": credentials.identity or credentials.password,
        }
        result = _run(helper, "store", jsoncodec.dumps(words))
        if result.code != 0:
            raise _failed("storing", result)
        _auths(config)[key] = {}
        _write(config)
        return ""
    pair = f"{credentials.user}:{'' if credentials.identity else credentials.password}".encode()
    _auths(config)[key] = {"auth": base64.b64encode(pair).decode()}
    if credentials.identity:
        _auths(config)[key]["identitytoken"] = credentials.identity
    _write(config)
    return config_path()


def forget(domain: str) -> bool:
    """Remove a registry's credentials. Returns: whether there were any."""
    key, config = config_key(domain), _read(config_path())
    helper = _helper(config, key)
    if helper:
        _run(helper, "erase", key)  # it may have forgotten it already
    gone = [known for known in _auths(config) if _place(known) == _place(key)]
    for known in gone:
        del config["auths"][known]
    if gone:
        _write(config)
    return bool(gone or helper)


def _helper(config: dict, key: str) -> str:
    helpers = config.get("credHelpers")
    name = (helpers if isinstance(helpers, dict) else {}).get(key) or config.get("credsStore") or ""
    if not isinstance(name, str) or "/" in name:
        raise MinirunError(f"{config_path()}: a credential helper is a word")
    return name


def _ask_helper(helper: str, key: str) -> Credentials:
    """What a helper knows. Errors: MinirunError when it fails; one that knows nothing is no error."""
    result = _run(helper, "get", key)
    if result.code != 0:
        if "credentials not found" in result.out:
            return Credentials()
        raise _failed("getting", result)
    try:
        answer: Any = jsoncodec.loads(result.out)
        user, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError):
        raise _failed("getting", process.Result(0, "", "its answer is not JSON with a Username and a Secret")) from None
    return Credentials(identity=secret) if user == TOKEN_USER else Credentials(user, secret)


def _run(helper: str, verb: str, stdin: str) -> process.Result:
    """Ask a helper. One that is not there has failed, too."""
    program = f"docker-credential-{helper}"
    try:
        return process.run([program, verb], stdin=stdin, check=False, environment=dict(os.environ))
    except MinirunError:
        return process.Result(1, "", f'exec: "{program}": executable file not found in $PATH')


def _failed(doing: str, result: process.Result) -> MinirunError:
    err, out = result.err.strip() or f"exit status {result.code}", result.out.strip()
    return MinirunError(f"error {doing} credentials - err: {err}, out: `{out}`".replace("\n", " "))


def _decoded(entry: dict) -> Credentials:
    words = {
        key: entry[key] for key in ("identitytoken", "auth", "username", "password") if isinstance(entry.get(key), str)
    }
    try:
        user, _, password = base64.b64decode(words.get("auth", "")).decode().partition(":")
    except ValueError:
        user = password = ""
    return Credentials(
        user or words.get("username", ""),
        password.rstrip("\0") or words.get("password", ""),
        words.get("identitytoken", ""),
    )


def _place(key: str) -> str:
    """What a key is for, "host" or "host/team": old files have "https://host/v1/" for "host"."""
    host, _, path = key.rpartition("://")[2].strip("/").partition("/")
    host = "index.docker.io" if host in ("docker.io", "registry-1.docker.io") else host
    return f"{host}/{path}" if path and path not in ("v1", "v2") else host


def _auths(config: dict) -> dict:
    if not isinstance(config.get("auths"), dict):
        config["auths"] = {}
    return config["auths"]


def _other_paths() -> list[str]:
    """Where Podman and skopeo keep theirs (containers-auth.json(5))."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or "/run/containers/0"
    return [
        found
        for found in (
            os.environ.get("REGISTRY_AUTH_FILE"),
            f"{runtime}/containers/auth.json",
            "/run/containers/0/auth.json",
            os.path.expanduser("~/.config/containers/auth.json"),
        )
        if found
    ]


def _read(file: str) -> dict:
    try:
        document = store.read(file)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except PermissionError:
        raise MinirunError(f"{file}: permission denied") from None
    except UnicodeDecodeError:
        document = None
    if not isinstance(document, dict):
        raise MinirunError(f"{file}: expected a JSON object")
    return document


def _write(config: dict) -> None:
    """Write Docker's client's file, as it writes it: for its owner alone, and with tabs."""
    import json  # store writes one line, and people edit this file

    store.make_directory(os.path.dirname(config_path()))
    store.write_text(os.path.realpath(config_path()), json.dumps(config, indent="\t"))
