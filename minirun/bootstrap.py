"""How the first milliseconds are spent: what stands between the interpreter and the first line that matters.

`__main__` comes here at once. It is the one file whose compiled form Python never keeps, so all that can be is here.
Two things are done about time; both were measured.

* The modules of `run`, `exec`, `start`, `stop` and `ps` come from one file of optimised bytecode (`minirun.hot_path`),
  in one read. Any other module of ours comes from its .pyc file, which is looked for in the one place where it can be:
  Python's own finder would look around first. Where there is no bytecode, or it is not that of the present source,
  Python's finder is asked as usual.
* No garbage collector: a command is over before there is anything to collect, and looking for it takes milliseconds
  while modules are loaded. The shim, which stays, switches it on again.

No `from __future__ import annotations` here: that would be one more file to read.
"""

import gc
import marshal
import posix as os  # os without its Python half: what needs the other can load it
import sys
from _frozen_importlib import ModuleSpec, _ModuleLockManager  # type: ignore[attr-defined]
from _frozen_importlib_external import MAGIC_NUMBER
from _imp import _fix_co_filename  # type: ignore[attr-defined]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType

    Index = dict[str, tuple[bool, int, int, int, int, bytes, tuple[str, ...]]]
else:
    ModuleType = type(sys)

#: So many bytes of the archive are enough for `ps`, and for the idle shim of a container.
FIRST_READ = 240 * 1024
#: These verbs need most of it, and read it once.
MOST_NEEDED = frozenset(("run", "exec", "start"))
#: More than any archive has.
ALL = 1 << 30
#: What marshal.loads raises on bytes that are no code.
DAMAGED = (EOFError, TypeError, ValueError)


