"""What the config file says about registries: dockerd's keys, and what becomes of them.

    {"insecure-registries": ["registry.lan:5000", "10.0.0.0/8"], "registry-mirrors": ["https://mirror.lan"]}

A mirror is asked for Docker Hub's images first. An insecure registry is spoken to although nobody vouches for it, or
in plain text; the loopback network always is.
"""

from __future__ import annotations

from minirun.engine import places
from minirun.errors import MinirunError
from minirun.image import credentials
from minirun.image.pull import Source


def source() -> Source:
    """Where images come from and go to. Errors: MinirunError for settings that make no sense."""
    given = places.registry_settings()
    insecure, mirrors = given.get("insecure-registries", []), given.get("registry-mirrors", [])
    for word in insecure:
        _check_insecure(word)
    for mirror in mirrors:
        scheme, mark, rest = mirror.partition("://")
        if scheme not in ("http", "https") or not mark or not rest.strip("/") or "?" in rest or "#" in rest:
            raise MinirunError(f'invalid mirror: {mirror!r} is not like "https://mirror.example"')
    return Source(insecure, mirrors, credentials.find)


def _check_insecure(word: str) -> None:
    import ipaddress

    if "://" in word:
        raise MinirunError(f"insecure registry {word} should not contain '://'")
    if "/" in word:
        try:
            ipaddress.ip_network(word, strict=False)
        except ValueError:
            raise MinirunError(f"insecure registry {word} is neither a host nor a network") from None
