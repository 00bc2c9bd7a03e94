"""`login logout`: who we are to registries."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from minirun.cli.parser.grammar import Option, Options, Verb
from minirun.cli.parser.types import BOOL, STRING
from minirun.errors import ClientError, EngineError, MinirunError

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon
    from minirun.image.registry.auth import Credentials
    from minirun.image.transfer.mirrors import RegistryHosts

UNENCRYPTED = """\
WARNING! Your password will be stored unencrypted in {}.
Configure a credential helper to remove this warning. See
https://docs.docker.com/engine/reference/commandline/login/#credentials-store
"""
HUB_IS = (
    "Login with your Docker ID to push and pull images from Docker Hub. If you don't have a Docker ID, head over "
    "to https://hub.docker.com to create one."
)


def login(daemon: Daemon, options: Options) -> int:
    """See whether a registry takes a name and a password, and write them down."""
    from minirun.engine import registry_config
    from minirun.image.registry import credentials
    from minirun.image.registry.client import HUB

    domain, _ = _server(options.text("server"))
    password = _given_password(options)
    hosts = registry_config.registry_hosts(daemon)
    found = hosts.credentials(domain, "") if not (options.text("username") or password) else None
    if not (found and found.password and _still_good(hosts, domain, found)):
        found = _ask(options.text("username"), password, found.user if found else "", hub=domain == HUB)
        found.identity_token = _try(hosts, domain, found)
    try:
        kept = credentials.save(domain, found)
    except MinirunError as error:
        raise ClientError(f"Error saving credentials: {error.message}", hint=error.hint, exit_code=1) from None
    if kept and not found.identity_token:
        print(UNENCRYPTED.format(kept), file=sys.stderr)
    print("Login Succeeded")
    return 0


def _try(hosts: RegistryHosts, domain: str, found: Credentials) -> str:
    """See whether a registry lets us in. Returns: a token to keep instead of the password, if it has given one."""
    from minirun.image.reference import Reference
    from minirun.image.registry.client import Registry

    registry = Registry(hosts.http, Reference(domain, ""), found)
    registry.login()
    return registry.authorizer.identity_token


def _still_good(hosts: RegistryHosts, domain: str, found: Credentials) -> bool:
    print("Authenticating with existing credentials...", flush=True)
    try:
        found.identity_token = _try(hosts, domain, found)
    except EngineError as error:
        print(f"Login did not succeed, error: Error response from daemon: {error.message}", file=sys.stderr)
        return False
    return True


def logout(daemon: Daemon, options: Options) -> int:
    """Forget a registry's name and password."""
    from minirun.image.registry import credentials

    domain, shown = _server(options.text("server"))
    print(f"Removing login credentials for {shown}")
    credentials.erase(domain)
    return 0


def _server(word: str) -> tuple[str, str]:
    """The domain that a word means ("https://" before it and a path behind it do not matter), and how it is shown."""
    from minirun.image.registry.client import HUB
    from minirun.image.registry.credentials import HUB_SERVER

    host = word.partition("://")[2] if "://" in word else word
    host = host.partition("/")[0]
    if host in ("", HUB, "index.docker.io", "registry-1.docker.io"):
        return HUB, HUB_SERVER
    return host, host


def _given_password(options: Options) -> str:
    """What the command line and standard input say. Errors: ClientError in the words of Docker's client."""
    if options.text("password"):
        print("WARNING! Using --password via the CLI is insecure. Use --password-stdin.", file=sys.stderr)
        if options.flag("password_stdin"):
            raise ClientError("--password and --password-stdin are mutually exclusive", exit_code=1)
    if not options.flag("password_stdin"):
        return options.text("password")
    if not options.text("username"):
        raise ClientError("Must provide --username with --password-stdin", exit_code=1)
    return sys.stdin.read().removesuffix("\n").removesuffix("\r")


def _ask(user: str, password: str, before: str, *, hub: bool) -> Credentials:
    """Ask for what is not known. Arguments: before (str), the user's name of the last time; hub, it is Docker Hub.

    Errors: ClientError in the words of Docker's client.
    """
    from minirun.image.registry.auth import Credentials

    if not (password or os.isatty(0)):
        raise ClientError("Error: Cannot perform an interactive login from a non TTY device", exit_code=1)
    if not user.strip():
        if hub:
            print(HUB_IS)
        user = _line(f"Username ({before}): " if before else "Username: ").strip() or before
    if not user:
        raise ClientError("Error: Non-null Username Required", exit_code=1)
    password = password or _secret()
    if not password:
        raise ClientError("Error: Password Required", exit_code=1)
    return Credentials(user.strip(), password)


def _line(question: str) -> str:
    print(question, end="", flush=True)
    line = sys.stdin.readline()
    if not line:
        print("EOF")
        raise SystemExit(1)
    return line.rstrip("\r\n")


def _secret() -> str:
    """A line read from the terminal with echo off (termios(3))."""
    import termios

    before = termios.tcgetattr(0)
    hidden = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    try:
        termios.tcsetattr(0, termios.TCSADRAIN, hidden)
        return _line("Password: ")
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        print(flush=True)


VERBS = {
    "login": Verb(
        "login",
        "Log in to a Docker registry",
        "[OPTIONS] [SERVER]",
        login,
        takes=("server?",),
        options=(
            Option("password", STRING, "Password", short="p"),
            Option("password-stdin", BOOL, "Take the password from stdin"),
            Option("username", STRING, "Username", short="u"),
        ),
        help="Log in to a Docker registry.\nIf no server is specified, the default is defined by the daemon.",
    ),
    "logout": Verb(
        "logout",
        "Log out from a Docker registry",
        "[SERVER]",
        logout,
        takes=("server?",),
        help="Log out from a Docker registry.\nIf no server is specified, the default is defined by the daemon.",
    ),
}
