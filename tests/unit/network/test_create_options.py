"""The record of a new network."""

import time

from minirun.network import create_options


def test_a_network_made_at_a_round_moment(monkeypatch):
    """Go drops the zeros of the fraction only: ":50.000000000" is ":50", and was ":5" here."""
    monkeypatch.setattr(time, "time_ns", lambda: 1795472030 * 10**9)
    assert create_options.new_record("n", "bridge")["Created"] == "2026-11-23T22:13:50Z"
    monkeypatch.setattr(time, "time_ns", lambda: 1795472030 * 10**9 + 120_000_000)
    assert create_options.new_record("n", "bridge")["Created"] == "2026-11-23T22:13:50.12Z"
