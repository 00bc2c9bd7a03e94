"""Checks whether an image is up to date: the only request of a second `pull`, made without the HTTP library.

    HEAD /v2/NAME/manifests/TAG      →      200, Docker-Content-Digest: sha256:...

The response takes two milliseconds, the import of urllib3 thirty times as long, and when nothing has changed that is
all that a user waits for. So this module has a client of its own for the simplest case: a registry that is used with
plain HTTP (on this machine, or insecure in the config file), without a proxy and without authorization. Any other
response (a challenge, a redirect, an error), TLS and mirrors are left to minirun.image.transfer.pull, which asks again.

The response is untrusted: the digest counts only if it is that of the image that is here.
"""

from __future__ import annotations

import os
import time

from minirun.image import platforms
from minirun.image.manifests import ACCEPTED
from minirun.image.tags import PULLED, full_name
from minirun.light import TYPE_CHECKING, socket
from minirun.trace import quoted, step, tell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from minirun.image.images import Images
    from minirun.image.platforms import Platform
    from minirun.image.reference import Reference

#: Seconds for the whole response, and the most bytes of its headers.
TIMEOUT = 5.0
HEADERS_MAX = 16 * 1024


def digest_of(images: Images, name: Reference, insecure: Sequence[str]) -> str:
    """The digest of the image with this name, if it is here and its registry has the same one.

    Arguments: name, with a tag or a digest; insecure (list of str), the config file's insecure-registries.
    Returns: "" when only a full pull can tell.
    """
    address = _address(name.domain, insecure)
    entries = [entry for entry in images.layout.index() if full_name(entry) == name.full]
    if not (address and entries):
        return ""
    try:
        with step("ask the registry which image this is"):
            digest = _digest_in(_request(address, name))
    except OSError:
        return ""
    if not digest or not find_by_digest(entries, digest, platforms.parse("")):
        return ""
    images.find(name.full)  # fails when the image is damaged
    return digest


def find_by_digest(entries: Iterable[dict], digest: str, wanted: Platform) -> dict | None:
    """The descriptor of an image with this digest, or that was pulled by it (an index) and is for the platform."""
    for entry in entries:
        came_by = (entry.get("annotations") or {}).get(PULLED)
        if entry["digest"] == digest or came_by == digest and wanted.fits(entry.get("platform") or {}):
            return entry
    return None


def _address(domain: str, insecure: Sequence[str]) -> tuple[str, str] | None:
    """Host and port of a registry that is used with plain HTTP and without a proxy; None for others."""
    host, _, port = domain.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal():
        return None  # without a port, HTTPS and HTTP would have to be tried
    if not _is_loopback(host) and (
        not {domain, host}.intersection(insecure) or any(variable.lower().endswith("_proxy") for variable in os.environ)
    ):
        return None
    return host, port


def _is_loopback(host: str) -> bool:
    try:
        return host in ("localhost", "::1") or socket.inet_pton(socket.AF_INET, host)[0] == 127
    except OSError:  # a name
        return False


def _request(address: tuple[str, str], name: Reference) -> bytes:
    """Make the request. Returns: the beginning of the response, its headers at most. Errors: OSError."""
    what = name.digest or name.tag
    request = (
        f"HEAD /v2/{name.path}/manifests/{what} HTTP/1.1\r\nHost: {name.domain}\r\nUser-Agent: minirun\r\n"
        f"Accept: {ACCEPTED}\r\nConnection: close\r\n\r\n"
    ).encode()  # a valid reference has no blanks and no line ends
    tell(
        "HEAD",
        "curl -sI -H {} {}",
        quoted(f"Accept: {ACCEPTED}"),
        f"http://{name.domain}/v2/{name.path}/manifests/{what}",
    )
    end = time.monotonic() + TIMEOUT
    family, kind, protocol, _, sockaddr = socket.getaddrinfo(address[0].encode(), address[1], 0, socket.SOCK_STREAM)[0]
    connection = socket.socket(family, kind, protocol)
    try:
        connection.settimeout(TIMEOUT)
        connection.connect(sockaddr)
        connection.sendall(request)
        response = b""
        while b"\r\n\r\n" not in response and len(response) < HEADERS_MAX and (left := end - time.monotonic()) > 0:
            connection.settimeout(left)
            part = connection.recv(HEADERS_MAX)
            if not part:
                break
            response += part
        return response
    finally:
        connection.close()


def _digest_in(response: bytes) -> str:
    """The digest in the headers of a complete response with status 200; "" for any other."""
    head, whole, _ = response.partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    if not whole or not status.startswith(b"HTTP/1.") or status.split()[1:2] != [b"200"]:
        return ""
    pairs = [header.partition(b":") for header in headers]
    digests = [value.strip().decode("latin-1") for name, _, value in pairs if name.lower() == b"docker-content-digest"]
    return digests[0] if len(digests) == 1 else ""
