"""docs/twin.md, made of the scenarios: `make twin-page` writes it, and a test holds the two together."""

from __future__ import annotations

import sys

from harness.twin.scenarios import GROUPS, Scenario

HEAD = """\
# The twin test

`tests/docker` starts a real dockerd (Debian's docker.io, 20.10) and minirun in two throw-away hosts that are equal in
all else, does the same in both, in the same words, and compares what each command said (exit code, output, errors) and
the state afterwards, line by line, on the host and in the network namespace of every running container:

`ip -d -j link` and `addr`, `ip -d route show table all`, `ip rule`, `ip neigh`, `bridge -d link` and `fdb`,
`iptables -S` and `ip6tables -S` of filter, nat, mangle and raw in their order, all of `sysctl -a` below `net`,
`ss -lntu`, `conntrack -L`, /etc/hosts, /etc/hostname, /etc/resolv.conf, the mounted network namespaces.

Renamed is only what must differ: random ids, names of cables and MACs, each by one name wherever it stands, DOCKER and
docker0, and numbers that the kernel gives to namespaces and to ports of a bridge. Where Docker itself makes rules once
in this order and once in that, because they come out of a map of Go's, their order does not count. A difference that is
meant is listed with its scenario, as the lines of both sides; one that is listed and does not show is a failure too.
`tests/docker/test_sensitivity.py` makes two equal hosts differ on purpose, in one thing after the other, and wants each to be
seen.

What is done in each scenario stands in `tests/harness/twin/scenarios`; this page is made of it (`make twin-page`).
"""


def page() -> str:
    """The text of docs/twin.md."""
    parts = [HEAD]
    for title, scenarios in GROUPS.items():
        rows = [f"| {scenario.name} | {result(scenario)} |" for scenario in scenarios]
        parts.append("\n".join([f"## {title}\n", "| scenario | result |", "| --- | --- |", *rows, ""]))
    return "\n".join(parts)


def result(scenario: Scenario) -> str:
    """What comes out, as a cell of the table."""
    reasons = list(dict.fromkeys(one.why for one in scenario.meant))
    return "equal" if not reasons else "equal but for this: " + "; ".join(reasons)


if __name__ == "__main__":
    sys.stdout.write(page())
