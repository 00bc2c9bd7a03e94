"""JSON to and from Python values, through CPython's C scanner and encoder.

`import json` would do the same work, but costs some 10 ms at each start, most of it for `re`, and a container start
takes three times that; see `docs/inside.md` on the hot path. The output is compact, one line, ASCII only, as that of
`json.dumps(value, separators=(",", ":"))`.
"""

from __future__ import annotations

try:
    import _json

    class _Settings:
        """The settings of a plain decoder, by the names that the C scanner asks for (`json.JSONDecoder`)."""

        strict, object_hook, object_pairs_hook, parse_float, parse_int = True, None, None, float, int
        parse_constant = float

    _scan = _json.make_scanner(_Settings)  # type: ignore[arg-type]

    def loads(text: str) -> object:
        """The value of a JSON text. Errors: ValueError for text that is not JSON."""
        start = len(text) - len(text.lstrip())
        try:
            value, end = _scan(text, start)
            if not text[end:].strip():
                return value
        except (StopIteration, SystemError):  # the bare scanner needs json.decoder for its error message
            pass
        from json import loads as full_loads  # raises the ValueError that says where the mistake is

        return full_loads(text)

    def _refuse(value: object) -> object:
        raise TypeError(f"{type(value).__name__} cannot be written as JSON")

    _encode = _json.make_encoder(None, _refuse, _json.encode_basestring, None, ":", ",", False, False, True)

    def dumps(value: object) -> str:
        """A value as one line of JSON. Errors: TypeError for a value that JSON cannot express."""
        return "".join(_encode(value, 0))

except ImportError:  # an interpreter without CPython's accelerator: the same, slower
    pass
