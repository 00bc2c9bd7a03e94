"""A place to make something in, out of everybody's sight, until it is renamed to where it belongs."""

from __future__ import annotations

import fcntl
import os

from minirun import store
from minirun.image.content.gc import clear_drafts
from minirun.image.content.spreading import spread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.image.content.layout import Layout


class Draft:
    """A directory under tmp/: `with Draft(layout) as path: ...`.

    It is removed at the end, or when the next draft is begun if its maker was killed.
    The maker holds a flock(2) on the directory itself: the kernel lets go of it when the process ends, however it
    ends, so nobody has to ask whether a pid is still the same process.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.path = f"{layout.root}/tmp/draft-{os.getpid()}-{os.urandom(4).hex()}"
        self.fd = -1

    def __enter__(self) -> str:
        with self.layout.lock():  # between mkdir and flock it looks like a dead one
            clear_drafts(self.layout)
            spread(os.path.dirname(self.path))
            store.make_directory(self.path)
            self.fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self.fd, fcntl.LOCK_EX)
        return self.path

    def __exit__(self, *_: object) -> None:
        store.remove_tree(self.path)
        os.close(self.fd)
