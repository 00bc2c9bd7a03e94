"""Snapshot of one network namespace: links, addresses, routes, neighbours as `ip -d` has them; sysctls.

pyroute2 sends the requests and decodes the answers (rtnetlink(7)); here they become the words of iproute2. Numbers that
are only identifiers are resolved: an interface index becomes the interface's name. Counters, timers and ages are left
out, because they tell when the snapshot was taken and not how the namespace is configured.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pyroute2 import IPRoute, NetlinkError

from minirun.errors import KernelError
from minirun.kernel import procfs

#: Name of an object → its properties.
Items = dict[str, dict[str, str]]

FLAGS = (
    "UP",
    "BROADCAST",
    "DEBUG",
    "LOOPBACK",
    "POINTOPOINT",
    "NOTRAILERS",
    "RUNNING",
    "NOARP",
    "PROMISC",
    "ALLMULTI",
    "MASTER",
    "SLAVE",
    "MULTICAST",
    "PORTSEL",
    "AUTOMEDIA",
    "DYNAMIC",
    "LOWER_UP",
    "DORMANT",
    "ECHO",
)
ADDRESS_FLAGS = (
    "secondary",
    "nodad",
    "optimistic",
    "dadfailed",
    "home",
    "deprecated",
    "tentative",
    "permanent",
    "mngtmpaddr",
    "noprefixroute",
    "autojoin",
    "stable-privacy",
)
ROUTE_FLAGS = ("dead", "pervasive", "onlink", "offload", "linkdown", "unresolved", "trap")
SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
TABLES = {253: "default", 254: "main", 255: "local"}
TYPES = (
    "unspec",
    "unicast",
    "local",
    "broadcast",
    "anycast",
    "multicast",
    "blackhole",
    "unreachable",
    "prohibit",
    "throw",
    "nat",
)
PROTOCOLS = {0: "unspec", 1: "redirect", 2: "kernel", 3: "boot", 4: "static", 9: "ra", 16: "dhcp"}
PREFERENCES = {0: "medium", 1: "high", 3: "low"}
FAMILIES = {2: "inet", 10: "inet6"}
MODES = ("eui64", "none", "stable_secret", "random")
FOREVER = 0xFFFFFFFF
TENTATIVE, NOARP = 0x40, 0x40

#: What `ip -d link` prints for every link: its word → the attribute of the message.
LINK = {
    "mtu": "MTU",
    "qdisc": "QDISC",
    "state": "OPERSTATE",
    "mode": "LINKMODE",
    "group": "GROUP",
    "qlen": "TXQLEN",
    "link": "ADDRESS",
    "brd": "BROADCAST",
    "promiscuity": "PROMISCUITY",
    "allmulti": "ALLMULTI",
    "minmtu": "MIN_MTU",
    "maxmtu": "MAX_MTU",
    "numtxqueues": "NUM_TX_QUEUES",
    "numrxqueues": "NUM_RX_QUEUES",
    "gso_max_size": "GSO_MAX_SIZE",
    "gso_max_segs": "GSO_MAX_SEGS",
    "gro_max_size": "GRO_MAX_SIZE",
    "tso_max_size": "TSO_MAX_SIZE",
    "tso_max_segs": "TSO_MAX_SEGS",
    "carrier": "CARRIER",
    "protodown": "PROTO_DOWN",
    "alias": "IFALIAS",
    "link-netnsid": "LINK_NETNSID",
}
#: Attributes of bridges and bridge ports that are timers, counters or port numbers in order of attachment: left out.
VOLATILE = (
    "TIMER",
    "_N_LEARNED",
    "N_GROUPS",
    "QUERIER_STATE",
    "EHT_HOSTS_CNT",
    "ROOT_PORT",
    "BRPORT_ID",
    "BRPORT_NO",
    "DESIGNATED_PORT",
    "TOPOLOGY_CHANGE",
    "CONFIG_PENDING",
)


SYSCTLS = "/proc/sys/net"
#: Sysctls that are counters or random values.
VOLATILE_SYSCTLS = frozenset(("nf_conntrack_count", "nf_conntrack_buckets", "stable_secret", "tcp_fastopen_key"))


class Netspace:
    """What one network namespace holds: `.links` (name → pyroute2's message), and the words for it."""

    def __init__(self) -> None:
        """Read the namespace that this process is in now. Errors: KernelError."""
        with _rtnetlink() as ip:
            messages = list(ip.get_links())
            self._addresses = list(ip.get_addr())
            self._routes = [*ip.get_routes(family=2), *ip.get_routes(family=10)]
            self._neighbours = [*ip.get_neighbours(family=2), *ip.get_neighbours(family=10)]
        self.links: dict[str, Any] = {link.get_attr("IFLA_IFNAME"): link for link in messages}
        self.names: dict[int, str] = {link["index"]: name for name, link in self.links.items()}

    def number_of(self, pid: int) -> int | None:
        """The number by which this namespace knows that of a process (`ip netns list-id`); None when it does not."""
        with _rtnetlink() as ip:
            answer = ip.get_netnsid(pid=pid)
        return answer["nsid"] if answer["nsid"] >= 0 else None

    def settled(self) -> bool:
        """Whether no IPv6 address is still tentative (duplicate address detection, RFC 4862)."""
        return not any((address.get_attr("IFA_FLAGS") or 0) & TENTATIVE for address in self._addresses)

    def described_links(self, only: Iterable[str] | None = None) -> Items:
        """`ip -d link`: of all links, or of those in `only`."""
        return {name: self._link(link) for name, link in self.links.items() if only is None or name in only}

    def _link(self, link: Any) -> dict[str, str]:
        found = {
            word: str(link.get_attr(f"IFLA_{name}"))
            for word, name in LINK.items()
            if link.get_attr(f"IFLA_{name}") is not None
        }
        found["flags"] = _flags(link["flags"], FLAGS)
        found["mode"] = "dormant" if found.get("mode") == "1" else "default"
        inet6 = (link.get_nested("IFLA_AF_SPEC", "AF_INET6")) or None
        generation = inet6.get_attr("IFLA_INET6_ADDR_GEN_MODE") if inet6 else None
        if generation is not None:
            found["addrgenmode"] = MODES[generation]
        if link.get_attr("IFLA_MASTER"):
            found["master"] = self.names.get(link.get_attr("IFLA_MASTER"), "?")
        information = link.get_attr("IFLA_LINKINFO")
        if information:
            kind = information.get_attr("IFLA_INFO_KIND")
            found["kind"] = kind or "-"
            found.update(_attributes(information.get_attr("IFLA_INFO_DATA"), kind or ""))
        return found

    def ports(self, only: Iterable[str] | None = None) -> Items:
        """`ip -d link` and `bridge -d link` about the ports of bridges."""
        found = {}
        for name, link in self.links.items():
            information = link.get_attr("IFLA_LINKINFO")
            slave = information.get_attr("IFLA_INFO_SLAVE_DATA") if information else None
            if slave is not None and (only is None or name in only):
                found[name] = {"master": self.names.get(link.get_attr("IFLA_MASTER"), "?"), **_attributes(slave, "")}
        return found

    def addresses(self, only: Iterable[str] | None = None) -> Items:
        """`ip addr`: "eth0 inet 172.17.0.2/16" → scope, broadcast, flags, lifetimes."""
        found = {}
        for address in self._addresses:
            name = self.names.get(address["index"], "?")
            local = address.get_attr("IFA_LOCAL") or address.get_attr("IFA_ADDRESS")
            lives = address.get_attr("IFA_CACHEINFO") or {}
            flags = address.get_attr("IFA_FLAGS")
            words = {
                "scope": SCOPES.get(address["scope"], str(address["scope"])),
                "brd": address.get_attr("IFA_BROADCAST"),
                "label": address.get_attr("IFA_LABEL"),
                "flags": _flags((address["flags"] if flags is None else flags) & ~TENTATIVE, ADDRESS_FLAGS),
                "valid_lft": "forever" if lives.get("ifa_valid") == FOREVER else "limited",
                "preferred_lft": "forever" if lives.get("ifa_preferred") == FOREVER else "limited",
            }
            if address.get_attr("IFA_ADDRESS") != local:
                words["peer"] = address.get_attr("IFA_ADDRESS")
            if only is None or name in only:
                found[f"{name} {FAMILIES.get(address['family'], '?')} {local}/{address['prefixlen']}"] = _present(words)
        return found

    def routes(self, only: Iterable[str] | None = None) -> Items:
        """`ip route show table all`: "main eth0 default" → type, gateway, source, protocol, scope, metric."""
        found: Items = {}
        for route in self._routes:
            device = self.names.get(route.get_attr("RTA_OIF") or 0, "-")
            if only is not None and device not in only:
                continue
            name = f"{_table(route)} {device} {_destination(route)}"
            if name in found:
                name = f"{name} metric {route.get_attr('RTA_PRIORITY') or 0}"
            found[name] = _route(route)
        return found

    def neighbours(self, only: Iterable[str] | None = None) -> Items:
        """`ip neigh`: "eth0 172.17.0.1" → MAC, how it came to be known. What needs no ARP is not worth a line."""
        found = {}
        for neighbour in self._neighbours:
            name = self.names.get(neighbour["ifindex"], "?")
            state = neighbour["state"]
            if state & NOARP or not state or only is not None and name not in only:
                continue
            how = "permanent" if state & 0x80 else "failed" if state & 0x21 else "learned"
            found[f"{name} {neighbour.get_attr('NDA_DST')}"] = _present(
                {"lladdr": neighbour.get_attr("NDA_LLADDR"), "state": how}
            )
        return found


@contextmanager
def _rtnetlink() -> Iterator[Any]:
    """pyroute2's socket; the kernel's errors leave it as ours."""
    try:
        with IPRoute() as ip:
            yield ip
    except NetlinkError as error:
        raise KernelError("rtnetlink", error.code) from None


def _route(route: Any) -> dict[str, str]:
    words = {
        "type": TYPES[route["type"]],
        "via": route.get_attr("RTA_GATEWAY"),
        "src": route.get_attr("RTA_PREFSRC"),
        "proto": PROTOCOLS.get(route["proto"], str(route["proto"])),
        "scope": SCOPES.get(route["scope"], str(route["scope"])),
        "metric": route.get_attr("RTA_PRIORITY"),
        "flags": _flags(route["flags"] & 0x7F, ROUTE_FLAGS),
        "tos": route["tos"] or None,
    }
    if route["family"] == 10:
        words["pref"] = PREFERENCES.get(route.get_attr("RTA_PREF"))
    for hop in route.get_attr("RTA_MULTIPATH") or ():
        words["nexthop"] = f"{words.get('nexthop', '')} {hop.get_attr('RTA_GATEWAY')}".strip()
    words.update(_attributes(route.get_attr("RTA_METRICS"), "RTAX"))
    return _present(words)


def _table(route: Any) -> str:
    number = route.get_attr("RTA_TABLE") or route["table"]
    return TABLES.get(number, str(number))


def _destination(route: Any) -> str:
    destination, length = route.get_attr("RTA_DST"), route["dst_len"]
    if destination is None:
        return "default" if route["family"] == 2 else "default6"
    return destination if length == (32 if route["family"] == 2 else 128) else f"{destination}/{length}"


def _attributes(nested: Any, kind: str) -> dict[str, str]:
    """All attributes of a nested message, by the kernel's own names in lower case."""
    found = {}
    for name, value in (nested or {}).get("attrs", ()):
        if name == "UNKNOWN" or any(word in name for word in VOLATILE):
            continue
        word = name.removeprefix("IFLA_").lower().removeprefix("br_").removeprefix("brport_").removeprefix("rtax_")
        if isinstance(value, dict) and "addr" in value:
            # A bridge's ID: its priority (two bytes, the higher first, which pyroute2 has turned) and its MAC.
            value = f"{value['prio'] & 255:02x}{value['prio'] >> 8:02x} {value['addr']}"
        if not isinstance(value, (dict, list, bytes)):
            found[f"{kind} {word}" if kind not in ("", "RTAX") else word] = str(value)
    return found


def _flags(bits: int, names: tuple[str, ...]) -> str:
    return " ".join(name for place, name in enumerate(names) if bits >> place & 1) or "-"


def _present(words: dict[str, Any]) -> dict[str, str]:
    return {word: str(value) for word, value in words.items() if value is not None}


def sysctls(only: Iterable[str] | None = None) -> Items:
    """`sysctl net`: every file below /proc/sys/net (sysctl(8), ip-sysctl.rst), by its name with dots.

    /proc/sys/net shows the network namespace of the process that reads it, so the caller must have entered the one in
    question. A new namespace starts with the kernel's defaults and not with the host's values.
    Arguments: only, interfaces whose per-interface settings are included, beside those for all; None: all interfaces.
    """
    found = {}
    for path in _sysctl_files(SYSCTLS):
        parts = path[len("/proc/sys/") :].split("/")
        # net/ipv4/conf/eth0/forwarding: one directory for each link
        of_link = parts[3] if len(parts) == 5 and parts[2] in ("conf", "neigh") else ""
        if only is not None and of_link not in ("", "all", *only):
            continue
        try:
            value = procfs.read(path)
        except KernelError:  # can only be written, or has no value yet
            continue
        # A dot in a link's name would look like the end of a word; sysctl(8) writes it as a slash.
        found[".".join(part.replace(".", "/") for part in parts)] = {"=": " ".join(value.split())}
    return found


def _sysctl_files(directory: str) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                yield from _sysctl_files(entry.path)
            elif entry.name not in VOLATILE_SYSCTLS:
                yield entry.path
