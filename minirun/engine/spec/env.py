"""The environment of a container's process, merged from three lists of NAME=value (environ(7)).

Lowest are PATH, HOSTNAME and TERM, which the engine sets; over them the image's Env; over that `-e` and `--env-file`. A
NAME without "=" is what remains of `-e NAME` when the caller has no such variable: it removes the variable.

The first half is what Docker does in its client, where the files are, and the environment that `-e NAME` copies from;
`read_files` alone reads something, all else is pure.
"""

from __future__ import annotations

import os

from minirun.errors import ClientError, UsageError
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The search path where neither the image nor the user sets one (Docker's DefaultPathEnv).
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SPACES = " \t\n\v\f\r"


def read_files(paths: list[str]) -> list[str]:
    """The text of each file of `--env-file` or `--label-file`. Errors: ClientError, as Docker's client."""
    texts = []
    for path in paths:
        try:
            with open(path, "rb") as file:
                data = file.read()
            texts.append(data.decode("utf-8-sig"))  # -sig: a byte order mark is not part of the first name
        except IsADirectoryError:
            raise ClientError(f"read {path}: is a directory") from None
        except OSError as reason:
            raise ClientError(f"open {path}: {os.strerror(reason.errno or 0).lower()}") from None
        except UnicodeDecodeError as reason:
            line = data.count(b"\n", 0, reason.start) + 1
            raise ClientError(f"env file {path} contains invalid utf8 bytes at line {line}") from None
    return texts


def variables(entries: list[str], texts: list[str], environ: Mapping[str, str]) -> list[str]:
    """The environment as the client sends it: the variables of the files, then those of each `-e`.

    Arguments: entries (list of "NAME=value" or "NAME", `-e`); texts, contents of the env files; environ, where a bare
    NAME is looked up. One of `-e` that is not set there stays bare (and removes the image's), one of a file
    is skipped. Errors: UsageError, ClientError, as Docker's client.
    """
    wanted = []
    for line in _lines(texts):
        name, equals, _ = line.partition("=")
        if equals or name in environ:
            wanted.append(line if equals else f"{name}={environ[name]}")
    for entry in entries:
        name, equals, _ = entry.partition("=")
        if not name:
            raise UsageError(f'invalid argument "{entry}" for "-e, --env" flag: invalid environment variable: {entry}')
        wanted.append(f"{name}={environ[name]}" if not equals and name in environ else entry)
    return wanted


def labels(entries: Sequence[str], texts: list[str]) -> dict[str, str]:
    """Labels by name: those of the label files, then each `-l`; one without "=" has the value ""."""
    pairs = (entry.partition("=") for entry in [*_lines(texts), *entries])
    return {name: value for name, _, value in pairs}


def _lines(texts: list[str]) -> list[str]:
    """The lines of env files or label files but comments and empty ones; values are literal, with quotes and spaces.

    Errors: ClientError, as Docker's client.
    """
    lines = []
    for line in (line for text in texts for line in text.split("\n")):
        line = line.removesuffix("\r").lstrip(_SPACES)
        if not line or line.startswith("#"):
            continue
        name = line.partition("=")[0]
        if not name:
            raise ClientError(f"poorly formatted environment: no variable name on line '{line}'")
        if any(space in name for space in _SPACES):
            raise ClientError(f"poorly formatted environment: variable '{name}' contains whitespaces")
        lines.append(line)
    return lines


def merge(given: list[str], image: list[str]) -> list[str]:
    """Config.Env: the variables of the command line, then those of the image that it does not name.

    Source: Docker's `merge` of a container's config with that of its image.
    """
    named = {entry.partition("=")[0] for entry in given}
    return given + [entry for entry in image if entry.partition("=")[0] not in named]


def replace_or_append(below: list[str], above: list[str]) -> list[str]:
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


def process_env(config: dict, terminal: bool, extra: list[str] | None = None, linked: Sequence[str] = ()) -> list[str]:
    """The environment of a container's process, or (with `extra`) of one that `exec` adds to it.

    Arguments: config, the container's Config; terminal (bool), whether the process has one, which gets TERM=xterm
    whatever the user's own terminal is; linked, the variables of legacy links.
    HOME is not here: the runtime adds it last, from the image's passwd, where it is not set.
    """
    defaults = [PATH, f"HOSTNAME={config['Hostname']}"] + ["TERM=xterm"] * terminal
    return replace_or_append(replace_or_append([*defaults, *linked], config["Env"] or []), extra or [])
