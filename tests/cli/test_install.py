"""The installed command: what `pip install .` puts where, and how the launcher starts Python.

The launcher finds everything relative to itself. So most tests put it into a prefix of their own, beside a package
`minirun` whose only module reports how it was started.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = f"python3.{sys.version_info.minor}"
#: The Python that belongs to this machine, if it can install packages.
SYSTEM_PYTHON = ["/usr/bin/python3"] if Path("/usr/lib/python3/dist-packages/pip").exists() else []
REPORT = """
import json, os, sys
print(json.dumps({"argv": sys.argv[1:], "orig": sys.orig_argv, "file": __file__, "path": sys.path,
                  "executable": sys.executable, "exe": os.readlink("/proc/self/exe"),
                  "isolated": sys.flags.isolated, "site": "site" in sys.modules}), flush=True)
sys.stdin.read()
"""


def run(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, without input unless it is given; fail with what it said."""
    options = {"input": "", "text": True, "capture_output": True, "timeout": 900, "check": False, **options}
    done = subprocess.run([str(word) for word in words], **options)  # type: ignore[call-overload]  # noqa: PLW1510
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a build needs, so that building leaves nothing in the checkout."""
    tree = tmp_path_factory.mktemp("sources")
    for name in ("pyproject.toml", "setup.cfg", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, tree)
    shutil.copytree(ROOT / "minirun", tree / "minirun", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    return tree


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that pip makes of the sources."""
    place = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", place, sources)
    (made,) = place.iterdir()
    return made


@pytest.fixture
def prefix(wheel: Path, tmp_path: Path) -> Path:
    """A directory with bin/minirun, the launcher, and nothing else."""
    (tmp_path / "bin").mkdir()
    launcher = tmp_path / "bin/minirun"
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".data/scripts/minirun"))
        launcher.write_bytes(archive.read(name))
    launcher.chmod(0o755)
    return tmp_path


def add_package(directory: Path, main: str = REPORT) -> Path:
    """Put a package `minirun` into a site-packages directory; returns its __main__.py."""
    package = directory / "minirun"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(main)
    return package / "__main__.py"


def test_a_wheel_holds_the_launcher_and_the_c_module_for_every_python(wheel: Path) -> None:
    assert "-cp311-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        compiled = {name for name in archive.namelist() if archive.read(name).startswith(b"\x7fELF")}
    assert compiled == {"minirun/kernel/_linux.abi3.so", f"{wheel.name.split('-cp')[0]}.data/scripts/minirun"}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["sources", "editable", "wheel"])
def test_pip_install_into_an_empty_environment_gives_a_working_command(
    how: str, sources: Path, wheel: Path, tmp_path: Path
) -> None:
    what = {"sources": [sources], "editable": ["--editable", sources], "wheel": [wheel]}[how]
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    run(tmp_path / "venv/bin/pip", "install", "-q", *what)
    (tmp_path / "link").symlink_to(tmp_path / "venv/bin/minirun")  # as pipx leaves it in ~/.local/bin
    for command in (tmp_path / "venv/bin/minirun", tmp_path / "link"):
        assert "version" in run(command, "--version", cwd="/", env={"PATH": "/usr/bin:/bin"}).stdout
        assert "Run a command in a new container" in run(command, "run", "--help", cwd="/").stdout  # click is there
    run(tmp_path / "venv/bin/python3", "-c", "from minirun.kernel import syscalls", cwd="/")  # and what was compiled


@pytest.mark.slow
@pytest.mark.skipif(not SYSTEM_PYTHON, reason="this machine's own Python has no pip")
def test_pip_install_into_debians_own_python_gives_a_working_command(sources: Path, tmp_path: Path) -> None:
    """Packages are in local/lib/python3.x/dist-packages then, and the interpreter is not beside the command."""
    run(
        *SYSTEM_PYTHON,
        "-m",
        "pip",
        "install",
        "-q",
        "--break-system-packages",
        "--ignore-installed",
        "--root",
        tmp_path,
        sources,
    )
    (command,) = tmp_path.glob("usr/**/bin/minirun")
    assert "version" in run(command, "--version", cwd="/", env={"PATH": "/usr/bin:/bin"}).stdout
    assert "Run a command in a new container" in run(command, "run", "--help", cwd="/").stdout


