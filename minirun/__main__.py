"""The first lines of minirun that Python runs: `python3 -IS .../minirun/__main__.py WORDS...`, as the launcher says.

With -S nobody has told Python where packages are installed: that is the work of `site`, and costs 8 ms. Nearly always
ours are beside us, in the directory that holds `minirun`. Whatever else `site` knows (.pth files, an environment that
may see the system's packages) is asked for only when an import finds nothing: then `site` does its work after all.

Python never caches the compiled form of this file, so it stays small.
"""

from __future__ import annotations

import sys


class AskSite:
    """The last finder of all: an import that nobody could answer makes up for -S, once."""

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> object:
        if path is not None:
            return None  # a part of a package that was found already; `site` knows no more about it
        sys.meta_path.remove(cls)  # type: ignore[arg-type]
        import site

        site.main()
        specs = (finder.find_spec(name, None, None) for finder in sys.meta_path)
        return next((spec for spec in specs if spec), None)


if sys.flags.no_site:
    beside_us = __file__.rpartition("/minirun/")[0]
    sys.path.append(beside_us)
    if beside_us.endswith("/dist-packages"):  # Debian's own Python: this is where pip installs, and there is apt's
        sys.path.append("/usr/lib/python3/dist-packages")
    elif not beside_us.endswith("/site-packages"):  # a checkout, run by the interpreter of a virtual environment
        prefix = sys.executable.rpartition("/bin/")[0]
        sys.path.append(f"{prefix}/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages")
    sys.meta_path.append(AskSite)  # type: ignore[arg-type]

from minirun.cli.main import main  # noqa: E402

if __name__ == "__main__":
    main()
