"""Many at once, and many already there: the throughput of starts, and what start number 300 costs."""

from __future__ import annotations

import threading
import time

from rivals import Docker, Minirun, milliseconds
from table import Table

AT_ONCE = 8


def start_many(rival: Minirun | Docker, number: int) -> float:
    """Start `number` (int) containers, eight at a time. Returns: containers per second. Errors: RuntimeError."""
    left, errors = iter(range(number)), []
    turn = threading.Lock()

    def work() -> None:
        while True:
            with turn:
                if errors or next(left, None) is None:
                    return
            try:
                milliseconds(rival.start(), rival.environment)
            except RuntimeError as error:
                errors.append(error)

    workers = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    begun = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]
    return number / (time.perf_counter() - begun)


def compare_crowds(table: Table, minirun: Minirun, docker: Docker, number: int) -> None:
    """`number` (int) containers in one go, of each rival in turn, and removed again."""
    rates = []
    for rival in (minirun, docker):
        rates.append([start_many(rival, number)])
        rival.remove_all()
    table.add_rate(f"{number} starts, {AT_ONCE} at a time / docker's", *rates, unit="/s", goal=5)


def compare_late_starts(table: Table, minirun: Minirun, number: int) -> None:
    """Five starts when nothing runs, and the last five of `number` (int) when all others run."""

    def five() -> list[float]:
        return [milliseconds(minirun.start(), minirun.environment) for _ in range(5)]

    five()  # what only the first start does is another matter
    minirun.remove_all()
    first = five()
    start_many(minirun, number - 10)
    minirun.wait_for_rest()
    table.add(f"start no. {number - 4}-{number} / no. 1-5", five(), first, goal=1.5)
    minirun.remove_all()
