"""`--change` of commit and import: Dockerfile instructions for the config of an image, without a build.

    --change 'CMD ["sh", "-l"]' --change 'ENV PATH=/bin LANG="C.UTF-8"' --change 'EXPOSE 80 8000-8001/udp'

They change only the `config` object of the OCI image config (moby, builder/dockerfile/dispatchers.go).
"""

from __future__ import annotations

import posixpath

from minirun.errors import EngineError
from minirun.image.dockerfile import healthcheck
from minirun.image.dockerfile.parser import expand, instructions, json_list, split_words
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SHELL = ["/bin/sh", "-c"]
PORT_MAX = 65535


def apply(settings: dict, changes: Sequence[str]) -> dict:
    """Apply instructions to the config of an image.

    Arguments: settings (dict), the `config` object of an image config, not modified; changes, lines of a Dockerfile.
    Returns: the new object. Errors: EngineError with Docker's message, "bogus is not a valid change command".
    """
    result = {key: value.copy() if isinstance(value, (dict, list)) else value for key, value in settings.items()}
    has_cmd = False
    read = list(instructions("\n".join(changes)))
    if changes and not read:
        raise EngineError("file with no instructions")
    for word, _ in read:
        if word not in INSTRUCTIONS:
            raise EngineError(f"{word} is not a valid change command")
    for word, rest in read:
        if not rest and word not in ("cmd", "entrypoint"):
            count = "exactly" if word in ("user", "workdir") else "at least"
            raise EngineError(f"{word.upper()} requires {count} one argument")
        INSTRUCTIONS[word](result, rest)
        if word == "entrypoint" and not has_cmd:
            result.pop("Cmd", None)  # the old Cmd was arguments for the old entrypoint
        has_cmd = has_cmd or word == "cmd"
    return result


def _cmd(settings: dict, rest: str) -> None:
    settings["Cmd"] = _argv(rest)


def _entrypoint(settings: dict, rest: str) -> None:
    settings["Entrypoint"] = (rest and _argv(rest)) or None


def _env(settings: dict, rest: str) -> None:
    before = dict(_environment(settings))  # in one instruction all $NAME have the values from before it
    for name, value in _pairs("ENV", rest):
        name, value = expand(name, before), expand(value, before)
        if not name:
            raise EngineError("ENV names can not be blank")
        entries = settings.setdefault("Env", [])
        place = next((number for number, entry in enumerate(entries) if entry.partition("=")[0] == name), len(entries))
        entries[place : place + 1] = [f"{name}={value}"]


def _label(settings: dict, rest: str) -> None:
    environment = _environment(settings)
    for name, value in _pairs("LABEL", rest):
        name = expand(name, environment)
        if not name:
            raise EngineError("LABEL names can not be blank")
        settings.setdefault("Labels", {})[name] = expand(value, environment)


def _workdir(settings: dict, rest: str) -> None:
    path = expand(rest, _environment(settings))
    if not path.startswith("/"):
        path = posixpath.normpath(f"/{settings.get('WorkingDir') or ''}/{path}")
        path = f"/{path.lstrip('/')}"
    settings["WorkingDir"] = path


def _user(settings: dict, rest: str) -> None:
    settings["User"] = expand(rest, _environment(settings))


def _volume(settings: dict, rest: str) -> None:
    words = json_list(rest)
    if words == []:
        raise EngineError("VOLUME requires at least one argument")
    for path in [expand(word, _environment(settings)) for word in rest.split()] if words is None else words:
        if not path.strip():
            raise EngineError("VOLUME specified can not be an empty string")
        settings.setdefault("Volumes", {})[path] = {}


def _expose(settings: dict, rest: str) -> None:
    for word in rest.split():
        text = expand(word, _environment(settings))
        ports, _, protocol = text.partition("/")
        ports = ports.rpartition(":")[2]  # the syntax of `-p` is accepted; the host port is ignored
        protocol = protocol.lower() or "tcp"
        first, dash, last = ports.partition("-")
        if protocol not in ("tcp", "udp", "sctp"):
            raise EngineError(f"Invalid proto: {protocol}")
        if not dash:
            last = first
        if not all(number.isascii() and number.isdigit() and int(number) <= PORT_MAX for number in (first, last)) or (
            int(first) > int(last)
        ):
            raise EngineError(f"Invalid containerPort: {ports}")
        for port in range(int(first), int(last) + 1):
            settings.setdefault("ExposedPorts", {})[f"{port}/{protocol}"] = {}


def _healthcheck(settings: dict, rest: str) -> None:
    settings["Healthcheck"] = healthcheck.parse(rest, json_list)


def _onbuild(settings: dict, rest: str) -> None:
    word = rest.split(maxsplit=1)[0].upper()
    if word == "ONBUILD":
        raise EngineError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if word in ("MAINTAINER", "FROM"):
        raise EngineError(f"{word} isn't allowed as an ONBUILD trigger")
    settings.setdefault("OnBuild", []).append(rest)


INSTRUCTIONS: dict[str, Callable[[dict, str], None]] = {
    "cmd": _cmd,
    "entrypoint": _entrypoint,
    "env": _env,
    "expose": _expose,
    "healthcheck": _healthcheck,
    "label": _label,
    "onbuild": _onbuild,
    "user": _user,
    "volume": _volume,
    "workdir": _workdir,
}


def _argv(rest: str) -> list[str]:
    """The exec form, a JSON list, unchanged; the shell form as arguments of `/bin/sh -c`."""
    listed = json_list(rest)
    return [*SHELL, *([rest] if rest else [])] if listed is None else listed


def _environment(settings: dict) -> dict[str, str]:
    return {name: value for name, _, value in (entry.partition("=") for entry in settings.get("Env") or [])}


def _pairs(instruction: str, rest: str) -> list[tuple[str, str]]:
    """The pairs of ENV and LABEL, K=V or the old form "K value"; quotes and variables are not expanded yet."""
    words = split_words(rest)
    if "=" not in words[0]:
        name, _, value = rest.partition(" ")
        if not value.strip():
            raise EngineError(f"{instruction} must have two arguments")
        return [(name, value.strip())]
    for word in words:
        if "=" not in word:
            raise EngineError(f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value')
    return [(name, value) for name, _, value in (word.partition("=") for word in words)]
