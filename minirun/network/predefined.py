"""The predefined networks, `bridge`, `host` and `none`: they need no `network create` and cannot be removed."""

from __future__ import annotations

#: The network of a container that names none; `--network default` is another word for it.
BRIDGE = "bridge"
#: Name of the network → its driver.
DRIVERS = {BRIDGE: "bridge", "host": "host", "none": "null"}


def is_predefined(name: str) -> bool:
    """Whether this is the name of a predefined network."""
    return name in DRIVERS


def is_reserved(name: str) -> bool:
    """Whether no user-defined network may have this name: those of the predefined networks, and `default`."""
    return name in DRIVERS or name == "default"


def is_user_defined(mode: str) -> bool:
    """Whether a NetworkMode names a user-defined network (moby's NetworkMode.IsUserDefined)."""
    return not is_reserved(mode) and not mode.startswith("container:")
