"""`make test`'s second try: for timing-sensitive tests only, and it says which needed it."""

import os
import subprocess
import sys

import pytest

from harness.host import ROOT

TESTS = """
import os, pytest

@pytest.mark.timing("a reason")
def test_slow():
    if not os.path.exists("seen"):
        open("seen", "w")
        raise AssertionError("too slow")

def test_other():
    assert "BROKEN" not in os.environ
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "test_x.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    def run(*options, **environment):
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "harness.second_try", "--strict-markers", *options],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT / "tests"), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_timing_sensitive_test_may_fail_once(run, workers):
    first = run(*workers)
    assert first.returncode == 75, first.stdout
    assert "needed a second try: test_x.py::test_slow" in first.stdout
    second = run("--second-try")
    assert second.returncode == 0, second.stdout
    assert "needed a second try: test_x.py::test_slow (passed now)" in second.stdout
    assert "1 passed, 1 deselected" in second.stdout


def test_any_other_failure_is_final(run):
    done = run(BROKEN="1")
    assert done.returncode == 1
    assert "second try" not in done.stdout
    assert run().returncode == 0  # and is not remembered


def test_a_mark_needs_a_reason(run, tmp_path):
    (tmp_path / "test_x.py").write_text(TESTS.replace('("a reason")', ""))
    assert "timing needs a reason" in run().stderr
