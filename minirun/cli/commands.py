"""The commands of minirun: which there are, which module holds each, and the options before them.

A verb costs what it needs and no more: `load` imports the module of one verb, and no other. Help and completion load
all of them, for their flags; so a verb's module imports the registry client, archives, checks and comparisons, some
100 ms, in the functions that need them.
"""

from __future__ import annotations

import sys

from minirun.cli.parser.grammar import Option, Verb
from minirun.cli.parser.types import BOOL, STRING

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
    lambda _daemon, _options: 0,
    takes=("words*",),
    options=GLOBAL,
    interspersed=False,
)


def find(words: list[str]) -> tuple[Verb | None, list[str]]:
    """The verb that a command line begins with, and the words after it; None when there is no such verb."""
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


def version_line() -> str:
    """What `minirun --version` prints."""
    from minirun import __version__

    return f"minirun version {__version__}"
