"""The architecture: floors (who may import whom), rooms (sub-packages and their size), no import circles, and the few
modules that may touch the kernel.

An import counts wherever it stands: at the top, inside a function, or below `if TYPE_CHECKING`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "minirun"
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))

#: From the ground up; a module imports from its own floor and from those below it.
GROUND = {"light": 0, "jsoncodec": 0, "timestamps": 0, "stringid": 1, "errors": 1, "trace": 2, "store": 3, "rmtree": 4}
FLOORS = {"kernel": 5, "runtime": 6, "network": 6, "image": 6, "engine": 7, "lecture": 8, "cli": 9}
#: Floors of the same height do not know each other.
APART = {"runtime", "network", "image"}
#: How minirun is begun; above all floors, or before there is any.
BEGINNINGS = {"__main__", "bootstrap", "hot_path", "_build", "__init__"}
#: Modules in a room, without its `__init__`.
MOST = 12

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


def module_of(path: Path) -> str:
    """A file as its module's name below minirun: "image.layer.apply"; a package as that of its folder, minirun as ""."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


def imported(tree: ast.AST) -> set[str]:
    """Full names of all that is imported anywhere in a module: of modules, and of what is taken out of them."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: a relative import"
            names.update({str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)})
    return names


def graph() -> dict[str, set[str]]:
    """For each module of minirun, the other ones that it imports."""
    names = {module_of(path) for path in MODULES}
    below = {
        module_of(path): {
            name.removeprefix("minirun.")
            for name in imported(ast.parse(path.read_text()))
            if name.startswith("minirun.")
        }
        for path in MODULES
    }
    return {name: (targets & names) - {name} for name, targets in below.items()}


def circles(imports: dict[str, set[str]]) -> list[set[str]]:
    """The groups of modules of which each imports, by way of the others, itself: the strongly connected components."""
    reached = {name: reachable(name, imports) for name in imports}
    found: list[set[str]] = []
    for name in imports:
        group = {other for other in reached[name] if name in reached[other]}
        if group and group not in found:
            found.append(group)
    return found


def reachable(start: str, imports: dict[str, set[str]]) -> set[str]:
    """What `start` imports, directly or by way of others; itself only if there is a circle."""
    found: set[str] = set()
    ahead = list(imports[start])
    while ahead:
        if (name := ahead.pop()) not in found:
            found.add(name)
            ahead += imports[name]
    return found


def height(module: str) -> int:
    """The floor of a module as a number; 0 for the ground."""
    return FLOORS.get(module.partition(".")[0], 0)


def arrows() -> Iterator[tuple[str, str]]:
    """Each import of minirun's own modules: (who imports, what)."""
    for module, targets in graph().items():
        yield from ((module, target) for target in targets)


IMPORTS = sorted(arrows())


def test_a_module_imports_from_below_only() -> None:
    upwards = {
        (one, other) for one, other in IMPORTS if one.partition(".")[0] in FLOORS and height(other) > height(one)
    }
    assert upwards == set()


def test_floors_of_the_same_height_do_not_know_each_other() -> None:
    pairs = [(one.partition(".")[0], other.partition(".")[0], one, other) for one, other in IMPORTS]
    assert [(one, other) for left, right, one, other in pairs if left != right and {left, right} <= APART] == []


def test_the_ground_knows_nothing_but_the_ground() -> None:
    found = [(one, other) for one, other in IMPORTS if one in GROUND and GROUND.get(other, 99) >= GROUND[one]]
    assert found == []


def test_nothing_imports_how_minirun_is_begun() -> None:
    assert {other for one, other in IMPORTS if one not in BEGINNINGS} & BEGINNINGS == set()


def test_every_module_is_on_a_floor_or_on_the_ground() -> None:
    top = {module_of(path).partition(".")[0] or "__init__" for path in MODULES}
    assert top - set(FLOORS) - set(GROUND) - BEGINNINGS == set()


def test_no_circle() -> None:
    assert [sorted(group) for group in circles(graph())] == []


def test_a_circle_would_be_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [{"a", "b", "c"}]
    tree = ast.parse("if TYPE_CHECKING:\n    from minirun.a import b\ndef f():\n    import minirun.c")
    assert imported(tree) == {"minirun.a", "minirun.a.b", "minirun.c"}


ROOMS = sorted({path.parent for path in MODULES} - {PACKAGE})


def test_the_rooms_are_those_of_the_picture() -> None:
    """`make architecture` draws docs/architecture.md anew."""
    page = (PACKAGE.parent / "docs/architecture.md").read_text()
    drawn = {name for line in page.split("\n") if '["' in line for name in re.findall(r"([a-z_.]+) \(\d+\)", line)}
    assert drawn - {"start", "ground"} == {name_of(room).replace("/", ".") for room in ROOMS}


@pytest.mark.parametrize("room", ROOMS, ids=name_of)
def test_a_room_has_a_charter_and_is_not_too_large(room: Path) -> None:
    """Its `__init__` says in one sentence what it is for, and holds nothing else: nobody pays for loading it."""
    tree = ast.parse((room / "__init__.py").read_text())
    charter = ast.get_docstring(tree)
    assert charter and len(tree.body) == 1
    if name_of(room) not in FLOORS:  # a floor may say more
        assert "\n" not in charter and ". " not in charter and charter.endswith(".")
    size = len([path for path in MODULES if path.parent == room]) - 1
    assert size <= MOST, f"{size} modules"


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


HARNESS = sorted((PACKAGE.parent / "tests/harness").rglob("*.py"))


def undocumented(tree: ast.Module) -> list[str]:
    """The public functions, classes and methods without a docstring; an overriding method has that of its base."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            inner = node.body if isinstance(node, ast.ClassDef) and not node.bases else []
            methods = [one for one in inner if isinstance(one, ast.FunctionDef) and not one.name.startswith("_")]
            found += [one.name for one in (node, *methods) if not ast.get_docstring(one)]
    return found


@pytest.mark.parametrize("path", [*MODULES, *HARNESS], ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_what_is_public_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    assert undocumented(tree) == []


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
