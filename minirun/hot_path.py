"""The hot-path archive: one file with the optimised bytecode of all modules that `run`, `exec`, `start`, `stop` and
`ps` load, so that the interpreter opens one file instead of a hundred. `minirun.bootstrap` reads it.

    hot_path.cpython-311.bin:   magic number (4 bytes), size of the index (4, little-endian),
                                the index: marshal of (sealed, size of the first part, of all code, {name: entry}),
                                the code objects, each marshalled by itself
    entry:                      (is it a package?, offset, size, the source's st_mtime_ns, st_size, hash, imports)

An entry counts only as long as its source has the recorded mtime and size, which is the rule for .pyc files too. But
nobody knows at build time which mtime an installer will give to a file. So the archive in a wheel is *unsealed*: the
first start that may write to the directory compares the sources' hashes and records their mtimes (`seal`).

Bytecode is for one version of Python, which is part of the file's name and of its magic number. Under another version,
without the archive, or for a module that is not in it or has been edited, the .pyc file is loaded as ever, which takes
longer and changes nothing else.

    python3 -X no_debug_ranges -m minirun.hot_path     makes the archive for this Python, of the sources as they are now
"""

from __future__ import annotations

import ast
import marshal
import os
import sys
from _imp import source_hash
from importlib.util import MAGIC_NUMBER
from types import CodeType

#: The suffix says which Python: cpython-311.
FILE = f"hot_path.{sys.implementation.cache_tag}.bin"
#: What is put into the archive, in this order: these modules, and before each of them all that it imports at its top.
#: So a module that the hot path imports inside a function has its line here; tests/cli/test_hot_path_archive.py says
#: which one is missing.
ENTRY_POINTS = (
    # The first part, which is all of the file that `ps` and the idle shim read (bootstrap.FIRST_READ).
    "cli.main",
    "engine.shim.reexec",
    "engine.shim.json_file",
    "engine.daemon",
    "cli.container.ps",
    "cli.format.tabwriter",
    "cli.container.lifecycle",
    "engine.container.index",
    "engine.stop",
    # The second part. The command's half of run, start and exec; `run` reads all before the shim is forked.
    "engine.shim.prefork",
    "cli.run.run",
    "cli.run.publish",
    "engine.options",
    "engine.start",
    "engine.container.config",
    "engine.container.validate",
    "engine.spec.bundle",
    "engine.shim.attach",
    "image.images",
    "image.tags",
    "image.snapshot.overlayfs",
    "image.snapshot.read_file",
    "cli.container.exec",
    "engine.exec",
    # The shim's half.
    "engine.shim.shim",
    "engine.shim.task",
    "engine.network.port_bindings",
    "network.controller",
    "network.ports.portmapper",
    "network.ports.proxy",
)

#: The last entry point of the first part.
END_OF_FIRST_PART = "engine.stop"
_HASH_KEY = int.from_bytes(MAGIC_NUMBER, "little")


