"""docs/architecture.md is what the code is. After a change of imports, rooms or docstrings: `make architecture`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

COMMAND = Path(__file__).resolve().parents[2] / "docs/draw_architecture.py"


def test_the_page_is_what_the_command_makes() -> None:
    done = subprocess.run([sys.executable, COMMAND, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
