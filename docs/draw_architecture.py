#!/usr/bin/env python3
"""Writes docs/architecture.md from the code: its imports, its docstrings, its calls (`make architecture`).

    docs/draw_architecture.py [--check]     --check: only say whether the page is what it would be now

The floors are those of tests/unit/test_architecture.py; all else is read with `ast`, nothing is imported.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, PAGE = ROOT / "minirun", ROOT / "docs/architecture.md"
#: The modules that are in no room: those that build and begin minirun, and those that everything stands on.
START, GROUND = "start", "ground"
BEGINNINGS = {"__main__", "_build", "bootstrap", "hot_path"}
CHARTERS = {START: "How minirun is built and begun.", GROUND: "What all stands on."}
#: From above to below; floors in one line never import each other.
FLOORS = ((START,), ("cli",), ("lecture",), ("engine",), ("runtime", "network", "image"), ("kernel",), (GROUND,))

#: So many calls of one module by another are shown.
MOST = 4
#: The trip of `minirun run -p 8080:80 alpine sh`: which module calls which. Functions are found in the code.
TRIP = (
    ("the command", "cli.main", "engine.shim.prefork"),
    ("the command", "cli.main", "cli.commands"),
    ("the command", "cli.run.run", "engine.start"),
    ("the command", "engine.start", "engine.create"),
    ("the command", "engine.create", "image.images"),
    ("the command", "engine.create", "engine.container.config"),
    ("the command", "engine.create", "image.snapshot.overlayfs"),
    ("the command", "engine.start", "engine.spec.bundle"),
    ("the command", "engine.spec.bundle", "engine.spec.specgen"),
    ("the command", "engine.start", "engine.shim.prefork"),
    ("the shim", "engine.shim.prefork", "engine.shim.shim"),
    ("the shim", "engine.shim.shim", "engine.shim.task"),
    ("the shim", "engine.shim.task", "runtime.lifecycle"),
    ("the shim", "runtime.lifecycle", "kernel.cgroup.cgroup"),
    ("the container's process", "runtime.lifecycle", "runtime.init"),
    ("the container's process", "runtime.init", "runtime.rootfs"),
    ("the container's process", "runtime.rootfs", "kernel.mounts"),
    ("the container's process", "runtime.init", "runtime.process"),
    ("the shim, meanwhile", "engine.shim.task", "engine.network.sandbox"),
    ("the shim, meanwhile", "engine.network.sandbox", "network.bridge.endpoint"),
    ("the shim, meanwhile", "network.bridge.endpoint", "network.ipam.address_pool"),
    ("the shim, meanwhile", "network.bridge.endpoint", "network.bridge.veth"),
    ("the shim, meanwhile", "network.bridge.veth", "kernel.netlink.links"),
    ("the shim, meanwhile", "engine.network.sandbox", "engine.network.port_bindings"),
    ("the shim, meanwhile", "engine.network.port_bindings", "network.ports.portmapper"),
    ("the shim, meanwhile", "network.ports.portmapper", "network.iptables.endpoint_rules"),
    ("the shim, meanwhile", "network.iptables.endpoint_rules", "network.iptables.apply"),
    ("the container's process", "runtime.init", "kernel.syscalls"),
    ("the shim", "engine.shim.shim", "engine.shim.relay"),
    ("the command", "engine.start", "engine.shim.attach"),
    ("the shim, at the end", "engine.shim.task", "runtime.lifecycle"),
)


@cache
def modules() -> dict[str, Path]:
    """All modules of minirun by name, without "minirun."; a room has its own name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    found.pop("")
    return found


@cache
def tree(module: str) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(modules()[module].read_text())


def room_of(module: str) -> str:
    """The room that a module is in; a room is in itself."""
    if modules()[module].name == "__init__.py":
        return module
    return module.rpartition(".")[0] or (START if module in BEGINNINGS else GROUND)


def floor_of(room: str) -> str:
    """The floor that a room is on."""
    return room.partition(".")[0]


def first_sentence(module: str) -> str:
    """The first sentence of a module's docstring, in one line."""
    text = " ".join((ast.get_docstring(tree(module)) or "").partition("\n\n")[0].split())
    end = text.find(". ")
    return (text if end < 0 else text[: end + 1]).replace("|", "\\|")


def imports(module: str) -> dict[str, tuple[str, str]]:
    """What a module imports of ours, wherever the statement stands: local name → (module, name in it or "")."""
    found = {}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "minirun":
            base = (node.module or "").partition(".")[2]
            for alias in node.names:
                full = f"{base}.{alias.name}".lstrip(".")
                found[alias.asname or alias.name] = (full, "") if full in modules() else (base, alias.name)
    return found


def imported(module: str) -> set[str]:
    """The modules that a module imports."""
    return {name for name, _ in imports(module).values()} & modules().keys()


@cache
def rooms() -> dict[str, list[str]]:
    """Each room's modules."""
    found: dict[str, list[str]] = {START: [], GROUND: []}
    for module in modules():
        if room_of(module) == module:
            found.setdefault(module, [])
        else:
            found.setdefault(room_of(module), []).append(module)
    return found


