"""Who unpacks a layer: one process, while the others that want it wait and then find it there.

Two images on their way at the same time often share their lower layers. Each would unpack them, and one would throw
its work away. So the layer has a file under the store's tmp/ (`Layout.turn`), and who is about to unpack it holds a
flock(2) on that; the kernel lets go of it when the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.image.content.layout import Layout


class LayerLock:
    """Wait for one's turn at a layer: `with LayerLock(layout, chain_id): ...`; then look again whether it is there.

    Nobody may wait for a second one meanwhile: two who do could wait for each other.
    """

    def __init__(self, layout: Layout, chain_id: str) -> None:
        self.path = layout.layer_lock(chain_id)
        self.fd = -1

    def __enter__(self) -> None:
        while not self._held():
            pass

    def _held(self) -> bool:
        """Whether what was waited for is still the file that others would wait for."""
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(self.fd), os.stat(self.path)):
                return True
        except FileNotFoundError:  # the one before us has removed it, so somebody may hold another
            pass
        except BaseException:
            os.close(self.fd)
            raise
        os.close(self.fd)
        return False

    def __exit__(self, *_: object) -> None:
        os.unlink(self.path)
        os.close(self.fd)
