"""Parse volumes: the forms of `-v`, `--mount` and an image's VOLUME, and the rules for names.

    -v NAME:/path[:ro,nocopy]    --mount type=volume,src=NAME,dst=/path     a named volume: outlives its containers
    -v /path                     VOLUME /path (in an image)                 an anonymous one: for this container alone

A mount point here has a Name, "" for an anonymous volume, and no Source yet: `populate` sets both.
"""

from __future__ import annotations

import os

from minirun.errors import BadParameter

_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_LONGEST = 255  # NAME_MAX of Linux's file systems, in bytes
#: The options of Docker's `local` driver: mount something, or limit the size.
_OPTIONS = ("type", "device", "o", "size")


def named(name: str, destination: str, mode: str) -> dict:
    """A mount point of `-v NAME:DESTINATION[:MODE]`. Errors: BadParameter."""
    words = mode.split(",")
    return {
        **_point(check_name(name), destination, mode or "z", "ro" not in words),
        **({"NoCopy": True} if "nocopy" in words else {}),
    }


def mounted(mount: dict, destination: str) -> dict:
    """A mount point of `--mount type=volume`; `mount` is as Docker's API has it. Errors: BadParameter."""
    name, options = mount.get("Source", ""), mount.get("VolumeOptions") or {}
    if mount.get("ReadOnly") and not name:
        raise BadParameter(
            'invalid mount config for type "volume": must not set ReadOnly mode when using anonymous volumes'
        )
    if name:
        check_name(name)
    driver = options.get("DriverConfig") or {}
    check_driver(name, driver.get("Name", ""), driver.get("Options") or {})
    return {
        **_point(name, destination, "z", not mount.get("ReadOnly")),
        **({"NoCopy": True} if options.get("NoCopy") else {}),
        **({"Labels": options["Labels"]} if options.get("Labels") else {}),
    }


def anonymous(path: str) -> dict:
    """A mount point of a path in Config.Volumes: it is resolved in the container, whatever the image says."""
    destination = "/" + os.path.normpath(f"/{path}").lstrip("/")
    try:
        known = destination != "/" and b"\0" not in os.fsencode(destination)
    except UnicodeEncodeError:  # half a character of UTF-16, which JSON can write and no path can hold
        known = False
    if not known:
        raise BadParameter(f"invalid volume specification: {path!r}")
    return _point("", destination, "", True)


def _point(name: str, destination: str, mode: str, writable: bool) -> dict:
    return {
        "Type": "volume",
        "Name": name,
        "Source": "",
        "Destination": destination,
        "Driver": "local",
        "Mode": mode,
        "RW": writable,
        "Propagation": "",
    }


def check_name(name: str) -> str:
    """Check the name of a volume. Returns: the name. Errors: BadParameter."""
    if len(name) == 1:
        raise BadParameter(
            f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )
    if not name or name[0] in "_.-" or not _CHARACTERS.issuperset(name):
        raise BadParameter(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use '
            "absolute path"
        )
    if len(name) > _LONGEST:
        raise BadParameter(f"create {name}: file name too long")
    return name


def check_driver(name: str, driver: str, options: dict[str, str]) -> None:
    """Refuse the drivers and driver options that minirun does not have. Arguments: driver (str), "" for the only one.

    Errors: BadParameter, as Docker's where Docker refuses it as well.
    """
    if driver not in ("", "local"):
        raise BadParameter(f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found')
    for key in options:
        if key not in _OPTIONS:
            raise BadParameter(f'create {name}: invalid option: "{key}"')
    if options:
        raise BadParameter(
            f"create {name}: minirun cannot mount anything for a volume yet, nor limit its size: it has "
            f"no option {', '.join(sorted(options))}"
        )
