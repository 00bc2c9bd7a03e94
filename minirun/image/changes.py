"""`--change`: Dockerfile instructions that say how an image is to be run, without a build.

    --change 'CMD ["sh", "-l"]' --change 'ENV PATH=/bin LANG="C.UTF-8"' --change 'EXPOSE 80 8000-8001/udp'

They change the `config` part of the OCI image config and nothing else (moby, builder/dockerfile/dispatchers.go).
"""

from __future__ import annotations

from minirun import store
from minirun.errors import EngineError
from minirun.image import healthcheck

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SHELL = ["/bin/sh", "-c"]
PORT_MAX = 65535


def apply(settings: dict, changes: Sequence[str]) -> dict:
    """The settings of an image after some instructions.

    Arguments: settings (dict), the `config` part of an image config, left as it is; changes, one instruction each.
    Returns: the new settings. Errors: EngineError in Docker's words, "bogus is not a valid change command".
    """
    result = {key: value.copy() if isinstance(value, (dict, list)) else value for key, value in settings.items()}
    has_cmd = False
    for change in changes:
        word, _, rest = change.strip().partition(" ")
        word, rest = word.lower(), rest.strip()
        if not word or word.startswith("#"):
            continue
        if word not in INSTRUCTIONS:
            raise EngineError(f"{word} is not a valid change command")
        if not rest and word not in ("cmd", "entrypoint"):
            raise EngineError(f"{word.upper()} requires at least one argument")
        INSTRUCTIONS[word](result, rest)
        if word == "entrypoint" and not has_cmd:
            result.pop("Cmd", None)  # the old command was an argument of the old entrypoint
        has_cmd = has_cmd or word == "cmd"
    return result


def _cmd(settings: dict, rest: str) -> None:
    settings["Cmd"] = _argv(rest)


def _entrypoint(settings: dict, rest: str) -> None:
    settings["Entrypoint"] = (rest and _argv(rest)) or None


def _env(settings: dict, rest: str) -> None:
    before = dict(_environment(settings))  # within one instruction $NAME means what it meant before it
    for name, value in _pairs("ENV", rest):
        name, value = _expanded(name, before), _expanded(value, before)
        if not name:
            raise EngineError("ENV names can not be blank")
        entries = settings.setdefault("Env", [])
        place = next((number for number, entry in enumerate(entries) if entry.partition("=")[0] == name), len(entries))
        entries[place:place + 1] = [f"{name}={value}"]


def _label(settings: dict, rest: str) -> None:
    environment = _environment(settings)
    for name, value in _pairs("LABEL", rest):
        settings.setdefault("Labels", {})[_expanded(name, environment)] = _expanded(value, environment)


def _workdir(settings: dict, rest: str) -> None:
    path = _expanded(rest, _environment(settings))
    whole = path if path.startswith("/") else f"{settings.get('WorkingDir') or '/'}/{path}"
    parts: list[str] = []
    for part in whole.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    settings["WorkingDir"] = "/" + "/".join(parts)


def _user(settings: dict, rest: str) -> None:
    if len(rest.split()) != 1:
        raise EngineError("USER requires exactly one argument")
    settings["User"] = _expanded(rest, _environment(settings))


def _stopsignal(settings: dict, rest: str) -> None:
    if len(rest.split()) != 1:
        raise EngineError("STOPSIGNAL requires exactly one argument")
    settings["StopSignal"] = _expanded(rest, _environment(settings))


def _volume(settings: dict, rest: str) -> None:
    for path in _json_list(rest) or [_expanded(word, _environment(settings)) for word in _words(rest)]:
        if not path.strip():
            raise EngineError("VOLUME specified can not be an empty string")
        settings.setdefault("Volumes", {})[path] = {}


def _expose(settings: dict, rest: str) -> None:
    for word in _words(rest):
        text = _expanded(word, _environment(settings))
        ports, _, protocol = text.partition("/")
        protocol = protocol.lower() or "tcp"
        first, dash, last = ports.partition("-")
        if protocol not in ("tcp", "udp", "sctp"):
            raise EngineError(f"invalid proto: {protocol}")
        if not dash:
            last = first
        if not all(number.isascii() and number.isdigit() and int(number) <= PORT_MAX for number in (first, last)):
            raise EngineError(f"invalid containerPort: {ports}")
        for port in range(int(first), int(last) + 1):
            settings.setdefault("ExposedPorts", {})[f"{port}/{protocol}"] = {}


