"""URLs that come from a registry: which of them are followed, and through which proxy.

A registry sends its clients to other URLs: a token server, a location for uploads, a host with the blobs. These are
untrusted: none may be anything but HTTP, and none may go from HTTPS to plain HTTP.
"""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urljoin, urlsplit

from minirun.errors import EngineError
from minirun.image.sanitize import printable


def origin(url: str) -> tuple[str, str, int | None]:
    """The origin of a URL: scheme, host and port (RFC 6454)."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def check_url(url: str, before: str) -> None:
    """Refuse a URL that is not HTTP, or plain HTTP after HTTPS. Arguments: before (str), the URL that named it.

    Errors: EngineError.
    """
    try:
        scheme, host, _ = origin(url)
    except ValueError:
        scheme = host = ""
    safe = host and (scheme == "https" or scheme == "http" and urlsplit(before).scheme != "https")
    if not safe or not url.isprintable():
        raise EngineError(f'Get "{before}": refusing to go on to {printable(repr(url))}')


def resolve_location(before: str, location: str) -> str:
    """The URL of a header Location. Arguments: before (str), the requested URL. Errors: as for `check_url`."""
    try:
        url = urljoin(before, location)
    except ValueError:
        url = location  # invalid: refused by check_url
    check_url(url, before)
    return url


def proxy_for(url: str) -> str:
    """The proxy for a URL, from the environment by Go's rules; "" for none.

    HTTPS_PROXY or HTTP_PROXY is the proxy's URL; NO_PROXY lists exceptions: names, ".example.org", addresses,
    10.0.0.0/8, with or without a port, or "*". The loopback network never has a proxy.
    """
    if not any(variable.lower().endswith("_proxy") for variable in os.environ):
        return ""
    # 20 ms to import, and most hosts have no proxy
    from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

    scheme, name, port = origin(url)
    proxies = getproxies_environment()
    found = proxies.get(scheme, "")
    if (
        not found
        or name == "localhost"
        or proxy_bypass_environment(f"{name}:{port}", proxies)
        or _is_in_networks(name, proxies.get("no", ""))
    ):
        return ""
    return found if "://" in found else f"http://{found}"


def _is_in_networks(name: str, networks: str) -> bool:
    """Whether an address is in one of the networks, or in the loopback network."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    for word in networks.split(","):
        try:
            if "/" in word and address in ipaddress.ip_network(word.strip(), strict=False):
                return True
        except ValueError:  # not a network
            continue
    return address.is_loopback
