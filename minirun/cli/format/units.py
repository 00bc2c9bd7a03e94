"""Sizes and durations in Docker's words (github.com/docker/go-units)."""

from __future__ import annotations

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def decimal_size(size: float, digits: int = 3) -> str:
    """Bytes in steps of 1000: "23.1MB", as in `docker images`. Arguments: digits (int), how many that count."""
    return _size(size, 1000, _DECIMAL, digits)


def binary_size(size: float) -> str:
    """Bytes in steps of 1024: "3.842GiB", as in `docker info`."""
    return _size(size, 1024, _BINARY, 4)


def _size(size: float, step: int, names: tuple[str, ...], digits: int) -> str:
    place = 0
    while size >= step and place < len(names) - 1:
        size /= step
        place += 1
    number = f"{size:.{digits}g}"  # Go's %.3g: 999.9 becomes 1e+03 there as well
    return f"{number}{names[place]}"


def duration(seconds: float) -> str:
    """How long, roughly: "4 seconds", "About a minute", "16 minutes" (units.HumanDuration).

    Half hours and more count as a whole one; all else is cut off, not rounded.
    """
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < _MINUTE:
        return f"{whole} seconds"
    minutes = whole // _MINUTE
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / _HOUR + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{whole // _HOUR // 24 // 365} years"
