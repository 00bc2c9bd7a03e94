"""`--filter NAME=VALUE` of every list and every prune (moby, api/types/filters).

Several values of one name are alternatives, except for labels; conditions of different names must all hold. A list
declares its names in a table: name → a function from the name's values to a test of one object. The functions here
make the tests that several lists have; the modules beside this one hold what each list adds.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from minirun import timestamps
from minirun.errors import EngineError

T = TypeVar("T")
Test = Callable[[T], bool]
Factory = Callable[[list[str]], Test[T]]

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def matcher(conditions: Sequence[tuple[str, str]], factories: Mapping[str, Factory[T]]) -> Test[T]:
    """The test for all conditions of a command line.

    Arguments: conditions, pairs of name and value as given; factories, the names that this list knows.
    Errors: EngineError for an unknown name, as Docker checks before it looks at any value; or a factory's own.
    """
    values: dict[str, list[str]] = {}
    for name, value in conditions:
        if name not in factories:
            raise EngineError(f"Invalid filter '{name}'", exit_code=1)
        values.setdefault(name, []).append(value)
    tests = [factories[name](given) for name, given in values.items()]
    return lambda subject: all(test(subject) for test in tests)


def like(read: Callable[[T], str]) -> Factory[T]:
    """Docker's Match: one of the values is equal, or as a regular expression is found anywhere in the text."""

    def factory(values: list[str]) -> Test[T]:
        patterns = [_pattern(value) for value in values]
        return lambda subject: any(pattern.search(read(subject)) for pattern in patterns)

    return factory


def _pattern(value: str) -> re.Pattern[str]:
    try:
        return re.compile(value)
    except re.error:
        return re.compile(re.escape(value))


def equal(read: Callable[[T], str]) -> Factory[T]:
    """One of the values is equal (filters.ExactMatch)."""
    return lambda values: lambda subject: read(subject) in values


def labels(read: Callable[[T], Mapping[str, str] | None]) -> Factory[T]:
    """All of the labels are there: "KEY" with any value, "KEY=VALUE" with this one (filters.MatchKVList)."""

    def factory(values: list[str]) -> Test[T]:
        pairs = [value.partition("=") for value in values]

        def has_all(subject: T) -> bool:
            there = read(subject) or {}
            return all(name in there and (not equals or there[name] == value) for name, equals, value in pairs)

        return has_all

    return factory


def no_labels(read: Callable[[T], Mapping[str, str] | None]) -> Factory[T]:
    """None of the labels is there: `label!`."""
    has = labels(read)

    def factory(values: list[str]) -> Test[T]:
        tests = [has([value]) for value in values]
        return lambda subject: not any(test(subject) for test in tests)

    return factory


def moment(value: str) -> int:
    """The value of `until`, a time or a duration before now, in nanoseconds since 1970. Errors: EngineError."""
    try:
        return timestamps.parse_since(value, time.time_ns())
    except ValueError:
        raise EngineError(f'failed to parse value as time or duration: "{value}"', exit_code=1) from None


def booleans(values: list[str], refusal: str) -> set[bool]:
    """The values of a filter that is true or false. Errors: EngineError with `refusal` for any other value."""
    if any(value not in _BOOLEANS for value in values):
        raise EngineError(refusal, exit_code=1)
    return {_BOOLEANS[value] for value in values}
