"""TLS for registries: insecure hosts, certificate authorities and client certificates.

    /etc/docker/certs.d/HOST:PORT/*.crt             certificate authorities of a registry, besides the system's
    /etc/docker/certs.d/HOST:PORT/NAME.cert, .key   client certificate for a registry that wants one

(dockerd's files; a directory in /etc/minirun/certs.d has precedence.)
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl

import urllib3

from minirun.errors import EngineError

#: The directories of the certificates.
CERTS_DIRECTORIES = ("/etc/minirun/certs.d", "/etc/docker/certs.d")
#: Insecure without being configured: this machine.
LOOPBACK = ("127.0.0.0/8", "::1/128")


def is_insecure(host: str, insecure: list[str]) -> bool:
    """Whether a registry is insecure, may be used with plain HTTP or an unverified certificate (dockerd's rules).

    Arguments: host (str), "name:port"; insecure (list of str), the config file's insecure-registries: "name",
    "name:port" or "10.0.0.0/8", for which names are resolved. The loopback network always is insecure; a name that
    cannot be resolved is not.
    """
    name = host.rpartition(":")[0].strip("[]") if ":" in host.rpartition("]")[2] else host.strip("[]")
    if name == "localhost" or host in insecure or name in insecure:
        return True
    named = [word for word in insecure if "/" in word]
    networks = [ipaddress.ip_network(word, strict=False) for word in (*LOOPBACK, *named)]
    return any(address in network for address in _addresses(name, bool(named)) for network in networks)


def _addresses(name: str, may_resolve: bool) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The addresses of a host. Arguments: may_resolve (bool), resolve a name; else it has none."""
    try:
        return [ipaddress.ip_address(name)]
    except ValueError:
        if not may_resolve:
            return []
    try:
        found = {sockaddr[0] for *_, sockaddr in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return []
    return [ipaddress.ip_address(str(address).partition("%")[0]) for address in found]


def context(host: str, insecure: bool) -> ssl.SSLContext:
    """The SSL context for a host. Arguments: host (str), "name:port"; insecure (bool), do not verify its certificate.

    Errors: EngineError with dockerd's message when a client certificate has no key, or a file is invalid.
    """
    if insecure:
        # No warning at each request: the host was configured as insecure, or is this machine.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        # create_default_context() would take 20 ms to load the system's authorities.
        ssl_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ssl_context.check_hostname = False
        ssl_context.verify_mode = ssl.CERT_NONE
    else:
        ssl_context = ssl.create_default_context()
    for sockaddr in CERTS_DIRECTORIES:
        directory = f"{sockaddr}/{host}"
        if os.path.isdir(directory):
            _load_certificates(ssl_context, directory)
            break
    return ssl_context


def _load_certificates(ssl_context: ssl.SSLContext, directory: str) -> None:
    """Load the certificates of one registry."""
    names = sorted(os.listdir(directory))
    for name in names:
        stem, _, kind = name.rpartition(".")
        try:
            if kind == "crt":
                ssl_context.load_verify_locations(f"{directory}/{name}")
            elif kind == "cert":
                if f"{stem}.key" not in names:
                    raise EngineError(
                        f"missing key {stem}.key for client certificate {name}. Note that CA "
                        "certificates should use the extension .crt"
                    )
                ssl_context.load_cert_chain(f"{directory}/{name}", f"{directory}/{stem}.key")
            elif kind == "key" and f"{stem}.cert" not in names:
                raise EngineError(f"Missing client certificate {stem}.cert for key {name}")
        except OSError as reason:  # SSLError is a subclass
            raise EngineError(f"{directory}/{name}: {reason.strerror or reason}") from None
