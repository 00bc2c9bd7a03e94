"""The pages of the course: all their commands are run in a throw-away host and print what stands there.

`make course` sets MINIRUN_WRITE_PAGE: then the pages get what they print now.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.console_page import run_again, shape

pytestmark = pytest.mark.timing("the pages show packets, and ARP asks again when a command took its time")

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize(("name", "commands"), [("network-course.md", 80), ("images.md", 40)])
def test_the_page_says_what_its_commands_print(new_host, name, commands):
    program = Path(new_host.minirun.words[0])
    new_host.environment.update(PATH=f"{program.parent}:{new_host.environment['PATH']}", LC_ALL="C")
    page = (DOCS / name).read_text()
    new = run_again(page, new_host).replace(str(new_host.data), "/var/lib/minirun")
    if os.environ.get("MINIRUN_WRITE_PAGE"):
        (DOCS / name).write_text(new)
    else:
        assert shape(new).splitlines() == shape(page).splitlines()
    assert new.count("1# ") > commands
