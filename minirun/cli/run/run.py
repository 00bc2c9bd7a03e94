"""`run` and `create`: Docker's client side of them, which reads files, checks syntax and then asks the engine."""

from __future__ import annotations

import os
import sys

from minirun.cli.parser.grammar import Options, Verb
from minirun.cli.run import network
from minirun.cli.run.options import CREATE, RUN
from minirun.errors import ClientError, EngineError, NoSuchImage, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon


def run(daemon: Daemon, options: Options) -> int:
    """Run a command in a new container; the exit code is the command's."""
    complete(options)
    _check_wishes(options, None)
    if options.detach and options.attach:
        raise ClientError("Conflicting options: -a and -d", exit_code=1)
    wants_stdin = "stdin" in options.attach if options.attach else options.interactive
    if options.tty and wants_stdin and not options.detach and not os.isatty(0):
        raise ClientError("the input device is not a TTY", exit_code=1)
    from minirun.engine.shim import prefork

    monitor = prefork.take(daemon)  # begun before what we need is loaded
    from minirun.engine import start

    warn(daemon, options)
    if options.pull == "always":
        _pull(daemon, options, None)
    try:
        return start.run(daemon, options, monitor)
    except NoSuchImage as error:
        _fetch(daemon, error, options, None)
    return start.run(daemon, options, monitor)


def create(daemon: Daemon, options: Options) -> int:
    """Make a container and print its ID."""
    complete(options)
    _check_wishes(options, 1)
    options.detach = False  # the engine reads one set of options for both verbs
    options.sig_proxy, options.detach_keys = True, ""
    from minirun.engine import create

    warn(daemon, options)
    if options.pull == "always":
        _pull(daemon, options, 1)
    try:
        print(create.create(daemon, options).id)
    except NoSuchImage as error:
        _fetch(daemon, error, options, 1)
        print(create.create(daemon, options).id)
    return 0


def _check_wishes(options: Options, exit_code: int | None) -> None:
    """What is wished of the image. Arguments: exit_code (int), of the verb; None for `run`'s, which says "See ..."."""
    if options.platform:
        from minirun.image import platforms  # few ask for one

        try:
            platforms.parse(options.platform)
        except EngineError as error:
            raise ClientError(f"error parsing specified platform: {error.message}", exit_code=exit_code) from None
    if not options.disable_content_trust:
        from minirun.cli.image import pull_push

        pull_push.check_trust(options, exit_code)


def _fetch(daemon: Daemon, error: NoSuchImage, options: Options, exit_code: int | None) -> None:
    """Have a missing image come, if that is wanted; else the error stands."""
    if options.pull != "missing":
        raise error from None
    word = error.message.removeprefix("No such image: ")
    if word == error.message:  # it is here, for another platform
        from minirun.image import reference

        word = reference.parse(options.image).with_tag().familiar
    print(f"Unable to find image '{word}' locally", file=sys.stderr)
    _pull(daemon, options, exit_code)


def _pull(daemon: Daemon, options: Options, exit_code: int | None) -> None:
    from minirun.cli.image import pull_push  # most images are here

    pull_push.pull_missing(daemon, options.image, options.platform, exit_code)


def complete(options: Options) -> None:
    """Do what Docker's client does between reading the words and asking the daemon.

    The files of --env-file and --label-file come before what stands on the command line; hidden spellings are
    folded into the usual ones. Errors: ClientError.
    """
    if options.env_file or options.label_file:
        read_files(options)
    options.dns_option += options.dns_opt
    options.dns_opt = []
    network.settle(options)
    if options.pull not in ("always", "missing", "never"):
        raise ClientError(f'invalid pull option: \'{options.pull}\': must be one of "always", "missing" or "never"')
    if options.restart not in ("", "no"):
        raise UsageError("minirun does not have --restart yet")
    if options.mac_address and not _is_mac(options.mac_address):
        raise ClientError(f"{options.mac_address} is not a valid mac address")
    options.port_bindings, options.exposed_ports = {}, {}
    if options.publish or options.expose:
        from minirun.cli.run import publish  # few containers are reached from outside

        publish.read(options)
        if options.network == "host" and options.publish:
            print("WARNING: Published ports are discarded when using host network mode", file=sys.stderr)
    for word in options.security_opt:
        if word != "no-new-privileges" and "=" not in word and ":" not in word:
            raise ClientError(f'Invalid --security-opt: "{word}"')
    if options.cidfile and os.path.lexists(options.cidfile):
        raise ClientError(
            "container ID file found, make sure the other container isn't running or delete " + options.cidfile
        )


def warn(daemon: Daemon, options: Options) -> None:
    """Say what will not work, though it can be made."""

    if not daemon.settings.ip_forward and options.network not in ("host", "none"):
        from minirun.network.bridge import device

        if not device.is_forwarding():
            print("WARNING: IPv4 forwarding is disabled. Networking will not work.", file=sys.stderr)


def read_files(options: Options) -> None:
    """Put what --env-file and --label-file hold before what stands on the command line."""
    from minirun.engine.spec import env  # few command lines name such files

    options.env = env.variables(options.env, env.contents(options.env_file), os.environ)
    labels = env.labels(options.label, env.contents(options.label_file))
    options.label = [f"{name}={value}" for name, value in labels.items()]
    options.env_file, options.label_file = [], []


def _is_mac(text: str) -> bool:
    """Six bytes in hexadecimal: 02:42:ac:11:00:02, 02-42-ac-11-00-02 or 0242.ac11.0002."""
    for separator, width in ((":", 2), ("-", 2), (".", 4)):
        parts = text.split(separator)
        if len(parts) * width == 12:
            return all(len(part) == width and not part.lower().strip("0123456789abcdef") for part in parts)
    return False


USAGE = "[OPTIONS] IMAGE [COMMAND] [ARG...]"
VERBS = {
    "run": Verb(
        "run",
        "Run a command in a new container",
        USAGE,
        run,
        takes=("image", "command*"),
        options=RUN,
        interspersed=False,
    ),
    "create": Verb(
        "create",
        "Create a new container",
        USAGE,
        create,
        takes=("image", "command*"),
        options=CREATE,
        interspersed=False,
    ),
}
