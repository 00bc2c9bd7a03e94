"""Validation of the image config (OCI image-spec, config.md).

The config is untrusted input. It is stored byte for byte, because its digest is the image's id, and later every
command reads it; so a value of the wrong type is refused once, here, before the image is committed.
"""

from __future__ import annotations

import re
from datetime import datetime

from minirun.errors import EngineError
from minirun.image.sanitize import printable
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


def check(document: object) -> None:
    """Refuse a config in which a value has the wrong type. Arguments: document, the parsed JSON.

    Errors: EngineError.
    """
    config = _typed(document, dict, "the document")
    for key in ("architecture", "os", "variant", "author", "comment", "container", "docker_version"):
        _typed(config.get(key), str, key)
    _check_time(config.get("created"), "created")
    for number, step in enumerate(_typed(config.get("history"), list, "history")):
        name = f"history[{number}]"
        _check_type(step, dict, name)
        for key in ("created_by", "comment", "author"):
            _typed(step.get(key), str, f"{name}.{key}")
        _typed(step.get("empty_layer"), bool, f"{name}.empty_layer")
        _check_time(step.get("created"), f"{name}.created")
    for key in ("config", "container_config"):
        _check_settings(_typed(config.get(key), dict, key), key)


def _check_settings(settings: dict, name: str) -> None:
    """The config of its containers; the keys are Docker's."""
    for key in ("User", "WorkingDir", "StopSignal", "Hostname", "Domainname", "Image"):
        _typed(settings.get(key), str, f"{name}.{key}")
    for key in ("Env", "Cmd", "Entrypoint", "Shell", "OnBuild"):
        for word in _typed(settings.get(key), list, f"{name}.{key}"):
            _check_type(word, str, f"{name}.{key}")
    for key in ("Volumes", "ExposedPorts", "Labels", "Healthcheck"):
        _typed(settings.get(key), dict, f"{name}.{key}")
    for label, value in (settings.get("Labels") or {}).items():
        _check_type(value, str, f"{name}.Labels[{label}]")


def _check_time(value: object, name: str) -> None:
    text = _typed(value, str, name)
    try:
        if text and (not _RFC3339.fullmatch(text) or not datetime.fromisoformat(text)):
            raise ValueError
    except ValueError:
        raise EngineError(f"invalid image config: {printable(name)} is not a moment") from None


def _typed(value: object, kind: type, name: str) -> Any:
    """A value of a type; a missing one, or Go's null, is an empty one."""
    if value is None:
        return kind()
    _check_type(value, kind, name)
    return value


def _check_type(value: object, kind: type, name: str) -> None:
    if not isinstance(value, kind):
        raise EngineError(f"invalid image config: {printable(name)} is not of type {kind.__name__}")
