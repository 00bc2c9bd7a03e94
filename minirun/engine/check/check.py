"""The kernel and the directories compared: what is ours and does not belong (`system check`).

minirun has no daemon that would notice a crash. Every step writes down what it is about to make before it makes it, so
whatever a `kill -9` leaves is known by some record of ours; here all records are held against the kernel.
"""

from __future__ import annotations

from minirun.engine.check import kernel_features, stale_containers, stale_files
from minirun.engine.check.problem import Problem
from minirun.errors import MinirunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon

#: First of all what is frozen, since it cannot even be killed. Then in the order of a take-down: a dead container
#: first, with all that its own record leads to; what is found after that has no record any more.
LOOKS = (
    stale_containers.frozen_containers,
    stale_containers.dead_containers,
    stale_containers.failed_services,
    stale_containers.run_directories,
    stale_containers.runtime_states,
    stale_files.half_made,
    stale_files.names_of_nobody,
    stale_containers.cgroups_of_nobody,
    stale_containers.ports_of_nobody,
    stale_containers.network_leftovers,
    stale_containers.half_networks,
    stale_files.volume_leftovers,
    stale_files.image_leftovers,
    stale_files.unfinished_writes,
)


class Report:
    """`.features`, list of (name, ok, note); `.problems`, list of `finding.Problem`."""

    __slots__ = ("features", "problems")

    def __init__(self, found: list[kernel_features.Feature], problems: list[Problem]) -> None:
        self.features, self.problems = found, problems

    @property
    def good(self) -> bool:
        """Whether minirun can work here, and nothing is left that does not belong."""
        return all(ok for _, ok, _ in self.features) and all(problem.cleared for problem in self.problems)


def run(daemon: Daemon, repair: bool = False) -> Report:
    """Look at everything; with `repair`, clear each problem as it is found.

    Safe to do twice, in two places at once, and while others start and stop containers.
    """
    problems = []
    for look in LOOKS:
        try:
            for problem in look(daemon):
                if repair:
                    problem.clear()
                problems.append(problem)
        except MinirunError as error:  # a damaged record; the other looks are worth it all the same
            problems.append(Problem("record", str(error), None, why=error.hint))
    return Report(kernel_features.every(daemon), problems)
