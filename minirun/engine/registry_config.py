"""The registry settings of the config file, with dockerd's keys (moby, registry/config.go).

    {"insecure-registries": ["registry.lan:5000", "10.0.0.0/8"], "registry-mirrors": ["https://mirror.lan"]}

A mirror is asked first for Docker Hub's images. An insecure registry may have a certificate that cannot be verified, or
speak plain HTTP; 127.0.0.0/8 is always insecure.
"""

from __future__ import annotations

import sys

from minirun.errors import MinirunError
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon
    from minirun.image.reference import Reference
    from minirun.image.registry.auth import Credentials
    from minirun.image.transfer.mirrors import RegistryHosts


def registry_hosts(daemon: Daemon) -> RegistryHosts:
    """The registries and mirrors of these settings. Errors: MinirunError for an invalid setting."""
    from minirun.image.transfer.mirrors import RegistryHosts  # 80 ms, for the HTTP library

    return RegistryHosts(*_settings(daemon), _credentials)


def unchanged(daemon: Daemon, name: Reference) -> str:
    """The digest of a local image that is up to date, if that is cheap to find out; else "". Errors: as `source`."""
    from minirun.image.transfer import up_to_date

    return up_to_date.digest_of(daemon.images, name, _settings(daemon)[0])


def _settings(daemon: Daemon) -> tuple[list[str], list[str]]:
    """The insecure registries and the mirrors, checked."""
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
    """The credentials for a registry. When a credential helper fails, none, as in Docker, and a warning."""
    from minirun.image.registry import credentials
    from minirun.image.registry.auth import Credentials

    try:
        return credentials.load(domain, path)
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