@cache
def arrows() -> Counter[tuple[str, str]]:
    """How many modules of a room import modules of another one."""
    pairs = ((room_of(one), room_of(other)) for one in modules() for other in imported(one))
    return Counter(pair for pair in pairs if pair[0] != pair[1])


def calls(caller: str, callee: str) -> list[str]:
    """Where one module calls another: "function → function". Methods count by their name, if nothing else is found."""
    names = imports(caller)
    methods = {
        node.name
        for top in tree(callee).body
        if isinstance(top, ast.ClassDef)
        for node in top.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    direct, by_method = [], []
    for function in ast.walk(tree(caller)):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            match node:
                case ast.Call(func=ast.Name(id=name)) if names.get(name, ("", ""))[0] == callee and names[name][1]:
                    direct.append((function.name, names[name][1]))
                case ast.Call(func=ast.Attribute(value=value, attr=attr)):
                    if isinstance(value, ast.Name) and names.get(value.id) == (callee, ""):
                        direct.append((function.name, attr))
                    elif attr in methods:
                        by_method.append((function.name, attr))
    found = [f"`{one}` → `{other}`" for one, other in dict.fromkeys(direct or by_method)]
    return found if len(found) <= MOST else [*found[:MOST], "..."]


def picture() -> list[str]:
    """The floors, their rooms, and the imports from floor to floor as a Mermaid flowchart."""
    lines = ["```mermaid", "flowchart TD"]
    for floor in (floor for line in FLOORS for floor in line):
        inside = [room for room in rooms() if floor_of(room) == floor]
        labels = "<br>".join(f"{room} ({len(rooms()[room])})" for room in inside)
        lines.append(f'    {floor}["{labels}"]')
    between: Counter[tuple[str, str]] = Counter()
    for (one, other), count in arrows().items():
        if floor_of(one) != floor_of(other):
            between[floor_of(one), floor_of(other)] += count
    order = [floor for line in FLOORS for floor in line]
    for (one, other), count in sorted(between.items(), key=lambda item: [order.index(name) for name in item[0]]):
        lines.append(f"    {one} -->|{count}| {other}")
    return [*lines, "```"]


def table() -> list[str]:
    """The rooms with their charters and the rooms that they import from."""
    lines = ["| room | modules | what it is for | imports from |", "| --- | --- | --- | --- |"]
    for floor in (floor for line in FLOORS for floor in line):
        for room in (room for room in rooms() if floor_of(room) == floor):
            others = [f"{other} {count}" for (one, other), count in sorted(arrows().items()) if one == room]
            charter = CHARTERS.get(room) or first_sentence(room)
            name, size = f"[`{room}`](#{room.replace('.', '')})", len(rooms()[room])
            lines.append(f"| {name} | {size} | {charter} | {', '.join(others)} |")
    return lines


def trip() -> list[str]:
    """The hops of `run`. Errors: SystemExit when the code does not go that way any more."""
    lines = ["| | process | from | to | calls |", "| --- | --- | --- | --- | --- |"]
    for number, (process, caller, callee) in enumerate(TRIP, 1):
        if missing := {caller, callee} - set(modules()):
            raise SystemExit(f"docs/draw_architecture.py, TRIP: no such module: {', '.join(missing)}")
        found = calls(caller, callee)
        if not found:
            raise SystemExit(f"docs/draw_architecture.py, TRIP: {caller} does not call {callee}")
        lines.append(f"| {number} | {process} | `{caller}` | `{callee}` | {', '.join(found)} |")
    return lines


def page() -> str:
    """The whole page."""
    lines = [
        "# The house: floors, rooms, and the trip of `run`",
        "",
        "Made from the code by `make architecture`; do not edit it. What a floor is for, and why the code is as it is:",
        "[inside.md](inside.md).",
        "",
        "    " + "  →  ".join(" | ".join(line) for line in FLOORS),
        "",
        "A module imports from its own floor and from those to its right; the three in the middle never import each",
        "other.",
        "The number in brackets says how many modules are in a room, that at an arrow how many imports go that way.",
        "",
        *picture(),
        "",
        "## Rooms",
        "",
        *table(),
        "",
        "## The trip of `minirun run -p 8080:80 alpine sh`",
        "",
        "Which module calls which, in which process. The functions on both sides of each arrow are found in the code;",
        "the list of hops is in `docs/draw_architecture.py`, which fails when a hop is not in the code any more.",
        "",
        *trip(),
        "",
        "## Modules",
    ]
    for room in (room for line in FLOORS for floor in line for room in rooms() if floor_of(room) == floor):
        lines += ["", f"### {room}", ""]
        lines += [f"* `{module.rpartition('.')[2]}`: {first_sentence(module)}" for module in rooms()[room]]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page, or compare it."""
    text = page()
    if "--check" not in sys.argv:
        PAGE.write_text(text)
        return 0
    if PAGE.exists() and PAGE.read_text() == text:
        return 0
    sys.exit("docs/architecture.md is not what the code is: make architecture")


if __name__ == "__main__":
    sys.exit(main())
