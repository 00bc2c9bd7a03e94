"""`pull push login logout`: images come from registries and go there; who we are to them."""

from __future__ import annotations

import os
import sys

from minirun.cli.grammar import Option, Options, Verb
from minirun.cli.kinds import BOOL, STRING
from minirun.errors import BadParameter, ClientError, EngineError, NoSuchImage

#: Images for which there is a recipe that makes them of what their distribution publishes.
RECIPES = ("alpine", "busybox", "debian")


def pull(options: Options) -> int:
    """Have an image come, and print its full name at the end."""
    from minirun.cli.images import store
    from minirun.cli.pull_progress import Quiet, witness
    from minirun.engine import registries
    from minirun.image import pull as pulling
    from minirun.image import reference

    asked = reference.parse(options.name)
    name = pulling.parse(options.name)
    if not (asked.tag or asked.digest or options.quiet):
        print("Using default tag: latest", flush=True)
    with Quiet() if options.quiet else witness(sys.stdout) as told:
        pulling.pull(store(), registries.source(), name, options.platform, told)
    print((asked if asked.digest else name).full)
    return 0


def pull_missing(word: str) -> None:
    """What `run` and `create` do about an image that is not here, or with --pull always; told on standard error.

    Errors: BadParameter in the words of Docker's daemon, with a hint when there is another way to the image.
    """
    from minirun.cli.images import store
    from minirun.cli.pull_progress import witness
    from minirun.engine import registries
    from minirun.image import pull as pulling
    from minirun.image.failures import Unreachable

    name = pulling.parse(word)
    try:
        with witness(sys.stderr) as told:
            pulling.pull(store(), registries.source(), name, "", told)
    except EngineError as error:
        hint = error.hint
        if isinstance(error, Unreachable):
            hint = recipe_hint(name.familiar_name)
        raise BadParameter(error.message, hint=hint) from None


def recipe_hint(name: str) -> str:
    """Which recipe makes an image where no registry can be reached. Arguments: name (str), "alpine"."""
    if name in RECIPES:
        return f"no registry can be reached; rootfs/{name} makes the image '{name}' without one"
    return "no registry can be reached; without one, " + ", ".join(f"rootfs/{known}" for known in RECIPES) + \
        " make images, and `minirun import` makes one of any root file system"


def push(options: Options) -> int:
    """Bring an image to the registry that its name says."""
    from minirun.cli.images import store
    from minirun.cli.pull_progress import Quiet, witness
    from minirun.engine import registries
    from minirun.image import push as pushing
    from minirun.image import reference
    from minirun.image.entrance import NO_CREDENTIALS

    asked = reference.parse(options.name)
    if asked.digest:
        raise ClientError("cannot push a digest reference", exit_code=1)
    name = asked.with_tag()
    if not options.quiet:
        print("" if asked.tag else "Using default tag: latest\n", end="")
        print(f"The push refers to repository [{name.name}]", flush=True)
    try:
        with Quiet() if options.quiet else witness(sys.stdout) as told:
            images = store()
            pushing.push(images, images.find(name.familiar), registries.source(), name, told)
    except NoSuchImage:
        raise ClientError(f"An image does not exist locally with the tag: {name.familiar_name}", exit_code=1) from None
    except EngineError as error:  # Docker's client gets it in the stream of progress, and adds nothing
        message = NO_CREDENTIALS if getattr(error, "code", "") == NO_CREDENTIALS else error.message
        raise ClientError(message, hint=error.hint, exit_code=1) from None
    if options.quiet:
        print(name.familiar)
    return 0


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


QUIET = Option("quiet", BOOL, "Suppress verbose output", short="q")
VERBS = {
    "pull": Verb("pull", "Pull an image or a repository from a registry", "[OPTIONS] NAME[:TAG|@DIGEST]", pull,
                 takes=("name",), options=(
        Option("platform", STRING, "Set platform if server is multi-platform capable"), QUIET)),
    "push": Verb("push", "Push an image or a repository to a registry", "[OPTIONS] NAME[:TAG]", push,
                 takes=("name",), options=(QUIET,)),
    "login": Verb("login", "Log in to a Docker registry", "[OPTIONS] [SERVER]", login, takes=("server?",), options=(
        Option("password", STRING, "Password", short="p"),
        Option("password-stdin", BOOL, "Take the password from stdin"),
        Option("username", STRING, "Username", short="u")),
        help="Log in to a Docker registry.\nIf no server is specified, the default is defined by the daemon."),
    "logout": Verb("logout", "Log out from a Docker registry", "[SERVER]", logout, takes=("server?",),
                   help="Log out from a Docker registry.\nIf no server is specified, the default is defined by the "
                        "daemon."),
}
