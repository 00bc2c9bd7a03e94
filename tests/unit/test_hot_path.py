"""What `run`, `ps` and the others load: nothing that takes longer than a container's start.

Each verb runs in a new isolated interpreter, as the launcher starts it, and that one says what it has loaded.
"""

import os
import subprocess
import sys

import pytest

import minirun
from minirun import hot_path

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
        "cli.run.run",
        "engine.create",
        "engine.start",
        "engine.container.config",
        "engine.shim.shim",
        "engine.shim.task",
        "engine.shim.relay",
        "engine.shim.attach",
        "engine.shim.signals",
        "image.images",
        "image.snapshot.overlayfs",
        "image.snapshot.read_file",
        "runtime.lifecycle",
        "runtime.init",
        "network.controller",
    ],
    "exec": ["cli.container.exec", "engine.exec"],
    "start": ["cli.container.lifecycle", "engine.start", "engine.shim.shim"],
    "run --network mine": ["engine.network.dns_service", "network.dns.server", "network.dns.listen_in_netns"],
    "stop": ["cli.container.lifecycle", "engine.stop", "engine.shim.attach", "engine.shim.signals"],
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
    assert "minirun.engine.daemon" in modules, "the verb has not been reached"
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
        (
            ["stop", "x"],
            {"run.run", "container.ps", "container.logs", "image.images", "container.exec", "gotemplate.parse"},
        ),
        (
            ["ps"],
            {
                "run.run",
                "container.lifecycle",
                "image.images",
                "gotemplate.parse",
                "format.format",
                "filters.containers",
                "parser.click_adapter",
                "error_text",
            },
        ),
    ],
)
def test_a_verb_loads_its_own_group_only(tmp_path, words, others):
    modules = loaded_by(words, tmp_path)
    assert {f"minirun.cli.{name}" for name in others} & modules == set()


def test_who_has_no_volumes_does_not_load_them():
    modules = loaded(
        "from minirun.engine import create, start\nfrom minirun.engine.container import config\nfrom minirun.engine.shim import shim\nfrom minirun.engine.spec import bundle\nfrom minirun.engine.volume import mountpoints\nmountpoints.parse_all(['/a:/b'], [])"
    )
    parts = {
        f"minirun.{name}"
        for name in ("engine.volume.volumes", "engine.volume.parse", "engine.volume.populate", "image.snapshot.copy_up")
    }
    assert "minirun.engine.spec.bundle" in modules and not parts & modules
    assert "minirun.engine.volume.parse" in loaded(
        "from minirun.engine.volume import mountpoints\nmountpoints.parse_all(['ab:/b'], [])"
    )


def test_ps_does_without_os(tmp_path):
    """Its Python half: posix, in C, is there anyway."""
    modules = loaded_by(["ps"], tmp_path)
    assert "minirun.engine.container.index" in modules
    assert modules & {"os", "posixpath", "_collections_abc"} == set()


def test_this_test_can_fail():
    assert culprits(loaded("import json")) >= {"json", "re"}
    assert "click" in culprits(loaded("main.serve(['ps', '--nosuchflag'])"))


@pytest.mark.parametrize("verb", sorted({"run", "exec", "start", "stop"}))
def test_the_archive_has_what_a_verb_loads(verb):
    archived = hot_path.modules(os.path.dirname(minirun.__file__))
    assert {f"minirun.{name}" for name in WAYS[verb]} <= set(archived)
    assert all(other in archived for _, imports in archived.values() for other in imports)
