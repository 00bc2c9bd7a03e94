"""Whom a URL asks, and by which way: what may be believed of an address before anybody is asked there.

A registry sends its clients on: to a token server, to a place for uploads, to the host where blobs lie. None of these
may be less safe than where it was said, and none may be anything but HTTP.
"""

from __future__ import annotations

import os
from urllib.parse import urljoin, urlsplit

from minirun.errors import EngineError
from minirun.image.sanitize import shown


def origin(url: str) -> tuple[str, str, int | None]:
    """Whom a URL asks: scheme, host and port."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def check_url(url: str, before: str) -> None:
    """Refuse an address that a registry sends us to, if it is no HTTP or less safe than where we come from."""
    try:
        scheme, host, _ = origin(url)
    except ValueError:
        scheme = host = ""
    safe = host and (scheme == "https" or scheme == "http" and urlsplit(before).scheme != "https")
    if not safe or not url.isprintable():
        raise EngineError(f'Get "{before}": refusing to go on to {shown(repr(url))}')


def onward(before: str, location: str) -> str:
    """The address that the header Location leads to. Errors: EngineError when nobody may be sent there."""
    try:
        url = urljoin(before, location)
    except ValueError:
        url = location  # it makes no sense
    check_url(url, before)
    return url


def proxy(url: str) -> str:
    """The URL of the proxy that the environment names for another URL ("" for none), by Go's rules.

    HTTPS_PROXY or HTTP_PROXY says which; NO_PROXY for whom not: names, ".example.org", addresses, 10.0.0.0/8, perhaps
    with a port, or "*". The loopback network never has one.
    """
    if not any(variable.lower().endswith("_proxy") for variable in os.environ):
        return ""
    from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]  # 20 ms

    scheme, name, port = origin(url)
    proxies = getproxies_environment()
    found = proxies.get(scheme, "")
    if (
        not found
        or name == "localhost"
        or proxy_bypass_environment(f"{name}:{port}", proxies)
        or _is_near(name, proxies.get("no", ""))
    ):
        return ""
    return found if "://" in found else f"http://{found}"


def _is_near(name: str, networks: str) -> bool:
    """Whether an address is in one of the networks, or in the loopback one."""
    import ipaddress

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
