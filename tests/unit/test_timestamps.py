"""Moments as text, against Python's datetime and Go's rules."""

import datetime
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirun import timestamps

S = timestamps.SECOND


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1795403918182059391, "2026-11-23T03:18:38.182059391Z"),
        (1795403010588342360, "2026-11-23T03:03:30.58834236Z"),
        (S // 2, "1970-01-01T00:00:00.5Z"),
        (1795472030 * S, "2026-11-23T22:13:50Z"),  # a zero of the seconds is none of the fraction
        (1795472030 * S + 10, "2026-11-23T22:13:50.00000001Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
    ],
)
def test_zeros_at_the_end_are_dropped(moment, text):
    assert timestamps.rfc3339_nano(moment) == text
    assert timestamps.parse(text) == moment


def test_nine_digits():
    assert timestamps.rfc3339_nano_fixed(S // 2) == "1970-01-01T00:00:00.500000000Z"


def test_never():
    assert timestamps.parse(timestamps.ZERO) == -62135596800 * S


@given(st.datetimes(min_value=datetime.datetime(1800, 1, 1), max_value=datetime.datetime(2300, 1, 1)))
def test_as_datetime_has_it(moment):
    moment = moment.replace(tzinfo=datetime.UTC)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    number = (moment - epoch) // datetime.timedelta(microseconds=1) * 1000
    assert timestamps.parse(moment.isoformat()) == number
    assert timestamps.parse(timestamps.rfc3339_nano(number)) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "2026",
        "2026-13-01",
        "2026-00-01",
        "2026-02-30",
        "2026-1-1",
        "2026-01-01T25",
        "2026-01-01T10:60",
        "2026-01-01T10:00:00.xZ",
        "2026-01-01T10:00:00:00Z",
        "+026-01-01",
        "2026-01-01T10.5",
        "٢٠٢٦-01-01",
        "2026-01-01-01",
        "2026-01-01T1:00",
    ],
)
def test_no_moment(text):
    with pytest.raises(ValueError):
        timestamps.parse(text)


NOW = 1_800_000_000 * S + 123


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("10s", 1_799_999_990 * S),
        ("1h30m", (1_800_000_000 - 5400) * S),
        ("1.5h", (1_800_000_000 - 5400) * S),
        ("-10s", 1_800_000_010 * S),
        ("500ms", 1_799_999_999 * S),
        ("0", 0),
        ("1795403918", 1795403918 * S),
        ("10", 10 * S),
        ("1795403918.5", 1795403918 * S + S // 2),
        ("1.000000001", S + 1),
        ("2026-11-23T03:18:38.5Z", 1795403918 * S + S // 2),
        ("2026-11-23T05:18:38+02:00", 1795403918 * S),
        ("2026-11-23T03:18Z", 1795403880 * S),
        ("2026-11-23Z", 1795392000 * S),
        ("2026-11-23T03Z", 1795402800 * S),
    ],
)
def test_what_since_takes(text, moment):
    assert timestamps.parse_since(text, NOW) == moment


def test_without_a_zone_it_is_local_time(monkeypatch):
    monkeypatch.setenv("TZ", "EST5")
    time.tzset()
    try:
        assert timestamps.parse_since("2026-11-23T03:18:38", NOW) == (1795403918 + 5 * 3600) * S
        assert timestamps.parse_since("2026-11-23", NOW) == (1795392000 + 5 * 3600) * S
        assert timestamps.parse_since("2026-11-23T03:18:38Z", NOW) == 1795403918 * S
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["bad", "", "10x", "s", "1..5s", "5 s", "-", "+", "1h bad", "1.x", "²"])
def test_what_it_does_not_take(text):
    with pytest.raises(ValueError, match='^failed to parse value as time or duration: "'):
        timestamps.parse_since(text, NOW)


@pytest.mark.parametrize(
    ("text", "ns"),
    [("0", 0), ("+0", 0), ("1h30m", 5400 * S), ("-1.5s", -3 * S // 2), ("1µs1us", 2000), (".5m", 30 * S), ("1.s", S)],
)
def test_durations(text, ns):
    assert timestamps.parse_duration(text) == ns


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'time: invalid duration ""'),
        ("--5s", 'time: invalid duration "--5s"'),
        ("5s0", 'time: missing unit in duration "5s0"'),
        ("1.5 h", 'time: unknown unit " h" in duration "1.5 h"'),
        ("2562048h", 'time: invalid duration "2562048h"'),
    ],
)
def test_no_durations(text, message):
    with pytest.raises(ValueError) as caught:
        timestamps.parse_duration(text)
    assert str(caught.value) == message
