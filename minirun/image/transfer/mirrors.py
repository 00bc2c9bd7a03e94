"""Which registries are asked for an image, and in which order: the mirrors, and then the one that its name says."""

from __future__ import annotations

from minirun.image.registry.auth import Credentials
from minirun.image.registry.client import HUB, Registry
from minirun.image.registry.http import Connection
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minirun.image.reference import Reference


class Source:
    """Where images come from and go to.

    Arguments: insecure (list of str), see `trust.is_insecure`; mirrors (list of str), URLs that are asked for
    Docker Hub's images first; credentials, gives those for a domain and a path.
    """

    def __init__(
        self, insecure: Sequence[str], mirrors: Sequence[str], credentials: Callable[[str, str], Credentials]
    ) -> None:
        self.connection = Connection(list(insecure))
        self.mirrors, self.credentials = list(mirrors), credentials

    def registries(self, name: Reference, actions: str = "pull") -> list[Registry]:
        """Whom to ask for an image, one after the other; a mirror is not told who we are."""
        mirrors = self.mirrors if name.domain == HUB and actions == "pull" else []
        return [
            *(Registry(self.connection, name, Credentials(), actions, mirror.rstrip("/")) for mirror in mirrors),
            Registry(self.connection, name, self.credentials(name.domain, name.path), actions),
        ]
