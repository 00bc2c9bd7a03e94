"""A snapshot of a target: what the kernel says about it, as plain data. Only this and its parts look at the machine.

    about     what tells names that must differ from differences: id, host name, veth pairs, subnets
    topics    topic → name of an object → its properties (dict), its lines in order (list), its members (frozenset)

A container's network has two halves. What is in its network namespace goes by its name there ("eth0"); what is on the
host is found through the veth pair (the container's cable): the host's end of eth0, the bridge of which that is a port,
and the rules, routes and sysctls of these two ("host docker0").
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from minirun.errors import KernelError, MinirunError
from minirun.kernel import process, wait
from minirun.kernel.namespaces import Namespace, inside
from minirun.kernel.syscalls import CLONE_NEWNET, CLONE_NEWUTS
from minirun.lecture.compare import relevant_rules, snapshot_process
from minirun.lecture.compare.snapshot_netns import Netspace, sysctls

if TYPE_CHECKING:
    from minirun.lecture.compare.snapshot_process import Facts as Things
    from minirun.lecture.compare.target import Target

Snapshot = dict[str, Any]

NETWORK_TOPICS = ("links", "addresses", "routes", "neighbours", "ports", "rules", "sysctls")
PROCESS_TOPICS: dict[str, Callable[[int], Things]] = {
    "files": snapshot_process.files,
    "namespaces": snapshot_process.namespaces,
    "mounts": snapshot_process.mounts,
    "rights": snapshot_process.rights,
    "limits": snapshot_process.limits,
}
#: All topics, in the order in which they are printed: from the network up to the process.
TOPICS = (*NETWORK_TOPICS, *PROCESS_TOPICS)
PATIENCE = 3  # seconds: duplicate address detection of IPv6 takes two


def take(target: Target, topics: Iterable[str] = TOPICS) -> Snapshot:
    """Take a snapshot of a target. Errors: MinirunError, also when the process exits in the meantime."""
    try:
        found = _take(target, set(topics))
    except (KernelError, OSError) as error:
        if target.is_alive():
            raise MinirunError(f"{target.word}: {error}", hint=getattr(error, "hint", "")) from None
        found = None
    if found is None or not target.is_alive():
        raise MinirunError(f"{target.word}: ended while it was looked at")
    return found


def _take(target: Target, topics: set[str]) -> Snapshot:
    pid = target.pid
    seen: dict[str, Things] = {topic: {} for topic in TOPICS if topic in topics}
    with Namespace(f"/proc/{pid}/ns/net") as namespace:
        own_is_host = namespace.is_ours()
        with inside(namespace, CLONE_NEWNET):
            own = settled_netspace()
            _take_network(seen, own, "", None, None)
    host = None if own_is_host else settled_netspace()
    cables = [] if host is None else [cable for name in own.links for cable in _cables(own, host, name, pid)]
    if host is not None and cables:
        links = [link for cable in cables for link in (cable["cable"], cable["bridge"]) if link]
        _take_network(seen, host, "host ", links, cables)
        for cable in cables if "links" in seen else ():
            _properties(seen["links"][cable["interface"]])["host end's number"] = cable["numbering"]
    for topic, look in PROCESS_TOPICS.items():
        if topic in seen:
            seen[topic] = look(pid)
    return {
        "about": {
            "word": target.word,
            "engine": target.engine,
            "id": target.id,
            "pid": pid,
            "hostname": _host_name(pid),
            "cables": cables,
        },
        "topics": seen,
    }


def settled_netspace() -> Netspace:
    """The namespace that we are in, when its IPv6 addresses have come to rest."""
    netspace = Netspace()

    def rested() -> bool:
        nonlocal netspace
        netspace = Netspace()
        return netspace.settled()

    if not netspace.settled():
        wait.wait_until(rested, PATIENCE)
    return netspace


def _take_network(
    seen: dict[str, Things], netspace: Netspace, prefix: str, links: list[str] | None, cables: list[dict] | None
) -> None:
    """Add what one namespace says, about all its links or about some, under names with a prefix."""
    readers: dict[str, Callable[[], Any]] = {
        "links": lambda: netspace.described_links(links),
        "addresses": lambda: netspace.addresses(links),
        "routes": lambda: netspace.routes(links),
        "neighbours": lambda: netspace.neighbours(links),
        "ports": lambda: netspace.ports(links),
        "sysctls": lambda: sysctls(links),
        "rules": lambda: _rules(cables),
    }
    for topic, reader in readers.items():
        if topic in seen:
            seen[topic].update({f"{prefix}{name}": thing for name, thing in reader().items()})
    if cables is not None and "links" in seen:
        for cable in cables:  # how many containers there were before says nothing about this one
            _properties(seen["links"][f"host {cable['cable']}"]).pop("link-netnsid", None)


def _properties(thing: dict[str, str] | list[str] | frozenset[str]) -> dict[str, str]:
    assert isinstance(thing, dict)
    return thing


def _rules(cables: list[dict] | None) -> Things:
    """The firewall of this namespace, IPv4 and IPv6: all of it, or what concerns a container with these cables."""
    found: Things = {}
    for program, mark in (("iptables-save", ""), ("ip6tables-save", "ip6 ")):
        rules = relevant_rules.parse(process.run((program,)).out)
        if cables is not None:
            container = relevant_rules.Container(
                [link for cable in cables for link in (cable["cable"], cable["bridge"]) if link],
                [address for cable in cables for address in cable["addresses"]],
                [network for cable in cables for network in cable["networks"]],
            )
            rules = relevant_rules.concerning(rules, container)
        found.update(
            {f"{mark}{table} {chain}": lines for (table, chain), lines in relevant_rules.telling(rules).items()}
        )
    return found


def _cables(own: Netspace, host: Netspace, name: str, pid: int) -> list[dict[str, Any]]:
    """Follow a link of the container to the host: [] when there is no other end of it."""
    link = own.links[name]
    if link.get_attr("IFLA_LINK_NETNSID") is None:
        return []
    far_name = host.names.get(link.get_attr("IFLA_LINK") or 0, "")
    far = host.links.get(far_name)
    number = host.number_of(pid)  # another host's container may have a link with the same two numbers
    if (
        far is None
        or number is None
        or (far.get_attr("IFLA_LINK"), far.get_attr("IFLA_LINK_NETNSID")) != (link["index"], number)
    ):
        return []
    bridge = host.names.get(far.get_attr("IFLA_MASTER") or 0, "")
    return [
        {
            "interface": name,
            "mac": link.get_attr("IFLA_ADDRESS"),
            "random": _is_random(pid, name),
            "addresses": [words.split()[2] for words in own.addresses([name])],
            "cable": far_name,
            "cable mac": far.get_attr("IFLA_ADDRESS"),
            "bridge": bridge,
            "bridge mac": host.links[bridge].get_attr("IFLA_ADDRESS") if bridge else "",
            "bridge number": host.links[bridge]["index"] if bridge else 0,
            "host": os.stat("/proc/self/ns/net").st_ino,
            "networks": [words.split()[2] for words in host.addresses([bridge])] if bridge else [],
            "numbering": _numbering(link["index"], far["index"], host),
        }
    ]


def _numbering(near: int, far: int, host: Netspace) -> str:
    """Whether the number of the host's end follows the container's: Docker makes both on the host, in a row."""
    follows = far > near and all(number in host.names for number in range(near + 1, far))
    return "the next free one after its own" if follows else "not the next one after its own"


def _is_random(pid: int, link: str) -> bool:
    """Whether a link's MAC is random (NET_ADDR_RANDOM, 1 in sysfs) and has not been set since (3)."""
    try:
        fd = snapshot_process.open_inside(pid, f"/sys/class/net/{link}/addr_assign_type")
    except KernelError:
        return False
    try:
        return snapshot_process.contents(fd).strip() == b"1"
    finally:
        os.close(fd)


def _host_name(pid: int) -> str:
    """The host name in a process's UTS namespace: its /proc/sys/kernel/hostname shows that of the reader."""
    with Namespace(f"/proc/{pid}/ns/uts") as namespace, inside(namespace, CLONE_NEWUTS):
        return os.uname().nodename
