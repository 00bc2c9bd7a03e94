"""The house: who may import whom, how large its rooms are, and that the kernel has four doors and no window."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent.parent / "minirun"
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))

#: From the ground up; a module imports from its own floor and from those below it.
GROUND = {"light": 0, "errors": 1, "trace": 2, "store": 3}
FLOORS = {"kernel": 4, "runtime": 5, "network": 5, "image": 5, "engine": 6, "lecture": 7, "cli": 8}
#: Floors of the same height do not know each other.
APART = {"runtime", "network", "image"}
#: How minirun is begun; above all floors, or before there is any.
BEGINNINGS = {"__main__", "bootstrap", "__init__"}

#: What a door has to do with the kernel may be done there only.
DOORS = {
    "minirun.kernel._linux": {"kernel/syscalls.py"},
    "_prctl": {"kernel/syscalls.py"},
    "prctl": set(),
    "ctypes": set(),
    "subprocess": set(),
}
CHANGING = {
    "chroot",
    "mknod",
    "setns",
    "unshare",
    "sethostname",
    "setgroups",
    "setresuid",
    "setresgid",
    "setuid",
    "setgid",
    "posix_spawn",
    "symlink",
    "mkfifo",
    "execve",
    "setsid",
}
WITH_A_REASON = {
    "image/layer/apply.py",
    "image/snapshot/overlayfs.py",
    "image/layer/beneath_fs.py",
    "image/snapshot/copy_up.py",  # the files of an image's own tree
    "kernel/process.py",  # the door for programs: posix_spawn
}


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def floor_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> set[str]:
    """Full names of all modules that are imported anywhere in a module, but not those for type checkers alone."""
    names: set[str] = set()
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            skipped.update(inner for statement in node.body for inner in ast.walk(statement))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return names


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_from_below_only(path: Path) -> None:
    floor = floor_of(path)
    if floor in BEGINNINGS:
        return
    for name in imported(ast.parse(path.read_text())):
        parts = name.split(".")
        if parts[0] != "minirun" or len(parts) < 2 or parts[1] in BEGINNINGS | {"__version__"}:
            continue
        other = parts[1]
        if floor in GROUND:
            assert other in GROUND and GROUND[other] <= GROUND[floor], f"{floor} imports {name}"
        elif other in FLOORS:
            assert FLOORS[other] <= FLOORS[floor], f"{floor} imports {name}, from above"
            assert other == floor or not {floor, other} <= APART, f"{floor} imports {name}, its neighbour"
        else:
            assert other in GROUND, f"{name_of(path)} imports {name}, which is on no floor"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_a_door_sees_what_is_behind_it(path: Path) -> None:
    name = name_of(path)
    if name.startswith("kernel/_"):
        return  # build scripts
    for module in imported(ast.parse(path.read_text())):
        for closed, doors in DOORS.items():
            if module == closed or module.startswith(closed + "."):
                assert name in doors, f"{name} imports {module}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_kernel_is_changed_through_a_door(path: Path) -> None:
    name = name_of(path)
    if name == "kernel/syscalls.py" or name in WITH_A_REASON:
        return
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    bypassed = {
        f"{node.func.value.id}.{node.func.attr}"
        for node in calls
        if isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in ("os", "posix")
        and node.func.attr in CHANGING
    }
    assert not bypassed


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_functions_fit_on_a_page(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} has {node.end_lineno - node.lineno + 1} lines"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_is_about(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert path.stem not in ("utils", "util", "common", "helpers", "core", "manager", "misc")


def test_the_floors_are_the_folders() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert folders - {"__pycache__", "launcher"} == set(FLOORS)


def test_asking_for_a_status_cannot_act() -> None:
    """What a container is doing is asked of disk and kernel: the module that does it reaches nothing that changes them."""
    container = PACKAGE / "engine/container/container.py"
    acting = (
        "minirun.engine.shim.task",
        "minirun.engine.container.reconcile",
        "minirun.network.controller",
        "minirun.runtime",
    )
    assert not [name for name in imported(ast.parse(container.read_text())) if name.startswith(acting)]
