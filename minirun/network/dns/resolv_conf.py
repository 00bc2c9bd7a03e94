"""/etc/resolv.conf of a container (resolv.conf(5); libnetwork's resolvconf).

The image does not bring it: Docker writes it anew at each start, on the host, and mounts it over the image's. All here
are pure functions from text to text, except `read` and `read_host`.
"""

from __future__ import annotations

import errno

from minirun.errors import KernelError
from minirun.kernel import procfs
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The address of the embedded DNS server, on the loopback of each container on a user-defined network.
EMBEDDED_SERVER = "127.0.0.11"
#: Used when the host's file names no server that a container could reach.
PUBLIC_SERVERS = ("8.8.8.8", "8.8.4.4")
PUBLIC_SERVERS_6 = ("2001:4860:4860::8888", "2001:4860:4860::8844")
#: The file with the servers that systemd-resolved itself forwards to.
RESOLVED = "/run/systemd/resolve/resolv.conf"


def read(path: str) -> str:
    """The text of a file; "" when it is not there."""
    try:
        return procfs.read(path)  # not open(), whose first call takes a millisecond
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        return ""


def read_host(path: str = "/etc/resolv.conf", resolved: str = RESOLVED) -> str:
    """The host's resolv.conf, or systemd-resolved's own when the host's only names 127.0.0.53, its stub.

    The stub listens on the host's loopback, which a container does not have.
    """
    text = read(path)
    if nameservers(text) == ["127.0.0.53"]:
        return read(resolved) or text
    return text


class ResolverOptions:
    """What --dns, --dns-search and --dns-option say: `.servers`, `.search`, `.options`, each a list of str."""

    __slots__ = ("options", "search", "servers")

    def __init__(self, servers: Sequence[str] = (), search: Sequence[str] = (), options: Sequence[str] = ()) -> None:
        self.servers, self.search, self.options = list(servers), list(search), list(options)

    def __bool__(self) -> bool:
        return bool(self.servers or self.search or self.options)


def for_default_bridge(host: str, given: ResolverOptions, *, ipv6: bool = False) -> str:
    """/etc/resolv.conf on the default bridge.

    Without given options it is the host's file with its comments, without the servers that a container cannot reach:
    those on the loopback, and those with an IPv6 address unless `ipv6`. When none is left, public ones take their
    place. With an option the file is written anew, and what was not given is taken from the host's.
    """
    if not given:
        return _without_unreachable(host, ipv6)
    return _written(
        given.servers or nameservers(host),
        given.search or _words_after(host, "search"),
        given.options or _words_after(host, "options"),
    )


def for_user_network(text: str) -> str:
    """/etc/resolv.conf with the embedded DNS server, made from what it was before.

    The embedded server forwards to the name servers that were in it (those with an IPv4 address; it cannot reach the
    others, which stay). With ndots:0 a name without a dot is first looked up as it is, unless an option says otherwise.
    """
    options = _words_after(text, "options")
    if not any(option.startswith("ndots") for option in options):
        options = [*options, "ndots:0"]
    return _written(
        [EMBEDDED_SERVER, *(server for server in nameservers(text) if ":" in server)],
        _words_after(text, "search"),
        options,
    )


def for_host_network(host: str, given: ResolverOptions) -> str:
    """/etc/resolv.conf with --network host: the host's, unless options are given."""
    return for_default_bridge(host, given) if given else host


def nameservers(text: str) -> list[str]:
    """The addresses on the nameserver lines of a resolv.conf."""
    found = []
    for line in _without_comments(text):
        words = line.split()
        if len(words) == 2 and words[0] == "nameserver" and (words[1].count(".") == 3 or ":" in words[1]):
            found.append(words[1])
    return found


def _without_comments(text: str) -> list[str]:
    return [line.partition("#")[0] for line in text.splitlines()]


def _words_after(text: str, keyword: str) -> list[str]:
    """The words on the last line that begins with `keyword`; earlier lines are ignored (resolv.conf(5))."""
    found: list[str] = []
    for line in _without_comments(text):
        words = line.split()
        if words[:1] == [keyword]:
            found = words[1:]
    return found


def _written(servers: Sequence[str], search: Sequence[str], options: Sequence[str]) -> str:
    lines = []
    if search and " ".join(search).strip() != ".":  # --dns-search . means: none
        lines.append(f"search {' '.join(search)}\n")
    lines += [f"nameserver {server}\n" for server in servers]
    if " ".join(options).strip():
        lines.append(f"options {' '.join(options)}\n")
    return "".join(lines)


def _without_unreachable(text: str, ipv6: bool) -> str:
    """Remove the nameserver lines that a container cannot use, with the empty lines that follow them."""
    kept: list[str] = []
    dropped = False
    for line in text.splitlines(keepends=True):
        if line.startswith("nameserver") and not _reachable(line.split(), ipv6):
            dropped = True
        elif not (dropped and not line.strip()):
            kept.append(line)
            dropped = False
    rest = "".join(kept)
    if nameservers(rest):
        return rest
    servers = PUBLIC_SERVERS + (PUBLIC_SERVERS_6 if ipv6 else ())
    return rest + "\n" + "\n".join(f"nameserver {server}" for server in servers) + "\n"


def _reachable(words: list[str], ipv6: bool) -> bool:
    server = words[1] if len(words) > 1 else ""
    return not server.startswith("127.") and server != "::1" and (ipv6 or ":" not in server)


# ---- what the embedded DNS server takes from it --------------------------------------------------------------


def forwarders(host: str, given: ResolverOptions) -> list[tuple[str, bool]]:
    """The servers to which the embedded DNS server forwards: (address, whether from the host's network namespace).

    Servers on the host's loopback can be used, unlike on the default bridge; a loopback address in a given option is
    the container's own. Servers with an IPv6 address are not used, as in Docker.
    """
    servers = [] if given else [server for server in nameservers(host) if ":" not in server]
    if servers:
        return [(server, server.startswith("127.")) for server in servers]
    return [(server, False) for server in nameservers(for_default_bridge(host, given)) if ":" not in server]


def has_ndots(text: str) -> bool:
    """Whether a resolv.conf has the option ndots: how many dots a name needs to be looked up as it is first."""
    return any(option.startswith("ndots") for option in _words_after(text, "options"))
