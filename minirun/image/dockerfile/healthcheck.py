"""`HEALTHCHECK [--interval=5m ...] CMD ...` of a Dockerfile: the command that tells whether a container is healthy.

minirun stores and shows it, for engines that run it (moby, dockerfile/instructions/parse.go).
"""

from __future__ import annotations

from minirun import timestamps
from minirun.errors import EngineError
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_DURATIONS = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod"}
_MIN_NS = 1_000_000  # ns, container.MinimumDuration in moby
_MAX_DIGITS = 100


def parse(text: str, json_list: Callable[[str], list[str] | None]) -> dict:
    """Parse the arguments of HEALTHCHECK to Docker's HealthConfig: {"Test": [...], "Interval": ns, ...}.

    Arguments: json_list, parses the exec form, returns None for any other. Errors: EngineError with Docker's message.
    """
    flags, rest = _flags(text)
    if not rest:
        raise EngineError("HEALTHCHECK requires at least one argument")
    kind, _, command = rest.partition(" ")
    command = command.strip()
    if kind.upper() == "NONE":
        if command:
            raise EngineError("HEALTHCHECK NONE takes no arguments")
        return {"Test": ["NONE"]}
    if kind.upper() != "CMD":
        raise EngineError(f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)')
    listed = json_list(command)
    if not (command if listed is None else listed):
        raise EngineError("Missing command after HEALTHCHECK CMD")
    result: dict = {"Test": ["CMD-SHELL", command] if listed is None else ["CMD", *listed]}
    for flag, key in _DURATIONS.items():
        if flags.get(flag):
            result[key] = _duration(flag, flags[flag])
    if flags.get("retries"):
        result["Retries"] = _retries(flags["retries"])
    return result


def _flags(text: str) -> tuple[dict[str, str], str]:
    """The flags at the beginning, and the rest of the text."""
    flags: dict[str, str] = {}
    while text.startswith("--"):
        word, _, text = text.partition(" ")
        text = text.strip()
        name, equals, value = word[2:].partition("=")
        if name not in (*_DURATIONS, "retries"):
            raise EngineError(f"Unknown flag: {name}")
        if not equals:
            raise EngineError(f"Missing a value on flag: {name}")
        if name in flags:
            raise EngineError(f"Duplicate flag specified: {name}")
        flags[name] = value
    return flags, text


def _duration(flag: str, text: str) -> int:
    """The nanoseconds of a flag's value, "1h30m" or "0.5s"."""
    try:
        duration = timestamps.parse_duration(text)
    except ValueError as reason:
        raise EngineError(str(reason)) from None
    if duration < _MIN_NS:
        raise EngineError(f'Interval "{flag}" cannot be less than 1ms')
    return duration


def _retries(text: str) -> int:
    try:
        number = int(text) if text.isascii() and len(text) < _MAX_DIGITS else None
    except ValueError:
        raise EngineError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
    if number is None or not -(2**31) <= number < 2**31:
        raise EngineError(f'strconv.ParseInt: parsing "{text}": value out of range')
    if number < 1:
        raise EngineError(f"--retries must be at least 1 (not {number})")
    return number
