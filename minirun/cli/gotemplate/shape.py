"""JSON in the shape that Go's types give it, for templates: which objects are maps, and what null stands for.

`{{.Config.Labels.nosuch}}` is `<no value>`, since labels are a map; `{{.Config.Nosuch}}` is an error, since Config is a
struct. `{{.HostConfig.Binds}}` without binds prints `[]`, since Go has no null for slices.
"""

from __future__ import annotations

from minirun.cli.gotemplate.values import Map, Null, Struct

#: Keys whose values are maps in Docker's API types.
MAPS = frozenset(
    (
        "Labels",
        "Networks",
        "Ports",
        "PortBindings",
        "Sysctls",
        "Volumes",
        "Data",
        "Tmpfs",
        "ExposedPorts",
        "Options",
        "DriverOpts",
        "Annotations",
        "LogConfig.Config",
        "StorageOpt",
    )
)
#: Keys whose values are pointers.
POINTERS = frozenset(
    ("MemorySwappiness", "PidsLimit", "IPAMConfig", "Healthcheck", "Health", "OomKillDisable", "Init", "StopTimeout")
)

#: What `inspect` leaves out when it is empty ("omitempty"), and a template can ask for all the same: by the key that
#: the object has; "" is a container itself.
_SLICE, _MAP, _POINTER = (Null.shown_as(text) for text in ("[]", "map[]", "<nil>"))
LEFT_OUT: dict[str, dict[str, object]] = {
    "": {"SizeRw": _POINTER, "SizeRootFs": _POINTER},
    "State": {"Health": _POINTER},
    "Config": {
        "ArgsEscaped": False,
        "ExposedPorts": _MAP,
        "Healthcheck": _POINTER,
        "MacAddress": "",
        "NetworkDisabled": False,
        "Shell": _SLICE,
        "StopSignal": "",
        "StopTimeout": _POINTER,
    },
    "HostConfig": {"Init": _POINTER, "Mounts": _SLICE, "StorageOpt": _MAP, "Sysctls": _MAP, "Tmpfs": _MAP},
}


def shaped(value: object, key: str = "", parent: str = "") -> object:
    """A value of JSON with `Map` and `Null` in the places where Go has a map or nil."""
    is_map = key in MAPS or f"{parent}.{key}" in MAPS
    if value is None:
        return Null.shown_as("<nil>" if key in POINTERS else "map[]" if is_map else "[]")
    if isinstance(value, dict):
        inner = {name: shaped(item, name, key) for name, item in value.items()}
        if key in LEFT_OUT and (key or "HostConfig" in value) and not is_map:
            return Struct(inner, LEFT_OUT[key])
        return Map(inner) if is_map else inner
    if isinstance(value, (list, tuple)):
        return [shaped(item) for item in value]
    return value
