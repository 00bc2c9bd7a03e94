"""Whom one believes: which hosts may be spoken to in plain text, who vouches for the others, and who we are to them.

    /etc/docker/certs.d/HOST:PORT/*.crt             authorities of a registry's own, besides the system's
    /etc/docker/certs.d/HOST:PORT/NAME.cert, .key   our certificate, for a registry that wants to see one

(dockerd's files; /etc/minirun/certs.d is read first.)
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl

import urllib3

from minirun.errors import EngineError

#: Where an administrator puts the certificates.
PLACES = ("/etc/minirun/certs.d", "/etc/docker/certs.d")
#: Who is insecure without being named: this machine.
LOOPBACK = ("127.0.0.0/8", "::1/128")


def is_insecure(host: str, insecure: list[str]) -> bool:
    """Whether a host may be spoken to in plain text: the loopback network, and what the config file names.

    Arguments: host (str), "name:port"; insecure (list of str), "name", "name:port" or "10.0.0.0/8", in which the
    addresses of a name are looked up, too. A name that nobody knows is not insecure.
    """
    name = host.rpartition(":")[0].strip("[]") if ":" in host.rpartition("]")[2] else host.strip("[]")
    if name == "localhost" or host in insecure or name in insecure:
        return True
    named = [word for word in insecure if "/" in word]
    networks = [ipaddress.ip_network(word, strict=False) for word in (*LOOPBACK, *named)]
    return any(address in network for address in _addresses(name, bool(named)) for network in networks)


def _addresses(name: str, may_ask: bool) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The addresses of a host. Arguments: may_ask (bool), name servers; else only what is an address counts."""
    try:
        return [ipaddress.ip_address(name)]
    except ValueError:
        if not may_ask:
            return []
    try:
        found = {place[0] for *_, place in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return []
    return [ipaddress.ip_address(str(address).partition("%")[0]) for address in found]


def context(host: str, insecure: bool) -> ssl.SSLContext:
    """How TLS is spoken with a host. Arguments: host (str), "name:port"; insecure (bool), believe anybody.

    Errors: EngineError in the words of dockerd when a certificate lacks its key, or is none.
    """
    if insecure:
        # It need not be said at each request: whoever wrote the config file knows it, or it is this machine.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the 20 ms of the system's authorities
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    else:
        made = ssl.create_default_context()
    for place in PLACES:
        directory = f"{place}/{host}"
        if os.path.isdir(directory):
            _read(made, directory)
            break
    return made


def _read(made: ssl.SSLContext, directory: str) -> None:
    """Take in the certificates of one registry."""
    names = sorted(os.listdir(directory))
    for name in names:
        stem, _, kind = name.rpartition(".")
        try:
            if kind == "crt":
                made.load_verify_locations(f"{directory}/{name}")
            elif kind == "cert":
                if f"{stem}.key" not in names:
                    raise EngineError(
                        f"missing key {stem}.key for client certificate {name}. Note that CA "
                        "certificates should use the extension .crt"
                    )
                made.load_cert_chain(f"{directory}/{name}", f"{directory}/{stem}.key")
            elif kind == "key" and f"{stem}.cert" not in names:
                raise EngineError(f"Missing client certificate {stem}.cert for key {name}")
        except OSError as reason:  # which an SSLError is, too
            raise EngineError(f"{directory}/{name}: {reason.strerror or reason}") from None
