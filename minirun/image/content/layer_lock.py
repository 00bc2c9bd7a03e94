"""The lock on a layer: one process unpacks it, the others that need the same layer wait and then find it in the store.

Two images that are pulled at the same time often share their lower layers; without the lock both would unpack them,
and one would throw its work away. Each layer has a lock file under the store's tmp/ (`Layout.layer_lock`), on which
the process that unpacks it holds a flock(2); the kernel releases that lock however the process ends.
"""

from __future__ import annotations

import fcntl
import os

from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from minirun.image.content.layout import Layout


class LayerLock:
    """Wait for the lock on a layer: `with LayerLock(layout, chain_id): ...`; then check whether the layer is there.

    A process never waits for a second layer while it holds one: two of them could deadlock.
    """

    def __init__(self, layout: Layout, chain_id: str) -> None:
        self.path = layout.layer_lock(chain_id)
        self.fd = -1

    def __enter__(self) -> None:
        while not self._acquire():
            pass

    def _acquire(self) -> bool:
        """Wait for the flock(2). Returns: False when the locked file is no longer the one at `path`: try again."""
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(self.fd), os.stat(self.path)):
                return True
        except FileNotFoundError:  # the previous holder has unlinked it, so another process may have made a new one
            pass
        except BaseException:
            os.close(self.fd)
            raise
        os.close(self.fd)
        return False

    def __exit__(self, *_: object) -> None:
        os.unlink(self.path)
        os.close(self.fd)
