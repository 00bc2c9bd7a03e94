"""How the first milliseconds are spent: what stands between the interpreter and the first line that matters.

`__main__` comes here at once. It is the one file whose compiled form Python never keeps, so all that can be is here.
Two things are done about time; both were measured, and a start of minirun is a third shorter for them.

* Our own modules are found where they must be. Python's own finder would look around first, for each of some seventy
  modules. Where there is no compiled form, or it is not that of the present source, Python's finder is asked as usual.
* No garbage collector: a command is over before there is anything to collect, and looking for it takes milliseconds
  while modules are loaded. A monitor, which stays, switches it on again.
"""

from __future__ import annotations

import gc
import marshal
import posix as os  # os without its Python half: what needs the other can load it
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


class Ours:
    """Finds and loads minirun's modules from their compiled form (PEP 3147; importlib does it with more care)."""

    suffix = f".{sys.implementation.cache_tag}.pyc"
    home = __file__.rpartition("/minirun/")[0]

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Python's finder protocol (importlib.abc.MetaPathFinder)."""
        if not name.startswith("minirun."):
            return None
        place, package = f"{cls.home}/{name.replace('.', '/')}", False
        try:
            try:
                source = os.stat(f"{place}.py")
            except FileNotFoundError:
                place, package = f"{place}/__init__", True
                source = os.stat(f"{place}.py")
            directory, _, stem = place.rpartition("/")
            fd = os.open(cached := f"{directory}/__pycache__/{stem}{cls.suffix}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        size = os.fstat(fd).st_size
        compiled = os.read(fd, size)  # not more than that, and not kept for long: a monitor would live with the holes
        os.close(fd)
        # A compiled file begins with: what Python made it, flags (0: known by time and size), source's time and size.
        words = (0, int(source.st_mtime), source.st_size)
        head = MAGIC_NUMBER + b"".join((word & 0xFFFFFFFF).to_bytes(4, "little") for word in words)
        if compiled[:16] != head or len(compiled) != size:
            return None
        spec = ModuleSpec(
            name,
            cls,  # type: ignore[arg-type]
            origin=f"{place}.py",
            is_package=package,
            loader_state=compiled,
        )
        spec.has_location, spec.cached = True, cached
        if package:
            spec.submodule_search_locations = [directory]
        return spec

    @staticmethod
    def create_module(_spec: ModuleSpec) -> None:
        """A module like any other."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Run the module's code."""
        spec = module.__spec__
        compiled, spec.loader_state = spec.loader_state, None  # type: ignore[union-attr]
        code = marshal.loads(memoryview(compiled)[16:])
        del compiled
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
    sys.meta_path.insert(0, Ours)
    if not sys.flags.no_site:
        return
    if Ours.home.endswith("/dist-packages"):  # Debian's own Python: this is where pip installs, and there is apt's
        sys.path.append("/usr/lib/python3/dist-packages")
    elif not Ours.home.endswith("/site-packages"):  # a checkout, run by the interpreter of a virtual environment
        prefix = sys.executable.rpartition("/bin/")[0]
        sys.path.append(f"{prefix}/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages")
    sys.meta_path.append(AskSite)  # type: ignore[arg-type]
