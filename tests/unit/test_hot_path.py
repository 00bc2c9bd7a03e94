"""What `run`, `ps` and the others load: nothing that takes longer than a container's start.

Each verb runs in a new isolated interpreter, as the launcher starts it, and that one says what it has loaded.
"""

import os
import subprocess
import sys

import pytest

import minirun

PATH = [os.path.dirname(os.path.dirname(os.path.abspath(minirun.__file__)))]
PATH += [path for path in sys.path if path.endswith("-packages")]

#: Modules that cost milliseconds each, and what is only loaded by way of them.
FORBIDDEN = frozenset(
    """
re json typing dataclasses enum pathlib subprocess signal socket selectors contextlib functools collections shutil
tempfile logging argparse asyncio threading inspect traceback importlib.metadata importlib.util ctypes pyroute2 click
rich cffi email urllib string textwrap operator datetime random hashlib tarfile
""".split()
)
ASK = """
import sys
sys.path += {path!r}
from minirun.cli import main
{work}
sys.stdout.flush()
sys.stderr.write("\\n" + " ".join(sys.modules))
"""

#: For the verbs that need root rights and an image: the modules on their way, which they import inside functions.
WAYS = {
    "run": [
        "cli.run",
        "engine.containers",
        "engine.record",
        "engine.monitor",
        "engine.running",
        "engine.relay",
        "engine.attach",
        "engine.signals",
        "image.store",
        "image.overlay",
        "image.lookup",
        "runtime.lifecycle",
        "runtime.init",
        "network.networks",
    ],
    "exec": ["cli.execute", "engine.containers", "engine.execution"],
    "start": ["cli.lifecycle", "engine.containers", "engine.monitor"],
    "run --network mine": ["engine.nameservice", "network.resolver", "network.redirect"],
    "stop": ["cli.lifecycle", "engine.containers", "engine.attach", "engine.signals"],
}
#: These do their whole work on an empty data root.
ERRANDS = [
    ["ps"],
    ["ps", "-a", "-q"],
    ["stop", "nosuch"],
    ["start", "nosuch"],
    ["kill", "nosuch"],
    ["wait", "nosuch"],
    ["rm", "-f", "nosuch"],
    ["logs", "nosuch"],
    ["exec", "nosuch", "true"],
    ["inspect", "nosuch"],
    [
        "run",
        "-it",
        "--rm",
        "-m",
        "64m",
        "--cpus",
        "0.5",
        "-e",
        "A=1",
        "-v",
        "/a:/b",
        "--mount",
        "type=bind,src=/a,dst=/b",
        "-l",
        "x=y",
        "--name",
        "n",
        "--network",
        "none",
        "--pull",
        "never",
        "-d",
        "nosuch",
        "true",
    ],
    ["container", "ls"],
    ["images"],
]


def loaded(work, **environ):
    command = [sys.executable, "-IS", "-c", ASK.format(path=PATH, work=work)]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, **environ}, stdin=subprocess.DEVNULL
    )
    return set(ran.stderr.rpartition("\n")[2].split())


def loaded_by(words, directory):
    return loaded(f"main.serve({words!r})", MINIRUN_ROOT=f"{directory}/data", MINIRUN_EXEC_ROOT=f"{directory}/run")


def culprits(modules):
    return {name for name in modules if name in FORBIDDEN or name.partition(".")[0] in FORBIDDEN}


@pytest.mark.parametrize("words", ERRANDS, ids=" ".join)
def test_a_verb_loads_nothing_heavy(tmp_path, words):
    modules = loaded_by(words, tmp_path)
    assert "minirun.engine.places" in modules, "the verb has not been reached"
    assert culprits(modules) == set()


@pytest.mark.parametrize("verb", WAYS)
def test_the_way_of_a_verb_is_light(verb):
    names = [f"minirun.{name}" for name in WAYS[verb]]
    modules = loaded("import " + ", ".join(names))
    assert set(names) <= modules
    assert culprits(modules) == set()


@pytest.mark.parametrize(
    ("words", "others"),
    [
        (["stop", "x"], {"run", "ps", "logs", "images", "execute", "template"}),
        (["ps"], {"run", "lifecycle", "images", "template", "formats", "filters", "click_reader", "complaint"}),
    ],
)
def test_a_verb_loads_its_own_group_only(tmp_path, words, others):
    modules = loaded_by(words, tmp_path)
    assert {f"minirun.cli.{name}" for name in others} & modules == set()


def test_who_has_no_volumes_does_not_load_them():
    modules = loaded(
        "from minirun.engine import bundle, containers, monitor, record, mountpoints\nmountpoints.points(['/a:/b'], [])"
    )
    parts = {f"minirun.{name}" for name in ("engine.volumes", "engine.volume_words", "engine.filling", "image.copying")}
    assert "minirun.engine.bundle" in modules and not parts & modules
    assert "minirun.engine.volume_words" in loaded(
        "from minirun.engine import mountpoints\nmountpoints.points(['ab:/b'], [])"
    )


def test_ps_does_without_os(tmp_path):
    """Its Python half: posix, in C, is there anyway."""
    modules = loaded_by(["ps"], tmp_path)
    assert "minirun.engine.register" in modules
    assert modules & {"os", "posixpath", "_collections_abc"} == set()


def test_this_test_can_fail():
    assert culprits(loaded("import json")) >= {"json", "re"}
    assert "click" in culprits(loaded("main.serve(['ps', '--nosuchflag'])"))
