"""What the config file says about registries: dockerd's keys, and what becomes of them.

    {"insecure-registries": ["registry.lan:5000", "10.0.0.0/8"], "registry-mirrors": ["https://mirror.lan"]}

A mirror is asked for Docker Hub's images first. An insecure registry is spoken to although nobody vouches for it, or
in plain text; the loopback network always is.
"""

from __future__ import annotations

import sys

from minirun.errors import MinirunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon
    from minirun.image.reference import Reference
    from minirun.image.registry.auth import Credentials
    from minirun.image.transfer.mirrors import Source


def source(daemon: Daemon) -> Source:
    """Where images come from and go to. Errors: MinirunError for settings that make no sense."""
    from minirun.image.transfer.mirrors import Source  # 80 ms, for the HTTP library

    return Source(*_settings(daemon), _credentials)


def unchanged(daemon: Daemon, name: Reference) -> str:
    """The digest of an image that is here and has not changed in its registry, if that is easily found out; else "".

    Errors: as for `source`.
    """
    from minirun.image.transfer import up_to_date

    return up_to_date.digest_of(daemon.images, name, _settings(daemon)[0])


def _settings(daemon: Daemon) -> tuple[list[str], list[str]]:
    """Insecure registries, mirrors."""
    given = daemon.registry_settings()
    insecure, mirrors = given.get("insecure-registries", []), given.get("registry-mirrors", [])
    for word in insecure:
        _check_insecure(word)
    for mirror in mirrors:
        scheme, mark, rest = mirror.partition("://")
        if scheme not in ("http", "https") or not mark or not rest.strip("/") or "?" in rest or "#" in rest:
            raise MinirunError(f'invalid mirror: {mirror!r} is not like "https://mirror.example"')
    return insecure, mirrors


def _credentials(domain: str, path: str) -> Credentials:
    """Who we are to a registry. When a helper fails we ask as nobody, as Docker does; but it is told."""
    from minirun.image.registry import credentials
    from minirun.image.registry.auth import Credentials

    try:
        return credentials.find(domain, path)
    except MinirunError as error:
        sys.stderr.write(f"WARNING: {error.message}\n")
        return Credentials()


def _check_insecure(word: str) -> None:
    import ipaddress

    if "://" in word:
        raise MinirunError(f"insecure registry {word} should not contain '://'")
    if "/" in word:
        try:
            ipaddress.ip_network(word, strict=False)
        except ValueError:
            raise MinirunError(f"insecure registry {word} is neither a host nor a network") from None
