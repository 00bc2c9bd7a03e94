"""Indented JSON, as `docker inspect` prints it: four spaces a level (Go's json.MarshalIndent)."""

from __future__ import annotations

from minirun import jsoncodec


def pretty(value: object, indent: str = "") -> str:
    """A value as JSON over several lines (Go's json.Indent: an empty list or object stays on its line).

    Arguments: indent (str), the blanks before each line but the first.
    """
    deeper = indent + "    "
    if isinstance(value, dict) and value:
        inner = (f"{deeper}{jsoncodec.dumps(str(key))}: {pretty(item, deeper)}" for key, item in value.items())
        return "{\n" + ",\n".join(inner) + f"\n{indent}}}"
    if isinstance(value, (list, tuple)) and value:
        return "[\n" + ",\n".join(deeper + pretty(item, deeper) for item in value) + f"\n{indent}]"
    return jsoncodec.dumps(value)
