"""Where things are: the data root (survives a reboot, as /var/lib/docker) and the exec root (does not, as /run/docker).

Each can be moved, so that several minirun live side by side: by flag (--root, --exec-root), by environment
(MINIRUN_ROOT, MINIRUN_EXEC_ROOT) or in /etc/minirun/config.json ({"data-root": "...", "exec-root": "..."}, the keys
of Docker's daemon.json). The first of these that says something holds.
"""

from __future__ import annotations

import posix as os  # os without its Python half, which alone takes a tenth of `ps`

from minirun import store
from minirun.errors import MinirunError

CONFIG = "/etc/minirun/config.json"

#: The data root; filled by `settle`.
data = "/var/lib/minirun"
#: The exec root; filled by `settle`.
run = "/run/minirun"


def settle(data_flag: str = "", run_flag: str = "", *, config: str = CONFIG) -> None:
    """Decide on `data` and `run`, absolute paths without a slash at the end. Makes no directory.

    Arguments: data_flag, run_flag (str), what the command line says, "" for nothing; config (str), the file to ask.
    Errors: MinirunError for a file that is not JSON or says something else than a path.
    """
    global data, run
    data = _absolute(data_flag or _variable(b"MINIRUN_ROOT"))
    run = _absolute(run_flag or _variable(b"MINIRUN_EXEC_ROOT"))
    if not (data and run):
        settings = _read(config)
        data = data or _absolute(settings.get("data-root", "/var/lib/minirun"))
        run = run or _absolute(settings.get("exec-root", "/run/minirun"))


def _variable(name: bytes) -> str:
    return os.environ.get(name, b"").decode("utf-8", "surrogateescape")


def _absolute(path: str) -> str:
    if not path or path[0] == "/" and "/." not in path and "//" not in path and path[-1] != "/":
        return path
    from posixpath import abspath  # it loads os

    return abspath(path)


def _read(path: str) -> dict[str, str]:
    """The settings of the config file; none when there is no file."""
    try:
        settings = store.read(path)
    except FileNotFoundError:
        return {}
    except OSError as reason:
        raise MinirunError(f"{path}: {os.strerror(reason.errno or 0).lower()}") from None
    if not isinstance(settings, dict) or not all(isinstance(settings.get(key, ""), str)
                                                 for key in ("data-root", "exec-root")):
        raise MinirunError(f'{path}: expected an object like {{"data-root": "/var/lib/minirun"}}')
    return settings
