"""`--mount type=bind,source=/a,target=/b,readonly`: a mount in Docker's long form.

The value is one line of CSV whose fields are KEY=VALUE; the result is a mount as Docker's API has it.
"""

from __future__ import annotations

from minirun.cli.parser.grammar import ValueType
from minirun.cli.parser.types import boolean
from minirun.cli.run.types import size
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_UNQUOTED = 'extraneous or missing " in quoted-field'
_SWITCHES = ("readonly", "ro", "volume-nocopy", "bind-nonrecursive")


def mount(text: str) -> dict[str, object]:
    """{"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True, "BindOptions": {...}} and the like.

    `Source`, `ReadOnly` and the options of the kind (`BindOptions`, `VolumeOptions`, `TmpfsOptions`) are there when
    they were given. Errors: ValueError in the words of Docker's client.
    """
    result: dict = {"Type": "volume"}
    for field in _fields(text):
        key, equals, value = field.partition("=")
        if not equals:
            if key.lower() not in _SWITCHES:
                raise ValueError(f"invalid field '{field}' must be a key=value pair")
            value = "true"
        _put(result, key.lower(), value, field)
    if not result["Type"]:
        raise ValueError("type is required")
    if not result.get("Target"):
        raise ValueError("target is required")
    for kind in ("volume", "bind", "tmpfs"):
        if kind.capitalize() + "Options" in result and result["Type"] != kind:
            raise ValueError(f"cannot mix '{kind}-*' options with mount type '{result['Type']}'")
    return result


def _put(result: dict, key: str, value: str, field: str) -> None:
    if key == "type":
        result["Type"] = value.lower()
    elif key in ("source", "src"):
        result["Source"] = value
    elif key in ("target", "dst", "destination"):
        result["Target"] = value
    elif key in ("readonly", "ro"):
        result["ReadOnly"] = _checked(boolean, key, value)
    elif key == "consistency":
        result["Consistency"] = value.lower()
    elif key.startswith(("bind-", "volume-", "tmpfs-")):
        kind, _, what = key.partition("-")
        if not _put_kind(result, kind, what, key, value):
            raise ValueError(f"unexpected key '{key}' in '{field}'")
    else:
        raise ValueError(f"unexpected key '{key}' in '{field}'")


def _put_kind(result: dict, kind: str, what: str, key: str, value: str) -> bool:
    """An option of one kind of mount; False when there is none of that name."""
    options = dict(result.get(kind.capitalize() + "Options", ()))
    if (kind, what) == ("bind", "propagation"):
        options["Propagation"] = value.lower()
    elif (kind, what) == ("bind", "nonrecursive"):
        options["NonRecursive"] = _checked(boolean, key, value)
    elif (kind, what) == ("volume", "nocopy"):
        options["NoCopy"] = _checked(boolean, key, value)
    elif (kind, what) == ("volume", "label"):
        name, _, text = value.partition("=")
        options["Labels"] = {**options.get("Labels", {}), name: text}
    elif (kind, what) == ("volume", "driver"):
        options["DriverConfig"] = {**options.get("DriverConfig", {}), "Name": value}
    elif (kind, what) == ("volume", "opt"):
        name, _, text = value.partition("=")
        driver = options.get("DriverConfig", {})
        options["DriverConfig"] = {**driver, "Options": {**driver.get("Options", {}), name: text}}
    elif (kind, what) == ("tmpfs", "size"):
        options["SizeBytes"] = _checked(size, key, value)
    elif (kind, what) == ("tmpfs", "mode"):
        options["Mode"] = _checked(_octal, key, value)
    else:
        return False
    result[kind.capitalize() + "Options"] = options
    return True


def _checked(read: Callable[[str], object], key: str, value: str) -> object:
    try:
        return read(value)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _octal(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError
    return int(text, 8)


def _fields(text: str) -> list[str]:
    """The fields of one line of CSV (RFC 4180): a field with a comma in it stands in double quotes."""
    if not text:
        raise ValueError("EOF")
    if '"' not in text:
        return text.split(",")
    fields, place = [], 0
    while place <= len(text):
        if text[place : place + 1] != '"':
            end = text.find(",", place) if "," in text[place:] else len(text)
            quoted = text.find('"', place, end)
            if quoted >= 0:
                raise ValueError(f'parse error on line 1, column {quoted + 1}: bare " in non-quoted-field')
            fields.append(text[place:end])
            place = end + 1
            continue
        end = place + 1
        while text[end : end + 1] != '"' or text[end : end + 2] == '""':
            end += 2 if text[end : end + 2] == '""' else 1
            if end >= len(text):
                raise ValueError(f"parse error on line 1, column {len(text) + 1}: {_UNQUOTED}")
        fields.append(text[place + 1 : end].replace('""', '"'))
        if text[end + 1 : end + 2] not in ("", ","):
            raise ValueError(f"parse error on line 1, column {end + 1}: {_UNQUOTED}")
        place = end + 2
    return fields


MOUNT = ValueType("mount", mount, empty=list, gather=list.append)
