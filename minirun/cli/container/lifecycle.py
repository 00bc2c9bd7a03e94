"""`start`, `stop`, `restart`, `kill`, `wait`, `rm`: the verbs that change the state of existing containers.

Each takes several containers, goes on after a failure and prints the name, as it was typed, of each success.
The engine is imported when a verb acts, because help and completion read the tables below without it.
"""

from __future__ import annotations

import sys

from minirun.cli.parser.grammar import Option, Options, Verb
from minirun.cli.parser.types import BOOL, INT, STRING
from minirun.errors import BadParameter, ClientError, EngineError, MinirunError, NoSuchContainer
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.engine.daemon import Daemon


def start(daemon: Daemon, options: Options) -> int:
    """Start stopped containers. Returns: with -a or -i, which take one container, its exit code."""
    from minirun.engine.container import index
    from minirun.engine.start import start as start_one

    if options.flag("attach") or options.flag("interactive"):
        if len(options.words("containers")) > 1:
            raise ClientError("you cannot start and attach multiple containers at once", exit_code=1)
        try:
            container = index.find(daemon, options.words("containers")[0])
        except NoSuchContainer as error:  # with -a Docker's client looks for itself, and words it differently
            raise ClientError(f"Error: {error.message}", exit_code=1) from None
        from minirun.engine.shim.attach import Attachment

        return start_one(
            container, Attachment(stdin=options.flag("interactive"), detach_keys=options.text("detach_keys"))
        )
    failed = []
    for word in options.words("containers"):
        try:
            start_one(index.find(daemon, word))
            print(word)
        except MinirunError as error:
            _complain(error, "start")
            failed.append(word)
    if failed:
        print("Error: failed to start containers: " + ", ".join(failed), file=sys.stderr)
    return 1 if failed else 0


def stop(daemon: Daemon, options: Options) -> int:
    """Send containers their stop signal, and SIGKILL to those that still run when the timeout is over."""
    from minirun.engine.container import index
    from minirun.engine.stop import stop as stop_one

    return _for_each(
        options.words("containers"),
        "stop",
        lambda word: stop_one(index.find(daemon, word), options.optional_number("time")),
    )


def restart(daemon: Daemon, options: Options) -> int:
    """Stop containers and start them again."""
    from minirun.engine import start
    from minirun.engine.container import index

    return _for_each(
        options.words("containers"),
        "restart",
        lambda word: start.restart(index.find(daemon, word), options.optional_number("time")),
    )


def kill(daemon: Daemon, options: Options) -> int:
    """Send a signal to the first process of running containers."""
    from minirun.engine import stop
    from minirun.engine.container import index

    def signal_one(word: str) -> None:
        try:
            stop.kill(index.find(daemon, word), options.text("signal"))
        except BadParameter:
            raise
        except EngineError as error:
            if not error.message.startswith("Cannot kill container"):
                raise EngineError(f"Cannot kill container: {word}: {error.message}") from None
            raise

    return _for_each(options.words("containers"), "kill", signal_one)


def wait(daemon: Daemon, options: Options) -> int:
    """Block until containers have exited; print the exit code of each."""
    from minirun.engine import stop
    from minirun.engine.container import index

    return _for_each(options.words("containers"), "wait", lambda word: stop.wait(index.find(daemon, word)))


def remove(daemon: Daemon, options: Options) -> int:
    """Remove containers. With -f one that does not exist is reported but is no failure, as with Docker."""
    from minirun.engine.container import index
    from minirun.engine.container.reconcile import reconcile_all
    from minirun.engine.remove import remove as remove_one

    reconcile_all(daemon)  # finish what a killed `rm` has begun

    def remove_word(word: str) -> None:
        word = word.strip("/")
        if not word:
            raise ClientError("Container name cannot be empty")
        remove_one(index.find(daemon, word), force=options.flag("force"), volumes=options.flag("volumes"))

    return _for_each(options.words("containers"), "rm", remove_word, absent_is_fine=options.flag("force"))


def _for_each(words: list[str], verb: str, act: Callable[[str], object], *, absent_is_fine: bool = False) -> int:
    """Do the same to each container; in parallel when there are several, since `stop` may take ten seconds for each."""
    if len(words) > 1 and verb in ("stop", "rm"):
        from minirun.cli.container.parallel import together  # only a command line with several containers pays for it

        outcomes = together(act, words)
    else:
        outcomes = (_outcome(act, word) for word in words)
    failures = 0
    for word, outcome in zip(words, outcomes):
        if isinstance(outcome, MinirunError):
            _complain(outcome, verb)
            failures += not (absent_is_fine and outcome.message.startswith("No such container"))
        else:
            print(outcome if verb == "wait" else word, flush=True)
    return 1 if failures else 0


def _outcome(act: Callable[[str], object], word: str) -> object:
    try:
        return act(word)
    except MinirunError as error:
        return error


def _complain(error: MinirunError, verb: str) -> None:
    from minirun.cli.error_text import complaint

    print(complaint(error, verb), file=sys.stderr)


USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
SOME = ("containers+",)
VERBS = {
    "start": Verb(
        "start",
        "Start one or more stopped containers",
        USAGE,
        start,
        takes=SOME,
        options=(
            Option("attach", BOOL, "Attach STDOUT/STDERR and forward signals", short="a"),
            Option("detach-keys", STRING, "Override the key sequence for detaching a container"),
            Option("interactive", BOOL, "Attach container's STDIN", short="i"),
        ),
    ),
    "stop": Verb(
        "stop",
        "Stop one or more running containers",
        USAGE,
        stop,
        takes=SOME,
        options=(
            Option("time", INT, "Seconds to wait for stop before killing it", short="t", default=None, shown="10"),
        ),
    ),
    "restart": Verb(
        "restart",
        "Restart one or more containers",
        USAGE,
        restart,
        takes=SOME,
        options=(
            Option(
                "time",
                INT,
                "Seconds to wait for stop before killing the container",
                short="t",
                default=None,
                shown="10",
            ),
        ),
    ),
    "kill": Verb(
        "kill",
        "Kill one or more running containers",
        USAGE,
        kill,
        takes=SOME,
        options=(
            Option("signal", STRING, "Signal to send to the container", short="s", default="KILL", shown='"KILL"'),
        ),
    ),
    "wait": Verb(
        "wait",
        "Block until one or more containers stop, then print their exit codes",
        "CONTAINER [CONTAINER...]",
        wait,
        takes=SOME,
    ),
    "rm": Verb(
        "rm",
        "Remove one or more containers",
        USAGE,
        remove,
        takes=SOME,
        options=(
            Option("force", BOOL, "Force the removal of a running container (uses SIGKILL)", short="f"),
            Option("volumes", BOOL, "Remove anonymous volumes associated with the container", short="v"),
        ),
    ),
}
