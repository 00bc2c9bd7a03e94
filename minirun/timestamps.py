"""Moments and durations as Docker writes and reads them: RFC 3339 in UTC, and Go's "1h30m".

Inside minirun a moment is an int: nanoseconds since 1970-01-01T00:00:00Z, as clock_gettime(2) counts. Docker's text has
as many digits as are needed, "2026-11-23T03:18:38.18205939Z" (Go's time.RFC3339Nano drops zeros at the end of the
fraction), so these texts do not sort by themselves: `parse` makes numbers of them. `datetime` would stop at
microseconds, and loading it costs more than this module's work.
"""

from __future__ import annotations

import time

#: What Docker shows for "never": the zero value of Go's time.Time.
ZERO = "0001-01-01T00:00:00Z"
SECOND = 1_000_000_000

_UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}
_MOST = 2**63  # ns: Go's time.Duration is an int64
_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def now() -> str:
    """The present moment as RFC 3339 text."""
    return rfc3339_nano(time.time_ns())


def rfc3339_nano(moment: int) -> str:
    """A moment (ns since 1970) as Go's time.RFC3339Nano: no zeros at the end of the fraction, no fraction of zero."""
    # Only the fraction is stripped: of a whole text, "...:50.000000000", the seconds' own zero would go too.
    fraction = f"{moment % SECOND:09d}".rstrip("0")
    return f"{_seconds(moment)}.{fraction}Z" if fraction else f"{_seconds(moment)}Z"


def rfc3339_nano_fixed(moment: int) -> str:
    """A moment (ns since 1970) with all nine digits, as `docker logs -t` prints it (moby's RFC3339NanoFixed)."""
    return f"{_seconds(moment)}.{moment % SECOND:09d}Z"


def _seconds(moment: int) -> str:
    year, month, day, hour, minute, second = time.gmtime(moment // SECOND)[:6]
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}"


def parse_own(text: str) -> int:
    """The moment (ns since 1970) of a text that `rfc3339_nano` has made: quicker than `parse`, without its checks."""
    seconds = _days(int(text[:4]), int(text[5:7]), int(text[8:10])) * 86400
    seconds += int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])
    return seconds * SECOND + int(f"{text[20:-1]:0<9}")


def parse(text: str, offset: int = 0) -> int:
    """The moment (ns since 1970) of an RFC 3339 text: a date, or a date and a time, with a zone or without.

    Arguments: offset (int), seconds east of Greenwich, for a text without a zone. Errors: ValueError.
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
    """Split off the zone, "Z" or "+02:00". Returns: what is before it, and its seconds east of Greenwich."""
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
    """Days since 1970-01-01. The year is counted from March, so that the leap day is its last day."""
    year -= month <= 2
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return 365 * year + year // 4 - year // 100 + year // 400 + day_of_year - 719468


def parse_since(text: str, reference: int) -> int:
    """The moment (ns since 1970) of --since or --until: RFC 3339, seconds since 1970, or a duration back ("10m").

    Arguments: reference (ns), the moment from which a duration counts back. A text without a zone is local time.
    Errors: ValueError with Docker's message. Source: moby, api/types/time, GetTimestamp, which also drops the fraction
    of a second where a duration is given.
    """
    try:
        ago = parse_duration(text)
    except ValueError:
        pass  # no duration
    else:
        if text != "0":
            return (reference - ago) // SECOND * SECOND
    try:
        return parse(text, time.localtime(reference // SECOND).tm_gmtoff)
    except ValueError:
        pass  # no date either: then it may be a number of seconds
    seconds, _, fraction = text.partition(".")
    if not _is_digits(seconds) or not _is_digits(fraction or "0"):
        raise ValueError(f'failed to parse value as time or duration: "{text}"')
    return int(seconds) * SECOND + int(f"{fraction[:9]:0<9}")


def parse_duration(text: str) -> int:
    """The nanoseconds of "1h30m", "-1.5s" or "0" (Go, time.ParseDuration). Errors: ValueError with Go's message."""
    rest, total = text[1:] if text[:1] in ("+", "-") else text, 0
    if rest == "0":  # the one number that needs no unit
        return 0
    if not rest:
        raise ValueError(f'time: invalid duration "{text}"')
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        whole, _, fraction = number.partition(".")
        if not _is_digits(whole + fraction):
            raise ValueError(f'time: invalid duration "{text}"')
        rest = rest[len(number) :]
        # As in Go, the unit is all up to the next number, so that an unknown one is named whole.
        unit = rest[: next((place for place, letter in enumerate(rest) if letter in "0123456789."), len(rest))]
        if unit not in _UNITS:
            problem = f'unknown unit "{unit}" in' if unit else "missing unit in"
            raise ValueError(f'time: {problem} duration "{text}"')
        total += int(whole or "0") * _UNITS[unit] + int(f"{fraction[:9]:0<9}") * _UNITS[unit] // SECOND
        rest = rest[len(unit) :]
    if total >= _MOST:
        raise ValueError(f'time: invalid duration "{text}"')
    return -total if text.startswith("-") else total


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdecimal()
