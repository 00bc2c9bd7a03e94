"""The variables of a process: three lists of NAME=value that are laid over each other (environ(7)).

An image has some, a person adds some with `-e`, and the engine puts PATH, HOSTNAME and TERM below both. A NAME without
"=" is what remains of `-e NAME` when the caller has no such variable: it takes the variable away.
"""

from __future__ import annotations

#: Where programs are looked for when neither image nor person says so (Docker's DefaultPathEnv).
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def merge(wishes: list[str], image: list[str]) -> list[str]:
    """Config.Env: what the person asks for, then those variables of the image that the person does not name.

    Source: Docker's `merge` of a container's config with that of its image.
    """
    named = {entry.partition("=")[0] for entry in wishes}
    return wishes + [entry for entry in image if entry.partition("=")[0] not in named]


def overlay(below: list[str], above: list[str]) -> list[str]:
    """Lay one environment over another: a variable keeps its place and gets the later value, a bare NAME removes it.

    Source: Docker's `ReplaceOrAppendEnvValues`, which decides the order in which `env` prints in a container.
    """
    result: dict[str, str] = {}
    for entry in [*below, *above]:
        name, equals, _ = entry.partition("=")
        if equals:
            result[name] = entry
        else:
            result.pop(name, None)
    return list(result.values())


def of_process(config: dict, terminal: bool, extra: list[str] | None = None) -> list[str]:
    """The environment of a container's process, or (with `extra`) of one that `exec` adds to it.

    Arguments: config, the container's Config; terminal, whether this process has one: programs on it are told that it
    understands what xterm does, whatever the person's own terminal is.
    HOME is missing here: the runtime adds it as the last one, from the image's passwd, if nobody has set it.
    """
    ours = [PATH, f"HOSTNAME={config['Hostname']}"] + ["TERM=xterm"] * terminal
    return overlay(overlay(ours, config["Env"] or []), extra or [])
