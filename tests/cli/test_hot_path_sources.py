"""The hot-path archive never hides a source that was changed, and nothing needs it (see `minirun.hot_path`).

Each test has a copy of the installed package. A module that comes from the archive has no docstring.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

INSTALLED = Path(sysconfig.get_path("platlib")) / "minirun"
FILE = f"hot_path.{sys.implementation.cache_tag}.bin"
ASK = """
import sys
sys.path.append(sys.argv[1])
from minirun.bootstrap import make_ready
make_ready()
import json, importlib
print(json.dumps({name: [module.__doc__ is None, module.__file__, getattr(module, "MARK", "")] for name in sys.argv[2:]
                  for module in [importlib.import_module(name)]}))
"""
MAIN, PS, ROOM = "minirun.cli.main", "minirun.cli.container.ps", "minirun.cli.container"

pytestmark = pytest.mark.skipif(not (INSTALLED / FILE).exists(), reason="minirun is not installed for this Python")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The package beside nothing else: tree / "minirun"."""
    shutil.copytree(INSTALLED, tmp_path / "minirun")
    make(tmp_path)
    return tmp_path


def make(tree: Path) -> None:
    """Make the archive, for sources that stay as they are."""
    subprocess.run([sys.executable, "-m", "minirun.hot_path"], cwd=tree, check=True)


def loaded(tree: Path, *names: str, **options: object) -> dict[str, list]:
    """Load modules as the launcher's Python would: name → (from the archive?, its file, its MARK)."""
    command = [sys.executable, "-IS", "-c", ASK, str(tree), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True, **options)  # type: ignore[call-overload]
    return json.loads(done.stdout)


def is_whole(tree: Path) -> bool:
    """Whether `minirun ps` works."""
    environment = {"MINIRUN_ROOT": f"{tree}/data", "MINIRUN_EXEC_ROOT": f"{tree}/run", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-IS", tree / "minirun/__main__.py", "ps"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done.stdout.startswith("CONTAINER ID") and done.stderr == ""


def source(tree: Path, name: str) -> Path:
    return tree / f"{name.replace('.', '/')}.py"


def mark(path: Path) -> None:
    path.write_text(path.read_text() + "\nMARK = 'edited'\n")


def test_nothing_is_changed(tree: Path) -> None:
    assert loaded(tree, MAIN, PS, ROOM) == {
        MAIN: [True, str(source(tree, MAIN)), ""],
        PS: [True, str(source(tree, PS)), ""],
        ROOM: [True, str(tree / "minirun/cli/container/__init__.py"), ""],
    }
    assert is_whole(tree)


def test_a_source_is_changed(tree: Path) -> None:
    mark(source(tree, PS))
    assert loaded(tree, MAIN, PS) == {
        MAIN: [True, str(source(tree, MAIN)), ""],
        PS: [False, str(source(tree, PS)), "edited"],
    }
    assert is_whole(tree)


def test_a_room_is_changed(tree: Path) -> None:
    mark(tree / "minirun/cli/container/__init__.py")
    assert loaded(tree, PS, ROOM)[ROOM][::2] == [False, "edited"]
    assert loaded(tree, PS)[PS][0]


def test_a_change_within_the_second_that_keeps_the_size(tree: Path) -> None:
    path, stamp = source(tree, PS), os.stat(source(tree, PS))
    path.write_text(path.read_text() + "\nMARK = 'before'\n")
    make(tree)
    assert loaded(tree, PS)[PS][::2] == [True, "before"]
    path.write_text(path.read_text().replace("'before'", "'edited'"))
    second = stamp.st_mtime_ns // 1_000_000_000 * 1_000_000_000
    os.utime(path, ns=(second, second + 5))
    assert loaded(tree, PS)[PS][::2] == [False, "edited"]


def test_a_source_is_removed(tree: Path) -> None:
    source(tree, PS).unlink()
    with pytest.raises(subprocess.CalledProcessError) as error:
        loaded(tree, PS)
    assert f"No module named '{PS}'" in error.value.stderr


def test_a_module_is_added(tree: Path) -> None:
    source(tree, PS).write_text(f"{source(tree, PS).read_text()}\nfrom minirun.cli.new import MARK\n")
    (tree / "minirun/cli/new.py").write_text("'''New.'''\nMARK = 'added'\n")
    assert loaded(tree, PS)[PS][::2] == [False, "added"]


def test_a_module_becomes_a_package(tree: Path) -> None:
    text = source(tree, PS).read_text()
    source(tree, PS).unlink()
    (tree / "minirun/cli/container/ps").mkdir()
    (tree / "minirun/cli/container/ps/__init__.py").write_text(f"{text}\nMARK = 'a package'\n")
    assert loaded(tree, PS)[PS] == [False, str(tree / "minirun/cli/container/ps/__init__.py"), "a package"]
    assert is_whole(tree)


def test_a_module_that_fails_says_so_once_and_where(tree: Path) -> None:
    path = source(tree, "minirun.cli.format.units")
    path.write_text(f"{path.read_text()}\nraise RuntimeError('spoiled')\n")
    make(tree)
    with pytest.raises(subprocess.CalledProcessError) as error:
        loaded(tree, PS)
    assert error.value.stderr.count("RuntimeError: spoiled") == 1
    assert f'File "{path}", line {len(path.read_text().splitlines())}, in <module>' in error.value.stderr
    assert "raise RuntimeError('spoiled')" in error.value.stderr


def test_a_traceback_names_the_source(tree: Path) -> None:
    lines = source(tree, MAIN).read_text().splitlines()
    command = "import sys; sys.path.append(sys.argv[1]); from minirun import bootstrap; bootstrap.make_ready(); "
    command += "from minirun.cli import main; main.serve(None)"
    done = subprocess.run(
        [sys.executable, "-IS", "-c", command, str(tree)], capture_output=True, text=True, check=False
    )
    number = int(done.stderr.partition(f'File "{source(tree, MAIN)}", line ')[2].partition(",")[0])
    assert lines[number - 1].strip() in done.stderr


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def cut_index(path: Path) -> None:
    os.truncate(path, 100)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def zero(path: Path) -> None:
    """What a power failure may leave: the size is right, the content was never written."""
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 10])
    os.truncate(path, size)


