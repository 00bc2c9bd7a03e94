"""Sizes and durations, as Docker prints them."""

import pytest

from minirun.cli.format.units import binary_size, decimal_size, duration

MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (12, "12B"),
        (999, "999B"),
        (1000, "1kB"),
        (23_100_000, "23.1MB"),
        (69_600, "69.6kB"),
        (5_550_000, "5.55MB"),
        (999_900, "1e+03kB"),
        (1_500_000_000, "1.5GB"),
        (2 * 10**12, "2TB"),
    ],
)
def test_decimal_sizes(size, text):
    assert decimal_size(size) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (405504, "396KiB"), (100 << 20, "100MiB"), (4_125_000_000, "3.842GiB")]
)
def test_binary_sizes(size, text):
    assert binary_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "Less than a second"),
        (0, "Less than a second"),
        (0.99, "Less than a second"),
        (1, "1 second"),
        (1.9, "1 second"),
        (2, "2 seconds"),
        (59.9, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (59 * MINUTE + 59, "59 minutes"),
        (HOUR, "About an hour"),
        (1.4 * HOUR, "About an hour"),
        (1.5 * HOUR, "2 hours"),
        (47.4 * HOUR, "47 hours"),
        (47.5 * HOUR, "2 days"),
        (48 * HOUR, "2 days"),
        (13 * DAY, "13 days"),
        (14 * DAY, "2 weeks"),
        (59 * DAY, "8 weeks"),
        (60 * DAY, "2 months"),
        (729 * DAY, "24 months"),
        (730 * DAY, "2 years"),
        (3700 * DAY, "10 years"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