@pytest.mark.parametrize("directory", ["lib/{}/site-packages", "lib/{}/dist-packages", "lib64/{}/site-packages"])
def test_the_launcher_finds_the_package_beside_it(prefix: Path, directory: str) -> None:
    main = add_package(prefix / directory.format(PYTHON))
    seen = json.loads(run(prefix / "bin/minirun", "run", "-e", "A=b c", "").stdout)
    assert seen["file"] == str(main)
    assert seen["argv"] == ["run", "-e", "A=b c", ""]
    assert seen["isolated"] and not seen["site"]


def test_the_launcher_uses_the_interpreter_of_its_environment(prefix: Path) -> None:
    add_package(prefix / f"lib/{PYTHON}/site-packages")
    (prefix / "bin/python3").symlink_to(os.path.realpath(sys.executable))
    seen = json.loads(run(prefix / "bin/minirun").stdout)
    assert seen["executable"] == str(prefix / "bin/python3")
    assert seen["exe"] == os.path.realpath(sys.executable)


def test_nothing_is_imported_from_the_current_directory_or_the_environment(prefix: Path, tmp_path: Path) -> None:
    main = add_package(prefix / f"lib/{PYTHON}/site-packages")
    add_package(tmp_path / "hostile", "print('hostile')")
    (tmp_path / "hostile/json.py").write_text("print('hostile')")
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path / "hostile")}
    seen = json.loads(run(prefix / "bin/minirun", cwd=tmp_path / "hostile", env=environment).stdout)
    assert seen["file"] == str(main)
    assert not [entry for entry in seen["path"] if "hostile" in entry]


def test_an_import_that_finds_nothing_asks_site_after_all(tmp_path: Path) -> None:
    """A module that only a .pth file leads to is found; and `site` is left alone until then."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    packages = tmp_path / f"venv/lib/{PYTHON}/site-packages"
    main = add_package(packages, (ROOT / "minirun/__main__.py").read_text())
    shutil.copy(ROOT / "minirun/bootstrap.py", packages / "minirun")
    (packages / "minirun/cli").mkdir()
    (packages / "minirun/cli/main.py").write_text(
        "import sys\nbefore = 'site' in sys.modules\n"
        "def main():\n    import elsewhere\n    print(before, 'site' in sys.modules, elsewhere.__file__)\n"
        "    import nowhere_at_all\n"
    )
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/elsewhere.py").touch()
    (packages / "elsewhere.pth").write_text(f"{tmp_path}/elsewhere\n")
    done = subprocess.run([tmp_path / "venv/bin/python3", "-IS", main], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["False", "True", f"{tmp_path}/elsewhere/elsewhere.py"]
    assert "No module named 'nowhere_at_all'" in done.stderr


def reopen_for_writing_after_its_end(command: Path) -> int:
    """Do what a hostile container does (CVE-2019-5736): keep /proc/PID/exe of a process from outside open, wait until
    the file is no longer executed, and open it again for writing. Returns the errno, or 0 if that succeeded."""
    with subprocess.Popen([command], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdout.readline()  # our main module is running
        executable = os.open(f"/proc/{process.pid}/exe", os.O_RDONLY)
        process.stdin.close()
    try:
        os.close(os.open(f"/proc/self/fd/{executable}", os.O_WRONLY))
    except OSError as error:
        return error.errno or -1
    finally:
        os.close(executable)
    return 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a mount, and only root needs it here")
def test_the_interpreter_cannot_be_overwritten_through_proc_exe(prefix: Path) -> None:
    main = add_package(prefix / f"lib/{PYTHON}/site-packages")
    # A copy: should the guard be broken, the machine's own interpreter is none the worse for it.
    shutil.copy(os.path.realpath(sys.executable), prefix / "bin/python3")
    plain = prefix / "plain"
    plain.write_text(f"#!/bin/sh\nexec {prefix}/bin/python3 -IS {main}\n")
    plain.chmod(0o755)

    assert reopen_for_writing_after_its_end(plain) == 0, "the attack works where nobody guards against it"
    assert reopen_for_writing_after_its_end(prefix / "bin/minirun") == errno.EROFS
