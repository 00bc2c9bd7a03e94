"""The way in: `minirun [OPTIONS] VERB ...`, from words to an exit code.

A verb costs what it needs and no more: the tables below say which module holds it, and that module alone is loaded.
A command line that the fast reader does not understand goes to click (see grammar.py).
"""

from __future__ import annotations

import posix as os  # os without its Python half, which alone takes a tenth of `ps`
import sys

from minirun.cli.parser import grammar
from minirun.cli.parser.grammar import Option, Options, Verb
from minirun.cli.parser.types import BOOL, STRING
from minirun.errors import MinirunError

#: The module of each verb.
VERBS = {
    "run": "run.run",
    "create": "run.run",
    "exec": "container.exec",
    "start": "container.lifecycle",
    "stop": "container.lifecycle",
    "restart": "container.lifecycle",
    "kill": "container.lifecycle",
    "wait": "container.lifecycle",
    "rm": "container.lifecycle",
    "ps": "container.ps",
    "logs": "container.logs",
    "inspect": "container.inspect",
    "port": "container.port",
    "diff": "container.commit",
    "export": "container.commit",
    "commit": "container.commit",
    "images": "image.images",
    "import": "image.images",
    "rmi": "image.images",
    "tag": "image.tag_prune",
    "history": "image.history",
    "save": "image.save_load",
    "load": "image.save_load",
    "pull": "image.pull_push",
    "push": "image.pull_push",
    "login": "image.login",
    "logout": "image.login",
    "version": "system",
    "info": "system",
    "completion": "completion",
    "compare": "compare.compare",
}

#: Docker's management commands: group → word → the verb that it stands for.
GROUPS = {
    "container": {
        **{
            name: name
            for name in (
                "run",
                "create",
                "exec",
                "start",
                "stop",
                "restart",
                "kill",
                "wait",
                "rm",
                "logs",
                "port",
                "diff",
                "export",
                "commit",
            )
        },
        "ls": "ps",
        "list": "ps",
        "ps": "ps",
        "inspect": "container inspect",
    },
    "image": {
        "ls": "images",
        "list": "images",
        "import": "import",
        "rm": "rmi",
        "rmi": "rmi",
        "remove": "rmi",
        "inspect": "image inspect",
        "tag": "tag",
        "history": "history",
        "save": "save",
        "load": "load",
        "prune": "image prune",
        "pull": "pull",
        "push": "push",
    },
    "network": {
        word: f"network {word}"
        for word in ("connect", "create", "disconnect", "inspect", "ls", "prune", "reload", "rm")
    }
    | {"list": "network ls", "remove": "network rm"},
    "volume": {word: f"volume {word}" for word in ("create", "inspect", "ls", "prune", "rm")}
    | {"list": "volume ls", "remove": "volume rm"},
    "system": {"info": "info", "check": "system check", "reset-network": "system reset-network"},
}

#: The modules of the verbs that exist inside a group only.
GROUP_VERBS = {
    "container inspect": "container.inspect",
    "image inspect": "container.inspect",
    "image prune": "image.tag_prune",
    "system check": "system",
    "system reset-network": "network.reset",
    **dict.fromkeys(GROUPS["network"].values(), "network.network"),
    **dict.fromkeys(GROUPS["volume"].values(), "volume"),
}

#: Options before the verb.
GLOBAL = (
    Option("debug", BOOL, "Show where in minirun an error comes from", short="D"),
    Option("explain", BOOL, "Show each step with the shell commands that would do the same"),
    Option(
        "config-file", STRING, "Settings, with the keys of Docker's daemon.json", shown='"/etc/minirun/config.json"'
    ),
    Option("root", STRING, "Directory for images and containers", shown='"/var/lib/minirun"'),
    Option("exec-root", STRING, "Directory for what a reboot clears", shown='"/run/minirun"'),
    Option("version", BOOL, "Print version information and quit", short="v"),
)
ROOT = Verb(
    "",
    "A container runtime small enough to read and real enough to use",
    "[OPTIONS] COMMAND",
    lambda _: 0,
    takes=("words*",),
    options=GLOBAL,
    interspersed=False,
)


def main(argv: list[str] | None = None) -> None:
    """Do what the command line asks for and end the process; never returns."""
    finish(serve(sys.argv[1:] if argv is None else argv[1:]))


def serve(words: list[str]) -> int:
    """Do what `words` ask for and return the exit code. Whatever fails is one line for a person."""
    asked: list[str] = []  # the verb's name, once it is known
    try:
        code = None if b"_MINIRUN_COMPLETE" in os.environ else _serve(words, asked)
        return _serve_slowly(words) if code is None else code
    except MinirunError as error:
        return complain(error, asked[-1] if asked else "")
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        _deafen()
        return 141


