"""/etc/hosts and /etc/hostname of a container (render(5), hostname(5)).

The image does not bring them: Docker writes them anew at each start, on the host, and mounts them over the image's.
All here are pure functions from text to text.
"""

from __future__ import annotations

from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STANDARD_HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


def hostname(name: str) -> str:
    """/etc/hostname."""
    return f"{name}\n"


def render(
    own: Iterable[tuple[str, str]],
    extra: Sequence[str] = (),
    *,
    domain: str = "",
    gateway: str = "",
    links: Iterable[tuple[str, str]] = (),
) -> str:
    """/etc/hosts, in Docker's order: the standard lines, --add-host, --link, then the container itself on each network.

    Arguments: own, (address, host name) for each network; extra, "NAME:ADDRESS" as given to --add-host, where the
    address host-gateway stands for `gateway`; domain (str), --domainname; links, (address, names) of each.
    """
    lines = [STANDARD_HOSTS]
    for word in extra:
        name, _, address = word.partition(":")
        lines.append(f"{gateway if address == 'host-gateway' else address}\t{name}\n")
    lines += [f"{address}\t{names}\n" for address, names in links]
    lines += [own_entry(address, name, domain) for address, name in own]
    return "".join(lines)


def own_entry(address: str, name: str, domain: str = "") -> str:
    """The line of /etc/hosts for the container itself: its fully qualified name, and the first label of that."""
    full = f"{name}.{domain}" if domain else name
    short = full.partition(".")[0]
    return f"{address}\t{full}\n" if short == full else f"{address}\t{full} {short}\n"


def without_names(text: str, names: Iterable[str]) -> str:
    """/etc/hosts without the lines that have only one of these names, whatever the address."""
    ends = tuple(f"\t{name}" for name in names)
    return "".join(
        line for line in text.splitlines(keepends=True) if line.startswith("#") or not line.rstrip("\n").endswith(ends)
    )


def with_new_address(text: str, address: str, name: str) -> str:
    """/etc/hosts with a new address in the line that begins with this name: a linked container has been restarted."""
    lines = text.splitlines(keepends=True)
    for place, line in enumerate(lines):
        names = line.partition("\t")[2].split()
        if names[:1] == [name]:
            lines[place] = f"{address}\t{line.partition(chr(9))[2]}"
    return "".join(lines)


def for_host_network(text: str, extra: Sequence[str] = (), *, gateway: str = "") -> str:
    """/etc/hosts with --network host: the host's own `text`, or with --add-host the standard lines and those."""
    return render((), extra, gateway=gateway) if extra else text
