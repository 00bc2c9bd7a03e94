"""What the tests of the engine's pure parts share: a container's record, an image, a host."""

from __future__ import annotations

from minirun.engine.container import config
from minirun.engine.daemon import Daemon
from minirun.engine.options import CreateOptions
from minirun.engine.spec import users

ID = "0123456789ab" + "c" * 52


class Image:
    """An image with two layers; `defaults` is its Config."""

    id = "sha256:" + "1" * 64
    chain_ids = ("sha256:" + "a" * 64, "sha256:" + "b" * 64)

    def __init__(self, **defaults: object) -> None:
        self.defaults = defaults


class Host:
    """A machine with two CPUs and one memory node, whatever the tests run on."""

    name = "lecture-hall"
    cpus = 2

    @staticmethod
    def available(kind: str) -> str:
        """The CPUs or memory nodes that there are, as in a cpuset file."""
        return {"cpu": "0-1", "node": "0"}[kind]


#: Its roots have names that no test can mistake for real ones.
DAEMON = Daemon("/DATA", "/RUN")


def make(image: Image | None = None, **requested: object) -> dict:
    """The record of a container called w1."""
    return config.make(
        CreateOptions(**{"image": "alpine", "command": ["sh"], **requested}), image or Image(), ID, "w1", Host()
    )


def root() -> users.User:
    """Root without an /etc/passwd."""
    return users.resolve("", None, None)
