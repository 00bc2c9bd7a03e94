"""`pull push`: images come from registries and go there."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from minirun.cli.parser.grammar import Option, Options, Verb
from minirun.cli.parser.types import BOOL, STRING
from minirun.errors import BadParameter, ClientError, EngineError, MinirunError, NoSuchImage
from minirun.image import reference

if TYPE_CHECKING:
    from typing import TextIO

    from minirun.engine.daemon import Daemon
    from minirun.image.progress import Progress
    from minirun.image.reference import Reference

#: Images for which there is a recipe that makes them of what their distribution publishes.
RECIPES = ("alpine", "busybox", "debian")


def pull(daemon: Daemon, options: Options) -> int:
    """Have an image come, or all of a repository, and print the full name at the end."""
    asked = _repository(options)
    name = asked if options.flag("all_tags") else reference.parse_for_pull(options.text("name"))
    if not (asked.tag or asked.digest or options.flag("quiet") or options.flag("all_tags")):
        print("Using default tag: latest", flush=True)
    shown = (asked if asked.digest else name).full
    if not options.flag("all_tags") and _is_unchanged(
        daemon, name, options.text("platform"), None if options.flag("quiet") else sys.stdout
    ):
        print(shown)
        return 0
    from minirun.cli.image.progress import Quiet, progress
    from minirun.engine import registry_config
    from minirun.image.transfer import pull as pulling

    take = pulling.pull_all if options.flag("all_tags") else pulling.pull
    images = daemon.images
    with Quiet() if options.flag("quiet") else progress(sys.stdout) as told:
        try:
            pulled = take(images, registry_config.registry_hosts(daemon), name, options.text("platform"), told)
        except EngineError as error:
            raise _worded(error, told) from None
        remark = (
            "" if options.flag("all_tags") else pulling.platform_warning(images, pulled, name, options.text("platform"))
        )
        if remark:
            told.message(remark)
    print(shown)
    return 0


def _is_unchanged(daemon: Daemon, name: Reference, platform: str, told: TextIO | None) -> bool:
    """Whether an image is here and its registry has no other one; if so, say what `pull` says then.

    Arguments: told, where to; None for nowhere. False is also what can only be found out the long way.
    """
    from minirun.engine import registry_config

    digest = "" if platform else registry_config.unchanged(daemon, name)
    if digest and told:
        told.write(
            f"{name.full if name.digest else name.tag}: Pulling from {name.path}\nDigest: {digest}\n"
            f"Status: Image is up to date for {name.familiar}\n"
        )
        told.flush()
    return bool(digest)


def pull_missing(daemon: Daemon, word: str, platform: str, exit_code: int | None) -> None:
    """What `run` and `create` do about an image that is not here, or with --pull always; told on standard error.

    Arguments: exit_code (int), when it fails midway; None for `run`'s own.
    Errors: BadParameter in the words of Docker's daemon, with a hint when there is another way to the image.
    """
    name = reference.parse_for_pull(word)
    if _is_unchanged(daemon, name, platform, sys.stderr):
        return
    from minirun.cli.image.progress import progress
    from minirun.engine import registry_config
    from minirun.image.registry.http_errors import Unreachable
    from minirun.image.transfer import pull as pulling

    with progress(sys.stderr) as told:
        try:
            pulling.pull(daemon.images, registry_config.registry_hosts(daemon), name, platform, told)
        except EngineError as error:
            if told.started:
                raise _worded(error, told, exit_code) from None
            hint = recipe_hint(name.familiar_name) if isinstance(error, Unreachable) else error.hint
            raise BadParameter(error.message, hint=hint) from None


def _worded(error: EngineError, told: Progress, exit_code: int | None = 1) -> MinirunError:
    """Docker's daemon says what fails after the beginning in the stream of progress, and without its usual words."""
    return ClientError(error.message, hint=error.hint, exit_code=exit_code) if told.started else error


def _repository(options: Options) -> Reference:
    """The name that was asked for, with -a one without a tag. Errors: ClientError in the words of Docker's client."""
    name = reference.parse(options.text("name"))
    if options.flag("all_tags") and (name.tag or name.digest):
        raise ClientError("tag can't be used with --all-tags/-a", exit_code=1)
    check_trust(options)
    return name


def check_trust(options: Options, exit_code: int | None = 1) -> None:
    """Refuse --disable-content-trust=false: minirun neither signs images nor checks signatures."""
    if not options.flag("disable_content_trust"):
        raise ClientError(
            "minirun has no content trust: images are checked against their digests, not against signatures",
            exit_code=exit_code,
        )


def recipe_hint(name: str) -> str:
    """Which recipe makes an image where no registry can be reached. Arguments: name (str), "alpine"."""
    if name in RECIPES:
        return f"no registry can be reached; rootfs/{name} makes the image '{name}' without one"
    return (
        "no registry can be reached; without one, "
        + ", ".join(f"rootfs/{known}" for known in RECIPES)
        + " make images, and `minirun import` makes one of any root file system"
    )


def push(daemon: Daemon, options: Options) -> int:
    """Push an image, or with -a all tags of a repository, to the registry that its name says."""
    from minirun.cli.image.progress import Quiet, progress
    from minirun.engine import registry_config
    from minirun.image.transfer import push as pushing

    asked = _repository(options)
    if asked.digest:
        raise ClientError("cannot push a digest reference", exit_code=1)
    name = asked if options.flag("all_tags") else asked.with_tag()
    if not options.flag("quiet"):
        print("" if asked.tag or options.flag("all_tags") else "Using default tag: latest\n", end="")
        print(f"The push refers to repository [{name.name}]", flush=True)
    images = daemon.images
    names = images.tags(name) if options.flag("all_tags") else [name]
    try:
        if not names:
            raise NoSuchImage(name.familiar)
        with Quiet() if options.flag("quiet") else progress(sys.stdout, "Pushing") as told:
            hosts = registry_config.registry_hosts(daemon)
            for one in names:
                pushing.push(images, images.find(one.familiar), hosts, one, told)
    except NoSuchImage:
        text = (
            f"tag does not exist: {name.familiar}"
            if images.tags(name)
            else f"An image does not exist locally with the tag: {name.familiar_name}"
        )
        raise ClientError(text, exit_code=1) from None
    except EngineError as error:  # Docker's client gets it in the stream of progress, and adds nothing
        raise ClientError(getattr(error, "reason", error.message), hint=error.hint, exit_code=1) from None
    if options.flag("quiet"):
        print(name.familiar)
    return 0


QUIET = Option("quiet", BOOL, "Suppress verbose output", short="q")
VERBS = {
    "pull": Verb(
        "pull",
        "Pull an image or a repository from a registry",
        "[OPTIONS] NAME[:TAG|@DIGEST]",
        pull,
        takes=("name",),
        options=(
            Option("all-tags", BOOL, "Download all tagged images in the repository", short="a"),
            Option("disable-content-trust", BOOL, "Skip image verification", default=True, shown="true"),
            Option("platform", STRING, "Set platform if server is multi-platform capable"),
            QUIET,
        ),
    ),
    "push": Verb(
        "push",
        "Push an image or a repository to a registry",
        "[OPTIONS] NAME[:TAG]",
        push,
        takes=("name",),
        options=(
            Option("all-tags", BOOL, "Push all tagged images in the repository", short="a"),
            Option("disable-content-trust", BOOL, "Skip image signing", default=True, shown="true"),
            QUIET,
        ),
    ),
}
