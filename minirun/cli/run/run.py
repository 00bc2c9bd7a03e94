"""`run` and `create`, the client's side: read files, check syntax, then ask the engine."""

from __future__ import annotations

import os
import sys

from minirun import stringid
from minirun.cli.parser.grammar import Options, Verb
from minirun.cli.run import network
from minirun.cli.run.options import CREATE, RUN
from minirun.errors import ClientError, EngineError, NoSuchImage, UsageError
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from minirun.engine.daemon import Daemon
    from minirun.engine.options import CreateOptions

    T = TypeVar("T")


def run(daemon: Daemon, options: Options) -> int:
    """Run a command in a new container. Returns: the command's exit code, 0 with -d."""
    wanted = create_options(options)
    _check_image_options(options, None)
    if wanted.detach and wanted.attach:
        raise ClientError("Conflicting options: -a and -d", exit_code=1)
    wants_stdin = "stdin" in wanted.attach if wanted.attach else wanted.interactive
    if wanted.tty and wants_stdin and not wanted.detach and not os.isatty(0):
        raise ClientError("the input device is not a TTY", exit_code=1)
    from minirun.engine.shim import prefork

    shim = prefork.take(daemon)  # forked before what we need is loaded
    from minirun.engine import start

    return _with_image(daemon, options, None, wanted, lambda: start.run(daemon, wanted, shim))


def create(daemon: Daemon, options: Options) -> int:
    """Create a container and print its ID."""
    wanted = create_options(options)
    _check_image_options(options, 1)
    from minirun.engine import create

    print(_with_image(daemon, options, 1, wanted, lambda: create.create(daemon, wanted).id))
    return 0


def create_options(options: Options) -> CreateOptions:
    """Make CreateOptions of a command line: what Docker's client does before it calls the daemon's API.

    The files of --env-file and --label-file come before what stands on the command line; hidden spellings are
    folded into the usual ones. Errors: ClientError.
    """
    from minirun.engine.options import CreateOptions

    env, label = options.words("env"), options.words("label")
    if options.words("env_file") or options.words("label_file"):
        env, label = _read_files(options)
    name, endpoint = network.endpoint_settings(options)
    _check_syntax(options)
    bindings: dict[str, list] = {}
    exposed: dict[str, dict] = {}
    if options.words("publish") or options.words("expose"):
        from minirun.cli.run import publish  # few containers are reached from outside

        bindings, exposed = publish.read(options.words("publish"), options.words("expose"))
        if name == "host" and options.words("publish"):
            print("WARNING: Published ports are discarded when using host network mode", file=sys.stderr)
    for word in options.words("security_opt"):
        if word != "no-new-privileges" and "=" not in word and ":" not in word:
            raise ClientError(f'Invalid --security-opt: "{word}"')
    cidfile = options.text("cidfile")
    if cidfile and os.path.lexists(cidfile):
        raise ClientError("container ID file found, make sure the other container isn't running or delete " + cidfile)
    return CreateOptions.of(
        options.values,
        env=env,
        label=label,
        network=name,
        endpoint=endpoint,
        port_bindings=bindings,
        exposed_ports=exposed,
        dns_option=options.words("dns_option") + options.words("dns_opt"),
    )


def _check_syntax(options: Options) -> None:
    pull, mac = options.text("pull"), options.text("mac_address")
    if pull not in ("always", "missing", "never"):
        raise ClientError(f'invalid pull option: \'{pull}\': must be one of "always", "missing" or "never"')
    if options.text("restart") not in ("", "no"):
        raise UsageError("minirun does not have --restart yet")
    if mac and not _is_mac(mac):
        raise ClientError(f"{mac} is not a valid mac address")


def _check_image_options(options: Options, exit_code: int | None) -> None:
    """--platform and --disable-content-trust.

    Arguments: exit_code (int), the verb's for an error; None for `run`'s, whose message ends with "See ...".
    """
    platform = options.text("platform")
    if platform:
        from minirun.image import platforms  # few ask for one

        try:
            platforms.parse(platform)
        except EngineError as error:
            raise ClientError(f"error parsing specified platform: {error.message}", exit_code=exit_code) from None
    if not options.flag("disable_content_trust"):
        from minirun.cli.image import pull_push

        pull_push.check_trust(options, exit_code)


def _with_image(
    daemon: Daemon, options: Options, exit_code: int | None, wanted: CreateOptions, act: Callable[[], T]
) -> T:
    """Call `act`, which needs the image; pull that before with --pull always, or once it proves to be missing."""
    _warn(daemon, wanted)
    pull = options.text("pull")
    if pull == "always":
        _pull(daemon, wanted, exit_code)
    try:
        return act()
    except NoSuchImage as error:
        if pull != "missing":
            raise
        word = error.message.removeprefix("No such image: ")
        if word == error.message:  # it is here, for another platform
            from minirun.image import reference

            word = reference.parse(wanted.image).with_tag().familiar
        print(f"Unable to find image '{word}' locally", file=sys.stderr)
    _pull(daemon, wanted, exit_code)
    return act()


def _pull(daemon: Daemon, wanted: CreateOptions, exit_code: int | None) -> None:
    from minirun.cli.image import pull_push  # most images are here

    pull_push.pull_missing(daemon, wanted.image, wanted.platform, exit_code)


def _warn(daemon: Daemon, wanted: CreateOptions) -> None:
    """Warn of what will not work although the container can be made."""
    if not daemon.settings.ip_forward and wanted.network not in ("host", "none"):
        from minirun.network.bridge import device

        if not device.is_forwarding():
            print("WARNING: IPv4 forwarding is disabled. Networking will not work.", file=sys.stderr)


def _read_files(options: Options) -> tuple[list[str], list[str]]:
    """Environment and labels: what the files hold, and then what stands on the command line."""
    from minirun.engine.spec import env  # few command lines name such files

    variables = env.variables(options.words("env"), env.read_files(options.words("env_file")), os.environ)
    labels = env.labels(options.words("label"), env.read_files(options.words("label_file")))
    return variables, [f"{name}={value}" for name, value in labels.items()]


def _is_mac(text: str) -> bool:
    """Six bytes in hexadecimal: 02:42:ac:11:00:02, 02-42-ac-11-00-02 or 0242.ac11.0002."""
    for separator, width in ((":", 2), ("-", 2), (".", 4)):
        parts = text.split(separator)
        if len(parts) * width == 12:
            return all(len(part) == width and stringid.is_hex(part.lower()) for part in parts)
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