def _serve(words: list[str], asked: list[str]) -> int | None:
    """The fast way; None when something is wrong with `words`, or help is asked for."""
    settings = grammar.read(ROOT, words)
    if settings is None:
        return None
    if settings.version:
        print(version_line())
        return 0
    if settings.words[:1] == ["run"]:
        expect_a_start(settings)
    verb, rest = find(settings.words)
    options = grammar.read(verb, rest) if verb else None
    if verb is None or options is None:
        return None
    asked.append(verb.name)
    return act(settings, verb, options)


def expect_a_start(settings: Options) -> None:
    """Begin the container's monitor before the words of `run` are read: it takes longest to get ready (see `Starter`).

    If there is something wrong with the words it ends with us, and has done nothing.
    """
    if settings.explain:
        return  # it would not tell what it does
    from minirun.engine import paths
    from minirun.engine.shim import prefork

    try:
        paths.settle(settings.root, settings.exec_root, settings.config_file)
    except MinirunError:
        return  # `act` comes to the same, when the words have proved right
    prefork.begin()


def find(words: list[str]) -> tuple[Verb | None, list[str]]:
    """The verb at the head of `words` and what comes after it; None when there is none."""
    name = words[0] if words else ""
    if name in VERBS:
        return load(name), words[1:]
    if name in GROUPS and len(words) > 1 and words[1] in GROUPS[name]:
        target = GROUPS[name][words[1]]
        verb = load(target)
        if target not in GROUP_VERBS:  # an alias of a verb that also stands alone
            others = tuple(word for word, meaning in GROUPS[name].items() if meaning == target)
            verb = verb.named(f"{name} {others[0]}", aliases=others)
        return verb, words[2:]
    return None, words


def canonical_word(group: str, word: str) -> str:
    """The word that help shows for a verb of a group: "ls" for "list"."""
    return next(other for other, meaning in GROUPS[group].items() if meaning == GROUPS[group][word])


def load(name: str) -> Verb:
    """The verb with this name, "run" or "system check"; loads its module."""
    module = f"minirun.cli.{VERBS.get(name) or GROUP_VERBS[name]}"
    __import__(module)  # importlib.import_module would do the same, after importing importlib
    return sys.modules[module].VERBS[name]


def act(settings: Options, verb: Verb, options: Options) -> int:
    """Do it."""
    from minirun.engine import paths

    paths.settle(settings.root, settings.exec_root, settings.config_file)
    if settings.explain:
        from minirun.lecture import explain  # rarely asked for

        explain.attach()
    try:
        return verb.act(options)
    except MinirunError:
        if settings.debug:
            _print_traceback()
        raise
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except OSError as error:  # no rights, a full disk: where nobody below has found better words
        if settings.debug:
            _print_traceback()
        from minirun import store

        raise MinirunError(
            f"{error.filename or verb.name}: {os.strerror(error.errno or 0).lower()}", hint=store.disk_hint(error)
        ) from None
    except Exception as error:  # noqa: BLE001 (the last net: it is told, not swallowed)
        if settings.debug:
            _print_traceback()
        raise MinirunError(
            f"{type(error).__name__}: {error}", hint="this is a mistake in minirun itself; --debug shows where"
        ) from None


def complain(error: MinirunError, verb: str) -> int:
    """Say what failed, and return the exit code."""
    from minirun.cli import error_text
    from minirun.errors import ProgramError

    # Docker's `exec` prints why a program could not be started where the program's own output would have gone.
    to = sys.stdout if isinstance(error, ProgramError) and verb.endswith("exec") else sys.stderr
    print(error_text.complaint(error, verb), file=to)
    return error_text.exit_code(error, verb)


def version_line() -> str:
    """What `minirun --version` prints."""
    from minirun import __version__

    return f"minirun version {__version__}"


def _serve_slowly(words: list[str]) -> int:
    from minirun.cli.parser import click_adapter  # click takes longer to load than a container takes to start

    return click_adapter.serve(words)


def _print_traceback() -> None:
    import traceback

    traceback.print_exc()


def _deafen() -> None:
    """Let what is still buffered for a closed pipe go nowhere, quietly."""
    nowhere = os.open("/dev/null", os.O_WRONLY)
    for fd in (1, 2):
        os.dup2(nowhere, fd)


def finish(code: int) -> None:
    """End the process at once: all output is written, but Python does not tidy up (2 ms)."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = code or 141
    except OSError as reason:  # a full disk behind `>`: the output is lost, and must not be reported as done
        code = code or 1
        os.write(2, f"minirun: write to standard output: {os.strerror(reason.errno or 0).lower()}\n".encode())
    os._exit(code)