def _healthcheck(settings: dict, rest: str) -> None:
    settings["Healthcheck"] = healthcheck.read(rest, _json_list)


def _onbuild(settings: dict, rest: str) -> None:
    settings.setdefault("OnBuild", []).append(rest)


INSTRUCTIONS: dict[str, Callable[[dict, str], None]] = {
    "cmd": _cmd, "entrypoint": _entrypoint, "env": _env, "expose": _expose, "healthcheck": _healthcheck,
    "label": _label, "onbuild": _onbuild,
    "stopsignal": _stopsignal, "user": _user, "volume": _volume, "workdir": _workdir}


def _argv(rest: str) -> list[str]:
    """The exec form, a JSON list, as it is; everything else is a line for the shell."""
    listed = _json_list(rest)
    return [*SHELL, *([rest] if rest else [])] if listed is None else listed


def _json_list(rest: str) -> list[str] | None:
    """The strings of a JSON list; None when it is none (then the words are meant as they stand)."""
    if not rest.startswith("["):
        return None
    try:
        value = store.loads(rest)
    except ValueError:
        return None
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


def _environment(settings: dict) -> dict[str, str]:
    return {name: value for name, _, value in (entry.partition("=") for entry in settings.get("Env") or [])}


def _pairs(instruction: str, rest: str) -> list[tuple[str, str]]:
    """The K=V words of ENV and LABEL, or the old form "K all the rest". Quotes and $ are still in the words."""
    words = _words(rest)
    if "=" not in words[0]:
        name, _, value = rest.partition(" ")
        if not value.strip():
            raise EngineError(f"{instruction} must have two arguments")
        return [(name, value.strip())]
    for word in words:
        if "=" not in word:
            raise EngineError(f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value')
    return [(name, value) for name, _, value in (word.partition("=") for word in words)]


def _words(rest: str) -> list[str]:
    """Split at blanks that are neither quoted nor escaped; quotes and backslashes stay in."""
    words, word, quote, escaped = [], "", "", False
    for letter in rest:
        if letter.isspace() and not quote and not escaped:
            if word:
                words.append(word)
            word = ""
            continue
        if escaped:
            escaped = False
        elif letter == "\\" and quote != "'":
            escaped = True
        elif letter == quote:
            quote = ""
        elif not quote and letter in "\"'":
            quote = letter
        word += letter
    return [*words, word] if word else words


def _expanded(word: str, environment: dict[str, str]) -> str:
    """A word as the shell would have it: quotes gone, escapes done, $NAME and ${NAME} replaced."""
    result, quote, at = "", "", 0
    while at < len(word):
        letter = word[at]
        at += 1
        if letter == "\\" and quote != "'" and at < len(word):
            if quote == '"' and word[at] not in '"$\\':
                result += letter
            result += word[at]
            at += 1
        elif letter == "$" and quote != "'":
            name, at = _variable(word, at)
            result += environment.get(name, "") if name else "$"
        elif letter == quote:
            quote = ""
        elif not quote and letter in "\"'":
            quote = letter
        else:
            result += letter
    if quote:
        raise EngineError("unexpected end of statement while looking for matching " +
                          ("double-quote" if quote == '"' else "single-quote"))
    return result


def _variable(word: str, at: int) -> tuple[str, int]:
    """The name behind a `$` at word[at:], and where it ends."""
    if word[at:at + 1] == "{":
        name, brace, _ = word[at + 1:].partition("}")
        if not brace or not name.replace("_", "a").isalnum():
            raise EngineError(f"unsupported modifier in substitution: ${word[at:]}")
        return name, at + len(name) + 2
    end = at
    while end < len(word) and (word[end].isalnum() or word[end] == "_"):
        end += 1
    return word[at:end], end
