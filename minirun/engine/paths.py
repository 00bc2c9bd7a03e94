"""Where things are: the data root (survives a reboot, as /var/lib/docker) and the exec root (does not, as /run/docker).

Each can be moved, so that several minirun live side by side: by flag (--root, --exec-root), by environment
(MINIRUN_ROOT, MINIRUN_EXEC_ROOT) or in the config file ({"data-root": "...", "exec-root": "..."}, the keys of Docker's
daemon.json). The first of these that says something holds. The config file itself is /etc/minirun/config.json, unless
--config-file or MINIRUN_CONFIG names another one; what else is in it is for the networks (`settings`), for
registries (`engine.registries`), and for images that come (`image.limits`).
"""

from __future__ import annotations

import posix as os  # os without its Python half, which alone takes a tenth of `ps`

from minirun import store
from minirun.errors import MinirunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.image.quota import Limits
    from minirun.network.controller import Controller
    from minirun.network.daemon_config import Settings

CONFIG = "/etc/minirun/config.json"

#: The data root; filled by `settle`.
data = "/var/lib/minirun"
#: The exec root; filled by `settle`.
run = "/run/minirun"
_settings: Settings | None = None


def settle(data_flag: str = "", run_flag: str = "", config: str = "") -> None:
    """Decide on `data` and `run`, absolute paths without a slash at the end. Makes no directory.

    Arguments: data_flag, run_flag (str), what the command line says, "" for nothing; config (str), the config file if
    the command line names one. Errors: MinirunError for a file that is not JSON or says something else than a path.
    """
    global data, run
    if config:
        # Into the environment, for the monitor becomes a new program while it rests.
        os.environ[b"MINIRUN_CONFIG"] = _absolute(config).encode("utf-8", "surrogateescape")
    data = _absolute(data_flag or _variable(b"MINIRUN_ROOT"))
    run = _absolute(run_flag or _variable(b"MINIRUN_EXEC_ROOT"))
    if not (data and run):
        words = _read(_config())
        data = data or _absolute(words.get("data-root", "/var/lib/minirun"))
        run = run or _absolute(words.get("exec-root", "/run/minirun"))


def settings() -> Settings:
    """What the config file says about networks; read when it is first asked for.

    Errors: MinirunError that names the file, for what makes no sense.
    """
    global _settings
    if _settings is None:
        from minirun.network.daemon_config import Settings

        path = _config()
        try:
            _settings = Settings.of(_read(path))
        except MinirunError as error:
            error.message = f"{path}: {error.message}" if path not in error.message else error.message
            error.args = (error.message,)
            raise
    return _settings


def controller() -> Controller:
    """The network controller of this data root and exec root."""
    from minirun.network.controller import Controller

    return Controller(data, run, settings)


def registry_settings() -> dict[str, list[str]]:
    """What the config file says about registries, by its keys. Errors: as `settings`."""
    settings()  # which checks the whole file
    words = _read(_config())
    return {key: words[key] for key in ("insecure-registries", "registry-mirrors") if key in words}


def image_limits() -> Limits:
    """What the config file says about how large an image may become. Errors: as `settings`."""
    from minirun.image.quota import FILES, SIZE, Limits

    settings()
    words = _read(_config())
    return Limits(words.get("max-image-size", SIZE), words.get("max-image-files", FILES))


def _config() -> str:
    return _variable(b"MINIRUN_CONFIG") or CONFIG


def _variable(name: bytes) -> str:
    return os.environ.get(name, b"").decode("utf-8", "surrogateescape")


def _absolute(path: str) -> str:
    if not path or path[0] == "/" and "/." not in path and "//" not in path and path[-1] != "/":
        return path
    from posixpath import abspath  # it loads os

    return abspath(path)


def _read(path: str) -> dict:
    """The settings of the config file; none when there is no file."""
    try:
        settings = store.read(path)
    except FileNotFoundError:
        return {}
    except OSError as reason:
        raise MinirunError(f"{path}: {os.strerror(reason.errno or 0).lower()}") from None
    if not isinstance(settings, dict) or not all(
        isinstance(settings.get(key, ""), str) for key in ("data-root", "exec-root")
    ):
        raise MinirunError(f'{path}: expected an object like {{"data-root": "/var/lib/minirun"}}')
    return settings
