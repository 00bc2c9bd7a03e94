"""`system reset-network`: remove everything of minirun's from the host's network, and show that it is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minirun.cli.parser.grammar import Options, Verb

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon
    from minirun.engine.network.reset import Report


def reset(daemon: Daemon, options: Options) -> int:
    """Remove minirun's links, rules and settings, print what was removed and what is left. Returns: 1 if any is."""
    from minirun.engine.network import reset

    report = reset.reset(daemon)
    print("\n".join(report_lines(report)))
    return 1 if report.left or report.why or report.foreign else 0


def report_lines(report: Report) -> list[str]:
    """What `system reset-network` prints."""
    lines = [f"gone     {line}" for line in report.gone]
    lines += [f"set back {old}, now {new.rpartition(' ')[2]}" for old, new in report.changed]
    lines += ["", "Left of what was ours: " + ("" if report.left or report.why else "nothing")]
    lines += [f"  {line}" for line in (*report.left, *report.why)]
    lines.append("Changed of what is others': " + ("" if report.foreign else "nothing"))
    return [line.rstrip() for line in [*lines, *(f"  {line}" for line in report.foreign)]]


VERBS = {
    "system reset-network": Verb(
        "system reset-network",
        "Take minirun's links, firewall rules and names away",
        "",
        reset,
        help="Take minirun's links, firewall rules and names away, and prove it.\n\n"
        "No container may run. The networks that you have made stay on record: they are "
        "laid anew\nwhen a container is started on them.",
    ),
}
