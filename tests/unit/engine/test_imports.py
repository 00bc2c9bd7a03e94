"""What the engine's pure parts may load: each module here is on the way of a container's start, or of `ps`."""

import os
import subprocess
import sys

import pytest

import minirun

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(minirun.__file__)))
SLOW = (
    "re json typing dataclasses enum pathlib subprocess signal socket selectors contextlib functools collections "
    "shutil tempfile logging argparse pyroute2 click asyncio importlib.metadata datetime random hashlib"
).split()
MODULES = """
spec.specgen container.config spec.users container.names container.inspect shim.logs shim.json_file spec.env volume.mountpoints container.validate spec.capabilities shim.signals daemon
""".split()


@pytest.mark.parametrize(
    "module",
    [*(f"minirun.engine.{name}" for name in MODULES), "minirun.image.snapshot.read_file", "minirun.timestamps"],
)
def test_it_loads_nothing_slow(module):
    places = [ROOT, *(path for path in sys.path if path.endswith("-packages"))]  # what -S leaves out
    program = f"import sys; sys.path += {places}; import {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-IS", "-c", program], capture_output=True, text=True, check=True).stdout
    assert module in loaded.split()
    assert sorted(set(loaded.split()) & set(SLOW)) == []
