"""A second try for timing-sensitive tests, and for no others: a pytest plugin that `make test` uses in two runs.

    @pytest.mark.timing("why the pace of the machine decides")

A run whose failures are all timing-sensitive ends with the exit status AGAIN instead of 1 and writes down which they
were; `pytest --second-try` runs these, and no others. Any other failure is final.
"""

from __future__ import annotations

import pytest

#: EX_TEMPFAIL of sysexits(3): no verdict yet, try again.
AGAIN = 75
KEPT = "minirun/second-try"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option --second-try."""
    parser.addoption("--second-try", action="store_true", help="run the timing-sensitive tests that failed last time")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """See that each mark has its reason; in a second try, deselect all but the tests that need it."""
    for item in items:
        for mark in item.iter_markers("timing"):
            if not mark.args:
                raise pytest.UsageError(f"{item.nodeid}: timing needs a reason")
    if config.getoption("second_try"):
        again = set(config.cache.get(KEPT, []))  # type: ignore[union-attr]
        if missing := again - {item.nodeid for item in items}:
            raise pytest.UsageError(f"not there for a second try: {', '.join(sorted(missing))}")
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in again])
        items[:] = [item for item in items if item.nodeid in again]


class Failures:
    """The tests that failed in this run: {id: whether it is timing-sensitive}."""

    def __init__(self) -> None:
        self.timing: dict[str, bool] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember a failure."""
        if report.failed:  # in the test itself, or before or after it
            self.timing[report.nodeid] = "timing" in report.keywords

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Decide whether there may be a second try, and for which tests."""
        if session.config.getoption("second_try"):
            return
        final = exitstatus != pytest.ExitCode.TESTS_FAILED or not self.timing or not all(self.timing.values())
        session.config.cache.set(KEPT, [] if final else sorted(self.timing))  # type: ignore[union-attr]
        if not final:
            session.exitstatus = AGAIN

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """Print which tests needed it."""
        for test in config.cache.get(KEPT, []):  # type: ignore[union-attr]
            result = "failed again" if test in self.timing else "passed now"
            terminalreporter.write_line(
                f"needed a second try: {test}" + (f" ({result})" if config.getoption("second_try") else "")
            )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark."""
    config.addinivalue_line(
        "markers", "timing(reason): the pace of the machine decides: `make test` gives it a second try"
    )
    if not hasattr(config, "workerinput"):  # the one process that hears of all tests
        config.pluginmanager.register(Failures())