def modules(package: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The modules of the archive, each behind those that it imports.

    Arguments: package, the directory `minirun`. Returns: full name → (path of the source, relative to the directory
    that holds the package; names of the modules that it imports). Errors: FileNotFoundError for an entry point that
    does not exist.
    """
    home = os.path.dirname(os.path.abspath(package))
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for name in ENTRY_POINTS:
        _collect(home, f"minirun.{name}", found, ())
        if f"minirun.{name}" not in found:
            raise FileNotFoundError(f"hot_path.ENTRY_POINTS: there is no module {name}")
    return found


def _collect(home: str, name: str, found: dict[str, tuple[str, tuple[str, ...]]], importers: tuple[str, ...]) -> None:
    source = _source(home, name)
    if not source or name in found or name in importers or name in ("minirun", "minirun.bootstrap"):
        return  # those two are loaded before the archive can be read
    with open(f"{home}/{source}", "rb") as file:
        imports = dict.fromkeys([name.rpartition(".")[0], *_imported(ast.parse(file.read()).body)])
    for other in imports:
        _collect(home, other, found, (*importers, name))
    found[name] = source, tuple(other for other in imports if other in found)


def _source(home: str, name: str) -> str:
    """Path of the module `name`, relative to `home`; "" if it is none of ours (an attribute, the C module)."""
    paths = (f"{name.replace('.', '/')}{end}" for end in (".py", "/__init__.py"))
    return next((path for path in paths if name.startswith("minirun") and os.path.exists(f"{home}/{path}")), "")


def _imported(statements: list[ast.stmt]) -> list[str]:
    """Names of what these statements import when a module is executed: not in functions, not for type checkers."""
    names: list[str] = []
    for statement in statements:
        match statement:
            case ast.Import():
                names += (alias.name for alias in statement.names)
            case ast.ImportFrom(module=str(module)):
                names += (module, *(f"{module}.{alias.name}" for alias in statement.names))
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                names += _imported(statement.orelse)
            case ast.If() | ast.Try():
                names += _imported(statement.body) + _imported(statement.orelse)
    return names


def write(package: str, *, sealed: bool) -> None:
    """Compile the hot path's modules into the archive of the directory `package`.

    Arguments: sealed (bool), whether the sources stay as they are; False for a build, whose files are copied later.
    """
    home, index, codes, offset = os.path.dirname(os.path.abspath(package)), {}, [], 0
    for name, (path, imports) in modules(package).items():
        source, mtime, size = _read(f"{home}/{path}")
        code = marshal.dumps(_compile(source, path))
        is_package = path.endswith("/__init__.py")
        index[name] = (is_package, offset, len(code), mtime, size, source_hash(_HASH_KEY, source), imports)
        codes.append(code)
        offset += len(code)
    _, end, length, *_ = index[f"minirun.{END_OF_FIRST_PART}"]
    _save(f"{package}/{FILE}", (sealed, end + length, offset, index), b"".join(codes))


def _compile(source: bytes, path: str) -> CodeType:
    """Compile as `python3 -OO` does, without docstrings and asserts; and without what only a type checker reads.

    The code's file name is the relative path: the finder puts in where the source has been installed.
    """
    tree = ast.parse(source)
    # This line is an import as well: of a file of the standard library that nothing else needs.
    tree.body = [node for node in tree.body if not (isinstance(node, ast.ImportFrom) and node.module == "__future__")]
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
    return compile(tree, path, "exec", flags=annotations.compiler_flag, dont_inherit=True, optimize=2)


def seal(package: str) -> None:
    """Record the sources' mtimes in an archive that has just been installed. A source with another hash than the one
    that was compiled gets none: it has been edited, and its .pyc file counts.

    Errors: OSError when the archive cannot be read or replaced.
    """
    home = os.path.dirname(os.path.abspath(package))
    with open(f"{package}/{FILE}", "rb") as file:
        _, head = file.read(4), int.from_bytes(file.read(4), "little")
        _, first, size, index = marshal.loads(file.read(head))
        codes = file.read()
    for name, (is_package, offset, length, _, _, digest, imports) in index.items():
        try:
            source, mtime, source_size = _read(f"{home}/{_source(home, name)}")
        except OSError:
            source, mtime, source_size = b"", 0, 0
        if source_hash(_HASH_KEY, source) != digest:
            source_size = -1  # no file has this size
        index[name] = (is_package, offset, length, mtime, source_size, digest, imports)
    _save(f"{package}/{FILE}", (True, first, size, index), codes)


def _read(path: str) -> tuple[bytes, int, int]:
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())  # before the content: one that is changed now has a stamp too old, not too new
        return file.read(), status.st_mtime_ns, status.st_size


def _save(path: str, index: tuple, codes: bytes) -> None:
    """Write the archive beside its place and rename it into it: another start sees the old one or the new one."""
    head = marshal.dumps(index)
    new = f"{path}.{os.getpid()}"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        with open(descriptor, "wb") as file:
            file.write(MAGIC_NUMBER + len(head).to_bytes(4, "little") + head + codes)
        os.replace(new, path)
    except OSError:
        os.unlink(new)
        raise


if __name__ == "__main__":
    write(os.path.dirname(os.path.abspath(__file__)), sealed=True)
