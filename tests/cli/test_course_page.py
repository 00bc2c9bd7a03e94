"""docs/network-course.md: all its commands are run in a throw-away host and print what stands there.

`make course` sets MINIRUN_WRITE_PAGE: then the page gets what they print now.
"""

from __future__ import annotations

import os
from pathlib import Path

from console_page import run_again, shape

PAGE = Path(__file__).resolve().parents[2] / "docs" / "network-course.md"


def test_the_page_says_what_its_commands_print(new_host):
    program = Path(new_host.minirun.words[0])
    new_host.environment.update(PATH=f"{program.parent}:{new_host.environment['PATH']}", LC_ALL="C")
    page = PAGE.read_text()
    new = run_again(page, new_host)
    if os.environ.get("MINIRUN_WRITE_PAGE"):
        PAGE.write_text(new)
    else:
        assert shape(new).splitlines() == shape(page).splitlines()
    assert new.count("1# ") > 80
