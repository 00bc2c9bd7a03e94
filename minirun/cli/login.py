"""`login logout`: who we are to registries."""

from __future__ import annotations

import os
import sys

from minirun.cli.grammar import Option, Options, Verb
from minirun.cli.kinds import BOOL, STRING
from minirun.errors import ClientError


def login(options: Options) -> int:
    """See whether a registry takes a name and a password, and write them down."""
    from minirun.engine import registries
    from minirun.image import credentials, reference
    from minirun.image.entrance import Credentials
    from minirun.image.registry import Registry

    domain, shown = _server(options.server)
    user, password = _name_and_password(options)
    source = registries.source()
    found = Credentials(user, password)
    if not user:
        found = source.credentials(domain)
        if found:
            print("Authenticating with existing credentials...")
        else:
            found = _ask(shown)
    registry = Registry(source.connection, reference.Reference(domain, ""), found)
    registry.login()
    if found.user:
        kept = credentials.keep(domain, found)
        if kept:
            print(f"WARNING! Your password will be stored unencrypted in {kept}.\n"
                  "A credential helper (\"credsStore\" in that file) keeps it elsewhere.\n", file=sys.stderr)
    print("Login Succeeded")
    return 0


def logout(options: Options) -> int:
    """Forget a registry's name and password."""
    from minirun.image import credentials

    domain, shown = _server(options.server)
    print(f"Removing login credentials for {shown}")
    credentials.forget(domain)
    return 0


def _server(word: str) -> tuple[str, str]:
    """The domain that a word means ("https://" before it and a path behind it do not matter), and how it is shown."""
    from minirun.image.credentials import HUB_KEY
    from minirun.image.registry import HUB

    host = word.partition("://")[2] if "://" in word else word
    host = host.partition("/")[0]
    if host in ("", HUB, "index.docker.io", "registry-1.docker.io"):
        return HUB, HUB_KEY
    return host, host


def _name_and_password(options: Options) -> tuple[str, str]:
    """What the command line and standard input say. Errors: ClientError in the words of Docker's client."""
    password = options.password
    if password:
        print("WARNING! Using --password via the CLI is insecure. Use --password-stdin.", file=sys.stderr)
        if options.password_stdin:
            raise ClientError("--password and --password-stdin are mutually exclusive", exit_code=1)
    if options.password_stdin:
        if not options.username:
            raise ClientError("Must provide --username with --password-stdin", exit_code=1)
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if options.username and not password:
        password = _secret()
    return options.username, password


def _ask(server: str):  # type: ignore[no-untyped-def]  # Credentials, which is loaded when somebody logs in
    from minirun.image.entrance import Credentials

    if not (os.isatty(0) and os.isatty(1)):
        raise ClientError("Error: Cannot perform an interactive login from a non TTY device", exit_code=1)
    user = input(f"Username for {server}: ").strip()
    if not user:
        raise ClientError("username is required", exit_code=1)
    return Credentials(user, _secret())


def _secret() -> str:
    if not os.isatty(0):
        raise ClientError("Error: Cannot perform an interactive login from a non TTY device", exit_code=1)
    from getpass import getpass

    password = getpass("Password: ")
    if not password:
        raise ClientError("password is required", exit_code=1)
    return password


VERBS = {
    "login": Verb("login", "Log in to a Docker registry", "[OPTIONS] [SERVER]", login, takes=("server?",), options=(
        Option("password", STRING, "Password", short="p"),
        Option("password-stdin", BOOL, "Take the password from stdin"),
        Option("username", STRING, "Username", short="u")),
        help="Log in to a Docker registry.\nIf no server is specified, the default is defined by the daemon."),
    "logout": Verb("logout", "Log out from a Docker registry", "[SERVER]", logout, takes=("server?",),
                   help="Log out from a Docker registry.\nIf no server is specified, the default is defined by the "
                        "daemon."),
}
