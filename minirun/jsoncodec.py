"""JSON through CPython's C scanner and encoder.

`import json` would do the same work, but costs some 10 ms at each start, most of it for `re`: a third of a whole start.
"""

from __future__ import annotations

try:
    import _json

    class _Plain:
        """The settings of a plain JSON reader, as `json.decoder` would hold them."""

        strict, object_hook, object_pairs_hook, parse_float, parse_int = True, None, None, float, int
        parse_constant = float

    _scan = _json.make_scanner(_Plain)  # type: ignore[arg-type]

    def loads(text: str) -> object:
        """The value that a JSON text stands for. Errors: ValueError on text that is not JSON."""
        start = len(text) - len(text.lstrip())
        try:
            value, end = _scan(text, start)
            if not text[end:].strip():
                return value
        except (StopIteration, SystemError):  # the bare scanner cannot word its error, the full module can
            pass
        from json import loads as explain

        return explain(text)

    def _refuse(value: object) -> object:
        raise TypeError(f"{type(value).__name__} has no place in JSON")

    _encode = _json.make_encoder(None, _refuse, _json.encode_basestring, None, ":", ",", False, False, True)

    def dumps(value: object) -> str:
        """A value as one line of JSON. Errors: TypeError for a value JSON has no word for."""
        return "".join(_encode(value, 0))

except ImportError:  # an interpreter without CPython's accelerator: the same, slower
    from json import dumps, loads  # type: ignore[assignment]

__all__ = ["dumps", "loads"]
