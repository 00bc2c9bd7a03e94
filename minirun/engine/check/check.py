"""`system check`: compare our records with the kernel and find stale state.

minirun has no daemon that would notice a crash. Every step records what it is about to make before it makes it, so
what a `kill -9` leaves is known by some record; here all records are compared with the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minirun.engine.check import kernel_features, stale_containers, stale_files
from minirun.engine.check.problem import Problem
from minirun.errors import MinirunError

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon

#: First of all what is frozen, since it cannot even be killed. Then in the order of a take-down: a dead container
#: first, with all that its own record leads to; what is found after that has no record any more.
CHECKS = (
    stale_containers.frozen_containers,
    stale_containers.dead_containers,
    stale_containers.failed_services,
    stale_containers.run_directories,
    stale_containers.runtime_states,
    stale_files.half_made,
    stale_files.orphaned_names,
    stale_containers.stale_cgroups,
    stale_containers.stale_ports,
    stale_containers.network_leftovers,
    stale_containers.half_created_networks,
    stale_files.volume_leftovers,
    stale_files.image_leftovers,
    stale_files.unfinished_writes,
)


class Report:
    """`.features`, list of (name, ok, note); `.problems`, list of `Problem`."""

    __slots__ = ("features", "problems")

    def __init__(self, found: list[kernel_features.Feature], problems: list[Problem]) -> None:
        self.features, self.problems = found, problems

    @property
    def good(self) -> bool:
        """Whether minirun can work here and nothing stale is left."""
        return all(ok for _, ok, _ in self.features) and all(problem.cleared for problem in self.problems)


def run(daemon: Daemon, repair: bool = False) -> Report:
    """Run all checks; with `repair`, clear each problem as it is found.

    Safe to do twice, in two places at once, and while others start and stop containers.
    """
    problems = []
    for check in CHECKS:
        try:
            for problem in check(daemon):
                if repair:
                    problem.clear()
                problems.append(problem)
        except MinirunError as error:  # a damaged record; the other checks are still worth it
            problems.append(Problem("record", str(error), None, why=error.hint))
    return Report(kernel_features.every(daemon), problems)
