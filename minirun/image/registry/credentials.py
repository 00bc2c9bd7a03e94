"""Credentials for registries, stored in the files of Docker's client: `docker login` also logs minirun in.

    $DOCKER_CONFIG/config.json, ~/.docker/config.json    what `login` writes: {"auths": {HOST: {"auth": base64}}}
    $REGISTRY_AUTH_FILE, $XDG_RUNTIME_DIR/containers/auth.json, ~/.config/containers/auth.json   Podman's and skopeo's

The first file may name a credential helper for a host, or for all: a program docker-credential-NAME that reads a host
from its standard input and prints JSON (github.com/docker/docker-credential-helpers). Podman's files have the same
format, with keys that may have a path after the host: "registry.example/team".
"""

from __future__ import annotations

import base64
import json
import os

from minirun import jsoncodec, store
from minirun.errors import MinirunError
from minirun.image.registry.auth import Credentials
from minirun.image.registry.client import HUB
from minirun.kernel import process
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

#: The key of Docker Hub's credentials.
HUB_SERVER = "https://index.docker.io/v1/"
#: A helper's user name for an identity token.
TOKEN_USER = "<token>"


def load(domain: str, path: str = "") -> Credentials:
    """The stored credentials for a repository; empty ones if there are none.

    Arguments: domain and path (str), of a reference. Errors: MinirunError for a file that is not JSON, or a helper
    that fails.
    """
    key = config_key(domain)
    config = _read(config_path())
    helper = _helper(config, key)
    if helper:
        found = _helper_get(helper, key)
        if found:
            return found
    place = f"{_host_path(key)}/{path}/"
    for document in (config, *map(_read, _podman_paths())):
        auths = document.get("auths")
        known = {
            _host_path(name): found
            for name, entry in (auths if isinstance(auths, dict) else {}).items()
            if isinstance(entry, dict) and (found := _decode_entry(entry))
        }
        for name in sorted(known, key=len, reverse=True):  # the longest match counts
            if place.startswith(f"{name}/"):
                return known[name]
    return Credentials()


def config_key(domain: str) -> str:
    """The key of a registry in config.json. Arguments: domain (str), "docker.io", "host:5000"."""
    return HUB_SERVER if domain == HUB else domain


def config_path() -> str:
    """The path of the file that `login` writes."""
    directory = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    return f"{directory}/config.json"


def save(domain: str, credentials: Credentials) -> str:
    """Store credentials. Returns: the path of the file if they are stored there unencrypted, else "".

    Errors: MinirunError for a file that is not JSON or cannot be written, or a helper that fails.
    """
    key, config = config_key(domain), _read(config_path())
    helper = _helper(config, key)
    if helper:
        words = {
            "ServerURL": key,
            "Username": TOKEN_USER if credentials.identity_token else credentials.user,
            "Secret": credentials.identity_token or credentials.password,
        }
        result = _run(helper, "store", jsoncodec.dumps(words))
        if result.code != 0:
            raise _helper_error("storing", result)
        _auths(config)[key] = {}
        _write(config)
        return ""
    pair = f"{credentials.user}:{'' if credentials.identity_token else credentials.password}".encode()
    _auths(config)[key] = {"auth": base64.b64encode(pair).decode()}
    if credentials.identity_token:
        _auths(config)[key]["identitytoken"] = credentials.identity_token
    _write(config)
    return config_path()


def erase(domain: str) -> bool:
    """Remove a registry's credentials. Returns: whether there were any."""
    key, config = config_key(domain), _read(config_path())
    helper = _helper(config, key)
    if helper:
        _run(helper, "erase", key)  # fails when the helper does not have it
    gone = [known for known in _auths(config) if _host_path(known) == _host_path(key)]
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


def _helper_get(helper: str, key: str) -> Credentials:
    """Ask a credential helper. Returns: empty credentials when it has none. Errors: MinirunError when it fails."""
    result = _run(helper, "get", key)
    if result.code != 0:
        if "credentials not found" in result.out:
            return Credentials()
        raise _helper_error("getting", result)
    try:
        document: Any = jsoncodec.loads(result.out)
        user, secret = document["Username"], document["Secret"]
    except (ValueError, KeyError, TypeError):
        raise _helper_error(
            "getting", process.Result(0, "", "its answer is not JSON with a Username and a Secret")
        ) from None
    return Credentials(identity_token=secret) if user == TOKEN_USER else Credentials(user, secret)


def _run(helper: str, verb: str, stdin: str) -> process.Result:
    """Run a credential helper. A missing program is a result with code 1."""
    program = f"docker-credential-{helper}"
    try:
        return process.run([program, verb], stdin=stdin, check=False, environment=dict(os.environ))
    except MinirunError:
        return process.Result(1, "", f'exec: "{program}": executable file not found in $PATH')


def _helper_error(doing: str, result: process.Result) -> MinirunError:
    err, out = result.err.strip() or f"exit status {result.code}", result.out.strip()
    return MinirunError(f"error {doing} credentials - err: {err}, out: `{out}`".replace("\n", " "))


def _decode_entry(entry: dict) -> Credentials:
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


def _host_path(key: str) -> str:
    """The host, with a path if any, that a key stands for: old files have "https://host/v1/" for "host"."""
    host, _, path = key.rpartition("://")[2].strip("/").partition("/")
    host = "index.docker.io" if host in ("docker.io", "registry-1.docker.io") else host
    return f"{host}/{path}" if path and path not in ("v1", "v2") else host


def _auths(config: dict) -> dict:
    if not isinstance(config.get("auths"), dict):
        config["auths"] = {}
    return config["auths"]


def _podman_paths() -> list[str]:
    """The files of Podman and skopeo (containers-auth.json(5))."""
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
    """Write config.json as Docker's client does: mode 0600, indented with tabs, for people edit it."""
    store.make_directory(os.path.dirname(config_path()))
    store.write_text(os.path.realpath(config_path()), json.dumps(config, indent="\t"))
