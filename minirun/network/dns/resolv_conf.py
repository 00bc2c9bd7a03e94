"""The three files of names in a container: /etc/hosts, /etc/hostname, /etc/resolv.conf (hosts(5), resolv.conf(5)).

The image does not bring them: Docker writes them anew at each start, on the host, and mounts them over the image's.
All here are pure functions from text to text, but for `read`.
"""

from __future__ import annotations

import errno

from minirun.errors import KernelError
from minirun.kernel import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

#: Where the name service of the networks of the user's own answers, in each container by itself.
EMBEDDED_SERVER = "127.0.0.11"
#: Used when the host names no server that a container could reach.
PUBLIC_SERVERS = ("8.8.8.8", "8.8.4.4")
PUBLIC_SERVERS_6 = ("2001:4860:4860::8888", "2001:4860:4860::8844")
#: Where systemd-resolved keeps the servers that it asks itself.
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


def for_default_bridge(host: str, wishes: ResolverOptions, *, ipv6: bool = False) -> str:
    """/etc/resolv.conf on the default bridge.

    Without wishes it is the host's file, comments and all, but for servers that a container cannot reach: those on
    the loopback, and those with an IPv6 address unless `ipv6`. When none is left, public ones take their place. With
    a wish the file is written anew, and what was not wished for is taken from the host's.
    """
    if not wishes:
        return _without_unreachable(host, ipv6)
    return _written(
        wishes.servers or nameservers(host),
        wishes.search or _words_after(host, "search"),
        wishes.options or _words_after(host, "options"),
    )


def for_user_network(text: str) -> str:
    """/etc/resolv.conf where the name service answers at 127.0.0.11, made of what it was before.

    The name service asks the servers that stood here (those with an IPv4 address: others stay, for want of a way to
    ask them). A name without a dot is asked for as it is first, ndots:0, unless somebody wanted ndots to be otherwise.
    """
    options = _words_after(text, "options")
    if not any(option.startswith("ndots") for option in options):
        options = [*options, "ndots:0"]
    return _written(
        [EMBEDDED_SERVER, *(server for server in nameservers(text) if ":" in server)],
        _words_after(text, "search"),
        options,
    )


def for_host_network(host: str, wishes: ResolverOptions) -> str:
    """/etc/resolv.conf with --network host: the host's, unless there are wishes."""
    return for_default_bridge(host, wishes) if wishes else host


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
    """The words on the last line that begins with `keyword`; earlier ones do not count."""
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
    """Take out the nameserver lines that make no sense in a container, with the empty lines that follow them."""
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


# ---- what the name service takes from it -----------------------------------------------------------------------


def forwarders(host: str, wishes: ResolverOptions) -> list[tuple[str, bool]]:
    """The servers that the name service of a user-defined network asks: (address, whether from the host's namespace).

    Those on the host's loopback can be asked, unlike on the default bridge; a loopback address that was wished for is
    the container's own. Servers with an IPv6 address are not asked, as in Docker.
    """
    servers = [] if wishes else [server for server in nameservers(host) if ":" not in server]
    if servers:
        return [(server, server.startswith("127.")) for server in servers]
    return [(server, False) for server in nameservers(for_default_bridge(host, wishes)) if ":" not in server]


def has_ndots(text: str) -> bool:
    """Whether a resolv.conf says how many dots a name must have to be asked for as it is first."""
    return any(option.startswith("ndots") for option in _words_after(text, "options"))