def nothing_but_zeros(path: Path) -> None:
    size = path.stat().st_size
    path.write_bytes(bytes(size))


def other_python(path: Path) -> None:
    path.write_bytes(b"\x00\x00\r\n" + path.read_bytes()[4:])


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage", [truncate, cut_index, empty, zero, nothing_but_zeros, other_python, directory, Path.unlink]
)
def test_an_archive_that_cannot_be_used(tree: Path, damage: object) -> None:
    damage(tree / "minirun" / FILE)  # type: ignore[operator]
    assert not loaded(tree, PS)[PS][0]
    assert is_whole(tree)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package as an installer unpacks it: sources with new mtimes, and the archive that was built before."""
    place = tmp_path_factory.mktemp("wheel")
    root = Path(__file__).resolve().parents[2]
    for name in ("pyproject.toml", "setup.cfg", "LICENSE", "README.md"):
        shutil.copy(root / name, place)
    ignored = shutil.ignore_patterns("*.so", "*.bin", "__pycache__")
    shutil.copytree(root / "minirun", place / "minirun", ignore=ignored)
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", place, place], check=True)
    return next(place.glob("*.whl"))


@pytest.fixture
def unpacked(wheel: Path, tmp_path: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    for path in (tmp_path / "minirun").rglob("*.py"):
        os.utime(path)
    return tmp_path


def test_the_first_start_seals_what_was_installed(unpacked: Path) -> None:
    mark(source(unpacked, PS))
    before = (unpacked / "minirun" / FILE).read_bytes()
    found = loaded(unpacked, MAIN, PS)
    assert found[MAIN][0] and found[PS][::2] == [False, "edited"]
    sealed = (unpacked / "minirun" / FILE).read_bytes()
    assert sealed != before and len(sealed) > 100_000
    assert loaded(unpacked, MAIN, PS) == found
    assert (unpacked / "minirun" / FILE).read_bytes() == sealed
    assert is_whole(unpacked)
    assert {path.name for path in (unpacked / "minirun").glob("hot_path*")} == {FILE, "hot_path.py"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_read_only_installation_works_without(unpacked: Path) -> None:
    command = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
    inside = ["unshare", "--mount", "sh", "-c", command, "sh", unpacked, sys.executable, "-IS", "-c", ASK, unpacked, PS]
    before = (unpacked / "minirun" / FILE).read_bytes()
    done = subprocess.run([str(word) for word in inside], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)[PS][0] is False
    assert (unpacked / "minirun" / FILE).read_bytes() == before
