"""What dockerd would hold for as long as it runs: data root, exec root, config file, and what is reached through them.

minirun has no daemon, so each command makes a `Daemon`, and everything that needs to know where things are gets it
handed down. The data root survives a reboot (as /var/lib/docker), the exec root does not (as /run/docker). Each can be
moved, so that several minirun live side by side: by flag (--root, --exec-root), by environment (MINIRUN_ROOT,
MINIRUN_EXEC_ROOT) or in the config file ({"data-root": "...", "exec-root": "..."}, the keys of Docker's daemon.json).
The first of these that says something holds. The config file itself is /etc/minirun/config.json, unless --config-file
or MINIRUN_CONFIG names another one; its other keys are about networks (`settings`), registries (`registry_settings`)
and the size of images (`image_quota`).
"""

from __future__ import annotations

from minirun import store
from minirun.errors import MinirunError
from minirun.light import TYPE_CHECKING, os

if TYPE_CHECKING:
    from minirun.image.images import Images
    from minirun.image.quota import Limits
    from minirun.network.controller import Controller
    from minirun.network.daemon_config import Settings

CONFIG_FILE = "/etc/minirun/config.json"
DATA_ROOT = "/var/lib/minirun"
EXEC_ROOT = "/run/minirun"


class Daemon:
    """Data root, exec root and settings of one command.

    `.data_root`, `.exec_root` and `.config_file` are absolute paths without a trailing slash; `.settings`, `.networks`
    and `.images` are loaded when they are first asked for.

    Makes no directory. Arguments: data_root, exec_root, config_file (str), what the command line says, "" for nothing.
    Errors: MinirunError for a config file that is not JSON or says something else than a path.
    """

    __slots__ = ("_images", "_networks", "_settings", "config_file", "data_root", "exec_root")

    def __init__(self, data_root: str = "", exec_root: str = "", config_file: str = "") -> None:
        self.config_file = _absolute(config_file) or _variable(b"MINIRUN_CONFIG") or CONFIG_FILE
        self.data_root = _absolute(data_root or _variable(b"MINIRUN_ROOT"))
        self.exec_root = _absolute(exec_root or _variable(b"MINIRUN_EXEC_ROOT"))
        if not (self.data_root and self.exec_root):
            given = self._read()
            self.data_root = self.data_root or _absolute(given.get("data-root", DATA_ROOT))
            self.exec_root = self.exec_root or _absolute(given.get("exec-root", EXEC_ROOT))
        self._settings: Settings | None = None
        self._networks: Controller | None = None
        self._images: Images | None = None

    @property
    def settings(self) -> Settings:
        """What the config file says about networks.

        Errors: MinirunError that names the file, for an unknown key or a value that makes no sense.
        """
        if self._settings is None:
            from minirun.network.daemon_config import Settings

            try:
                self._settings = Settings.of(self._read())
            except MinirunError as error:
                if self.config_file not in error.message:
                    error.message = f"{self.config_file}: {error.message}"
                error.args = (error.message,)
                raise
        return self._settings

    @property
    def networks(self) -> Controller:
        """The network controller of these two roots."""
        if self._networks is None:
            from minirun.network.controller import Controller

            self._networks = Controller(self.data_root, self.exec_root, lambda: self.settings)
        return self._networks

    @property
    def images(self) -> Images:
        """The image store of this data root."""
        if self._images is None:
            from minirun.image.images import Images

            self._images = Images(f"{self.data_root}/images", self.image_quota)
        return self._images

    def registry_settings(self) -> dict[str, list[str]]:
        """What the config file says about registries, by its keys. Errors: as `settings`."""
        _ = self.settings  # which checks the whole file
        given = self._read()
        return {key: given[key] for key in ("insecure-registries", "registry-mirrors") if key in given}

    def image_quota(self) -> Limits:
        """What the config file says about how large an image may become. Errors: as `settings`."""
        from minirun.image.quota import FILES, SIZE, Limits

        _ = self.settings
        given = self._read()
        return Limits(given.get("max-image-size", SIZE), given.get("max-image-files", FILES))

    def _read(self) -> dict:
        """The config file; {} when there is none."""
        path = self.config_file
        try:
            given = store.read(path)
        except FileNotFoundError:
            return {}
        except OSError as reason:
            raise MinirunError(f"{path}: {os.strerror(reason.errno or 0).lower()}") from None
        if not isinstance(given, dict) or not all(
            isinstance(given.get(key, ""), str) for key in ("data-root", "exec-root")
        ):
            raise MinirunError(f'{path}: expected an object like {{"data-root": "/var/lib/minirun"}}')
        return given


def _variable(name: bytes) -> str:
    return os.environ.get(name, b"").decode("utf-8", "surrogateescape")


def _absolute(path: str) -> str:
    if not path or path[0] == "/" and "/." not in path and "//" not in path and path[-1] != "/":
        return path
    from posixpath import abspath  # it loads os

    return abspath(path)
