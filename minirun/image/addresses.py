"""Whom a URL asks, and by which way: what may be believed of an address before anybody is asked there.

A registry sends its clients on: to a token server, to a place for uploads, to the host where blobs lie. None of these
may be less safe than where it was said, and none may be anything but HTTP.
"""

from __future__ import annotations

import os
from urllib.parse import urljoin, urlsplit

from minirun.errors import EngineError
from minirun.image.strangers import shown


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


def is_insecure(host: str, insecure: list[str]) -> bool:
    """Whether a host may be spoken to in plain text: the loopback network, and what the config file names.

    Arguments: host (str), "name:port"; insecure (list of str), "name", "name:port" or "10.0.0.0/8".
    """
    import ipaddress

    name = host.rpartition(":")[0].strip("[]") if ":" in host.rpartition("]")[2] else host.strip("[]")
    if name == "localhost" or host in insecure or name in insecure:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    networks = ["127.0.0.0/8", "::1/128", *(word for word in insecure if "/" in word)]
    return any(address in ipaddress.ip_network(network, strict=False) for network in networks)


def proxy(scheme: str, name: str, host: str) -> str:
    """The proxy that the environment names for a host ("" for none); never for the loopback network, as in Go."""
    if not any(variable.lower().endswith("_proxy") for variable in os.environ):
        return ""
    from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]  # 20 ms

    proxies = getproxies_environment()
    if scheme not in proxies or name == "localhost" or name.startswith("127.") or name == "::1":
        return ""
    if proxy_bypass_environment(host, proxies):
        return ""
    found = proxies[scheme]
    return found if "://" in found else f"http://{found}"
