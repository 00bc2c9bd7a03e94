"""The image config, looked at before it is let in (OCI image-spec, config.md).

It comes from strangers, it is kept byte for byte, because its digest is the image's id, and from then on every command
reads it. So what is of the wrong kind is refused once, here, and nobody else has to be afraid of it.
"""

from __future__ import annotations

import re
from datetime import datetime

from minirun.errors import EngineError
from minirun.image.sanitize import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


def check(document: object) -> None:
    """Refuse a config in which something is not of the kind that it must be. Errors: EngineError."""
    config = _of(document, dict, "the document")
    for key in ("architecture", "os", "variant", "author", "comment", "container", "docker_version"):
        _of(config.get(key), str, key)
    _check_moment(config.get("created"), "created")
    for number, step in enumerate(_of(config.get("history"), list, "history")):
        name = f"history[{number}]"
        _has(step, dict, name)
        for key in ("created_by", "comment", "author"):
            _of(step.get(key), str, f"{name}.{key}")
        _of(step.get("empty_layer"), bool, f"{name}.empty_layer")
        _check_moment(step.get("created"), f"{name}.created")
    for key in ("config", "container_config"):
        _check_settings(_of(config.get(key), dict, key), key)


def _check_settings(settings: dict, name: str) -> None:
    """How its containers are to be run; Docker's keys."""
    for key in ("User", "WorkingDir", "StopSignal", "Hostname", "Domainname", "Image"):
        _of(settings.get(key), str, f"{name}.{key}")
    for key in ("Env", "Cmd", "Entrypoint", "Shell", "OnBuild"):
        for word in _of(settings.get(key), list, f"{name}.{key}"):
            _has(word, str, f"{name}.{key}")
    for key in ("Volumes", "ExposedPorts", "Labels", "Healthcheck"):
        _of(settings.get(key), dict, f"{name}.{key}")
    for label, value in (settings.get("Labels") or {}).items():
        _has(value, str, f"{name}.Labels[{label}]")


def _check_moment(value: object, name: str) -> None:
    text = _of(value, str, name)
    try:
        if text and (not _MOMENT.fullmatch(text) or not datetime.fromisoformat(text)):
            raise ValueError
    except ValueError:
        raise EngineError(f"invalid image config: {shown(name)} is not a moment") from None


def _of(value: object, kind: type, name: str) -> Any:
    """A value of a kind; nothing, or Go's null, is an empty one."""
    if value is None:
        return kind()
    _has(value, kind, name)
    return value


def _has(value: object, kind: type, name: str) -> None:
    if not isinstance(value, kind):
        raise EngineError(f"invalid image config: {shown(name)} is not of type {kind.__name__}")
