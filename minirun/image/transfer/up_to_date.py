"""Is what we have still what the registry has? The one question of a second `pull`, asked without the HTTP library.

    HEAD /v2/NAME/manifests/TAG      →      200, Docker-Content-Digest: sha256:...

The answer is there in two milliseconds; to import urllib3 with what it needs takes thirty times as long, which is all
that a person waits for when nothing has changed. So the plainest case has a client of its own: a registry that is
spoken to in plain text (of this machine, or named in the config file), with no proxy, that asks for no password. It
takes no other answer than that one. For TLS, a mirror, a challenge, a redirect, an error, or anything odd there is the
long way (`minirun.image.transfer.pull`), which asks anew and has words for what is wrong.

Nothing is believed here: the digest that the registry names only counts if it is that of the image that is here.
"""

from __future__ import annotations

import _socket  # `socket` without its Python half, which takes 9 ms
import os
import time

from minirun.image import platforms
from minirun.image.manifests import ACCEPTED
from minirun.image.tags import PULLED, full_name
from minirun.light import TYPE_CHECKING
from minirun.trace import quoted, step, tell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from minirun.image.images import Images
    from minirun.image.platforms import Platform
    from minirun.image.reference import Reference

#: Seconds for the whole answer, and the most bytes that its headers may have: who needs more is asked the long way.
PATIENCE = 5.0
HEADERS_MAX = 16 * 1024


def digest_of(images: Images, name: Reference, insecure: Sequence[str]) -> str:
    """The digest of the image with this name, if it is here and its registry has no other one.

    Arguments: name, with a tag or a digest; insecure (list of str), the hosts in the config file to which one speaks
    in plain text. Returns: "" if that can only be found out the long way.
    """
    address = _address(name.domain, insecure)
    entries = [entry for entry in images.layout.index() if full_name(entry) == name.full]
    if not (address and entries):
        return ""
    try:
        with step("ask the registry which image this is"):
            digest = _digest_in(_answer(address, name))
    except OSError:
        return ""
    if not digest or not known(entries, digest, platforms.parse("")):
        return ""
    images.find(name.full)  # whole? If not, it says so
    return digest


def known(entries: Iterable[dict], digest: str, wanted: Platform) -> dict | None:
    """The descriptor of an image that has this digest, or came by it and is for the wanted platform."""
    for entry in entries:
        came_by = (entry.get("annotations") or {}).get(PULLED)
        if entry["digest"] == digest or came_by == digest and wanted.fits(entry.get("platform") or {}):
            return entry
    return None


def _address(domain: str, insecure: Sequence[str]) -> tuple[str, str] | None:
    """Host and port of a registry that one speaks to in plain text, with nobody between; None for another one."""
    host, _, port = domain.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal():
        return None  # without a port there are two to be tried
    if not _is_loopback(host) and (
        not {domain, host}.intersection(insecure) or any(variable.lower().endswith("_proxy") for variable in os.environ)
    ):
        return None
    return host, port


def _is_loopback(host: str) -> bool:
    try:
        return host in ("localhost", "::1") or _socket.inet_pton(_socket.AF_INET, host)[0] == 127
    except OSError:  # a name
        return False


def _answer(address: tuple[str, str], name: Reference) -> bytes:
    """What the registry answers, as far as it is worth reading. Errors: OSError."""
    what = name.digest or name.tag
    request = (
        f"HEAD /v2/{name.path}/manifests/{what} HTTP/1.1\r\nHost: {name.domain}\r\nUser-Agent: minirun\r\n"
        f"Accept: {ACCEPTED}\r\nConnection: close\r\n\r\n"
    ).encode()  # no name has a blank or a line end in it
    tell(
        "HEAD",
        "curl -sI -H {} {}",
        quoted(f"Accept: {ACCEPTED}"),
        f"http://{name.domain}/v2/{name.path}/manifests/{what}",
    )
    end = time.monotonic() + PATIENCE
    family, kind, protocol, _, place = _socket.getaddrinfo(address[0].encode(), address[1], 0, _socket.SOCK_STREAM)[0]
    connection = _socket.socket(family, kind, protocol)
    try:
        connection.settimeout(PATIENCE)
        connection.connect(place)
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer and len(answer) < HEADERS_MAX and (left := end - time.monotonic()) > 0:
            connection.settimeout(left)
            part = connection.recv(HEADERS_MAX)
            if not part:
                break
            answer += part
        return answer
    finally:
        connection.close()


def _digest_in(answer: bytes) -> str:
    """The digest in the headers of an answer that is whole and says 200; "" for any other one."""
    head, whole, _ = answer.partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    if not whole or not status.startswith(b"HTTP/1.") or status.split()[1:2] != [b"200"]:
        return ""
    pairs = [header.partition(b":") for header in headers]
    found = [value.strip().decode("latin-1") for name, _, value in pairs if name.lower() == b"docker-content-digest"]
    return found[0] if len(found) == 1 else ""
