"""The registry hosts of an image: Docker Hub's mirrors first, then the registry in its name."""

from __future__ import annotations

from minirun.image.registry.auth import Credentials
from minirun.image.registry.client import HUB, Registry
from minirun.image.registry.http import HTTPClient
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minirun.image.reference import Reference


class RegistryHosts:
    """Finds the hosts for an image (containerd docker.RegistryHosts).

    Arguments: insecure (list of str), as for `tls.is_insecure`; mirrors (list of str), URLs of mirrors of Docker Hub;
    credentials, returns those for a domain and a path.
    """

    def __init__(
        self, insecure: Sequence[str], mirrors: Sequence[str], credentials: Callable[[str, str], Credentials]
    ) -> None:
        self.http = HTTPClient(list(insecure))
        self.mirrors, self.credentials = list(mirrors), credentials

    def registries(self, name: Reference, actions: str = "pull") -> list[Registry]:
        """The clients to try, in order; a mirror gets no credentials, and no pushes."""
        mirrors = self.mirrors if name.domain == HUB and actions == "pull" else []
        return [
            *(Registry(self.http, name, Credentials(), actions, mirror.rstrip("/")) for mirror in mirrors),
            Registry(self.http, name, self.credentials(name.domain, name.path), actions),
        ]
