"""Moments as Docker writes them: RFC 3339 in UTC, with as many digits as are needed: "2026-11-23T03:18:38.18205939Z".

Go drops the zeros at the end of a fraction, so these texts do not sort by themselves; `read` makes numbers of them.
Inside minirun a moment is an int: nanoseconds since 1970-01-01T00:00:00Z, as time_ns(7) counts. `datetime` would stop
at microseconds, and loading it costs more than this module's work.
"""

from __future__ import annotations

import time

#: What Docker shows for "never": the first moment that Go's time.Time can name.
ZERO = "0001-01-01T00:00:00Z"
SECOND = 1_000_000_000

_UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}
_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def now() -> str:
    """This moment, as RFC 3339 text."""
    return write(time.time_ns())


def write(moment: int) -> str:
    """A moment (ns since 1970) as text, without zeros at the end: Go's time.RFC3339Nano."""
    fraction = f"{moment % SECOND:09d}".rstrip("0")
    return f"{_seconds(moment)}.{fraction}Z" if fraction else f"{_seconds(moment)}Z"


def write_fixed(moment: int) -> str:
    """The same with all nine digits, as `docker logs -t` prints it."""
    return f"{_seconds(moment)}.{moment % SECOND:09d}Z"


def _seconds(moment: int) -> str:
    year, month, day, hour, minute, second = time.gmtime(moment // SECOND)[:6]
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}"


def read_own(text: str) -> int:
    """The moment (ns since 1970) of a text that `write` has made: quicker than `read`, and trusting."""
    seconds = _days(int(text[:4]), int(text[5:7]), int(text[8:10])) * 86400
    seconds += int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])
    return seconds * SECOND + int(f"{text[20:-1]:0<9}")


def read(text: str, offset: int = 0) -> int:
    """The moment (ns since 1970) that a text names: a date, or a date and a time, with a zone or without.

    Arguments: offset, seconds east of Greenwich that hold for a text without a zone.
    Errors: ValueError.
    """
    text, offset = _take_zone(text, offset)
    date, _, clock = text.partition("T")
    year, month, day = (_number(part, width) for part, width in zip(date.split("-"), (4, 2, 2), strict=True))
    if not (1 <= month <= 12 and 1 <= day <= _LENGTHS[month - 1]):
        raise ValueError(f"no such day: {date}")
    clock, _, fraction = clock.partition(".")
    parts = [_number(part, 2) for part in clock.split(":")] if clock else []
    hour, minute, second = (parts + [0, 0, 0])[:3]
    if len(parts) > 3 or hour > 23 or minute > 59 or second > 60:
        raise ValueError(f"no such time: {clock}")
    if fraction and (len(parts) < 3 or not fraction.isdecimal()):
        raise ValueError(f"no such fraction: {fraction}")
    seconds = _days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset
    return seconds * SECOND + int(f"{fraction[:9]:0<9}")


def _take_zone(text: str, offset: int) -> tuple[str, int]:
    """Split off "Z" or "+02:00"."""
    if text[-1:] in ("Z", "z"):
        return text[:-1], 0
    sign = text[-6:-5]
    if text[-3:-2] == ":" and sign in ("+", "-") and len(text) > 10:
        east = _number(text[-5:-3], 2) * 3600 + _number(text[-2:], 2) * 60
        return text[:-6], east if sign == "+" else -east
    return text, offset


def _number(text: str, width: int) -> int:
    if len(text) != width or not (text.isascii() and text.isdecimal()):
        raise ValueError(f"not {width} digits: {text!r}")
    return int(text)


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01. The year is taken to start in March, so that the leap day is its last day."""
    year -= month <= 2
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return 365 * year + year // 4 - year // 100 + year // 400 + day_of_year - 719468


def wished(text: str, reference: int) -> int:
    """The moment (ns) that --since or --until asks for: RFC 3339, seconds since 1970, or how long ago ("10m").

    Arguments: reference (ns), the moment that "ago" counts from. A text without a zone is local time.
    Errors: ValueError with Docker's words. Source: Docker's `GetTimestamp`, which also drops the fraction of a second
    where a duration is given.
    """
    ago = _duration(text)
    if ago is not None and text != "0":
        return (reference - ago) // SECOND * SECOND
    try:
        return read(text, time.localtime(reference // SECOND).tm_gmtoff)
    except ValueError:
        pass  # not a date: then it may be a number of seconds
    seconds, _, fraction = text.partition(".")
    if not _is_digits(seconds) or not _is_digits(fraction or "0"):
        raise ValueError(f'failed to parse value as time or duration: "{text}"')
    return int(seconds) * SECOND + int(f"{fraction[:9]:0<9}")


def _duration(text: str) -> int | None:
    """Nanoseconds in "1h30m" or "-1.5s" (Go's time.ParseDuration); None when it is no duration."""
    rest, total = text.lstrip("+-") if text[:1] in ("+", "-") else text, 0
    if not rest:
        return None
    while rest:
        length = len(rest) - len(rest.lstrip("0123456789."))
        number, rest = rest[:length], rest[length:]
        length = len(rest) - len(rest.lstrip("nuµmsh"))
        unit, rest = rest[:length], rest[length:]
        whole, _, part = number.partition(".")
        if unit not in _UNITS or not _is_digits(whole + part):
            return None
        total += int(whole or "0") * _UNITS[unit] + int(f"{part[:9]:0<9}") * _UNITS[unit] // SECOND
    return -total if text.startswith("-") else total


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdecimal()