class Bytecode:
    """Finder and loader of minirun's modules (PEP 302): from the hot-path archive, else from .pyc files (PEP 3147)."""

    home = __file__.rpartition("/minirun/")[0]
    archive = f"{home}/minirun/hot_path.{sys.implementation.cache_tag}.bin"
    suffix = f".{sys.implementation.cache_tag}.pyc"
    #: The archive's index, see `minirun.hot_path`; None as long as it has not been read.
    index: "Index | None" = None
    codes = memoryview(b"")

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Python's finder protocol (importlib.abc.MetaPathFinder)."""
        if not name.startswith("minirun."):
            return None
        place = f"{cls.home}/{name.replace('.', '/')}"
        for find in (cls._in_archive, cls._in_pycache):
            try:
                if spec := find(name, place):
                    return spec
            except (OSError, *DAMAGED):  # no such file, or no bytecode in it
                pass
        return None

    @classmethod
    def _in_archive(cls, name: str, place: str) -> ModuleSpec | None:
        index = (
            cls.open_archive(ALL if MOST_NEEDED.intersection(sys.argv) else FIRST_READ)
            if cls.index is None
            else cls.index
        )
        if name in index and sum(index[name][1:3]) > len(cls.codes):
            index = cls.open_archive()  # the index too: it may be another file by now
        if name not in index:
            return None
        is_package, offset, length, mtime, size, _, imports = index[name]
        source = f"{place}/__init__.py" if is_package else f"{place}.py"
        status = os.stat(source)
        if status.st_mtime_ns != mtime or status.st_size != size:
            return None
        compiled = cls.codes[offset : offset + length]
        for other in imports:
            if other not in sys.modules:
                cls._import(other)
        code = marshal.loads(compiled)
        _fix_co_filename(code, source)  # it was compiled before it was known where it would be installed
        return cls._spec(name, source, code, place if is_package else "")

    @classmethod
    def _import(cls, name: str) -> None:
        """Import a module ahead of the import statement that asks for it: as importlib does, in a fifth of its time.

        A module that is not to be had is left to that statement, with its errors.
        """
        package, _, stem = name.rpartition(".")
        with _ModuleLockManager(name):
            spec = cls.find_spec(name)
            if not spec or package not in sys.modules or name in sys.modules:
                return
            module = sys.modules[name] = ModuleType(name)
            module.__spec__, module.__loader__ = spec, cls  # type: ignore[assignment]
            module.__package__, module.__file__ = spec.parent, spec.origin
            if spec.submodule_search_locations:
                module.__path__ = spec.submodule_search_locations
            spec._initializing = True  # type: ignore[attr-defined]  # other threads wait for the lock
            try:
                cls.exec_module(module)
                setattr(sys.modules[package], stem, module)
            except Exception:  # noqa: BLE001 (not swallowed: it will be raised again)
                del sys.modules[name]
            finally:
                spec._initializing = False  # type: ignore[attr-defined]

    @classmethod
    def _in_pycache(cls, name: str, place: str) -> ModuleSpec | None:
        package = ""
        try:
            status = os.stat(f"{place}.py")
        except FileNotFoundError:
            package, place = place, f"{place}/__init__"
            status = os.stat(f"{place}.py")
        directory, _, stem = place.rpartition("/")
        compiled, _ = cls._read(cached := f"{directory}/__pycache__/{stem}{cls.suffix}")
        # A compiled file begins with: what Python made it, flags (0: known by time and size), source's time and size.
        words = (0, int(status.st_mtime), status.st_size)
        head = MAGIC_NUMBER + b"".join((word & 0xFFFFFFFF).to_bytes(4, "little") for word in words)
        if compiled[:16] != head:
            return None
        spec = cls._spec(name, f"{place}.py", marshal.loads(memoryview(compiled)[16:]), package)
        spec.cached = cached
        return spec

    @classmethod
    def _spec(cls, name: str, source: str, code: "CodeType", package: str) -> ModuleSpec:
        spec = ModuleSpec(name, cls, origin=source, is_package=bool(package), loader_state=code)  # type: ignore[arg-type]
        spec.has_location = True
        if package:
            spec.submodule_search_locations = [package]
        return spec

    @staticmethod
    def _read(path: str, limit: int = ALL) -> tuple[bytes, int]:
        """The first `limit` bytes of a file, and its size."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            return os.read(fd, min(size, limit)), size  # no larger buffer than that: its holes would stay with the shim
        finally:
            os.close(fd)

    @classmethod
    def open_archive(cls, limit: int = ALL) -> "Index":
        """Read the archive, or its first `limit` bytes, in one read.

        Returns: its index, which is empty if the archive is not there, damaged or for another Python.
        """
        cls.index = {}
        try:
            content, whole = cls._read(cls.archive, limit)
            if content[:4] != MAGIC_NUMBER:
                return cls.index
            start = 8 + int.from_bytes(content[4:8], "little")
            sealed, first, size, index = marshal.loads(memoryview(content)[8:start])
        except (OSError, *DAMAGED):
            return cls.index
        if whole != start + size:
            return cls.index
        if not sealed:
            return cls.open_archive(limit) if cls._seal() else cls.index
        # Of a part of the file the first part counts: what is behind it makes us read all, and that before a fork.
        cls.index, cls.codes = index, memoryview(content)[start : start + (first if limit < whole else size)]
        return index

    @classmethod
    def _seal(cls) -> bool:
        """Make an archive that has just been installed ready for use, once; whether that was possible."""
        if sys.dont_write_bytecode or not os.access(f"{cls.home}/minirun", os.W_OK):
            return False
        from minirun import hot_path

        try:
            hot_path.seal(f"{cls.home}/minirun")
        except (OSError, *DAMAGED):  # no room on the disk, another start does the same
            return False
        return True

    @staticmethod
    def create_module(_spec: ModuleSpec) -> None:
        """A module like any other."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Run the module's code."""
        spec = module.__spec__
        code, spec.loader_state = spec.loader_state, None  # type: ignore[union-attr]
        exec(code, module.__dict__)


class AskSite:
    """The last finder of all: an import that nobody could answer makes up for -S, once."""

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> object:
        """Python's finder protocol: let `site` add what it knows, and ask all finders again."""
        if path is not None:
            return None  # a part of a package that was found already; `site` knows no more about it
        sys.meta_path.remove(cls)  # type: ignore[arg-type]
        import site

        site.main()
        specs = (finder.find_spec(name, None, None) for finder in sys.meta_path)
        return next((spec for spec in specs if spec), None)


def make_ready() -> None:
    """Get the interpreter ready for the rest of minirun. With -S nobody has told it where packages are installed.

    Nearly always ours are beside us, in the directory that holds `minirun`. Whatever else `site` knows (.pth files, an
    environment that may see the system's packages) is asked for only when an import finds nothing.
    """
    gc.disable()
    sys.meta_path.insert(0, Bytecode)
    if not sys.flags.no_site:
        return
    if Bytecode.home.endswith("/dist-packages"):  # Debian's own Python: this is where pip installs, and there is apt's
        sys.path.append("/usr/lib/python3/dist-packages")
    elif not Bytecode.home.endswith("/site-packages"):  # a checkout, run by the interpreter of a virtual environment
        prefix = sys.executable.rpartition("/bin/")[0]
        sys.path.append(f"{prefix}/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages")
    sys.meta_path.append(AskSite)  # type: ignore[arg-type]


def close_archive() -> None:
    """Give the archive's memory back. The next import of one of our modules reads it again."""
    Bytecode.index, Bytecode.codes = None, memoryview(b"")
