"""What two engines print, made comparable: only what *must* differ is renamed, and each renaming can be undone.

Random names are renamed as a logician renames bound variables: the first id in a transcript becomes <id 1>, the next
<id 2>, wherever they stand, on both sides. So two transcripts become equal when there is a one-to-one relation between
their random names, and only then: an id that stands in two places must do so on both sides, and two that differ stay
different. What may be renamed has to have the form that Docker gives it, and to come from where Docker makes it up:

    ids           64 hexadecimal digits, and the first 12 of one of them (short ids, br-...)
    veth...       the host's end of a cable: veth and 7 hexadecimal digits
    MACs          of the host's veth ends, which the kernel makes up; of bridges, when they begin with 02:42; the
                  link-local addresses and bridge ids made of them. A container's MAC follows from its address: it stays
    ports         those of 127.0.0.11, the name service inside a container; a client's own, when the kernel chose it
    docker0 ...   the names that tell the two engines apart, as whole words
    numbers       by which the kernel calls a namespace or a bridge's port: the lowest that is free, and that depends on
                  when it has taken down what is gone
    times         RFC 3339 in what commands print, timers of the kernel, states of a neighbour that only age
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Iterator

from harness.twin.network_state import Section

#: Timers, which run while one looks.
TIMERS = frozenset(
    (
        "hello_timer",
        "tcn_timer",
        "topology_change_timer",
        "gc_timer",
        "message_age_timer",
        "forward_delay_timer",
        "hold_timer",
    )
)
#: Numbers that the kernel gives away: the end of a path in the JSON of iproute2.
NUMBERS = ("link_netnsid", "info_slave_data id", "info_slave_data no", "info_slave_data designated_port")
#: Docker's word, ours: as whole words only. com.docker.network... and host.docker.internal are the same for both.
WORDS = tuple(
    (re.compile(pattern, re.MULTILINE), ours)
    for pattern, ours in (
        (r"(?<![\w-])docker0(?![\w-])", "minirun0"),
        (r"(?<![\w-])DOCKER(?=-USER\b|-ISOLATION-STAGE-[12]\b|_OUTPUT\b|_POSTROUTING\b)", "MINIRUN"),
        (r"(?<![\w-])DOCKER(?![\w-])", "MINIRUN"),
        (r"^docker: ", "minirun: "),
        (r"(?:(?<=See ')|(?<=Run ')|(?<=^\")|(?<=^Usage:  ))docker(?= )", "minirun"),
    )
)


class Names:
    """The renaming of one transcript: `.rename(text)`.

    Arguments: sections, the whole transcript, in order; words, what else is written differently: (pattern, text).
    """

    def __init__(self, sections: list[Section], words: Iterable[tuple[re.Pattern, str]] = ()) -> None:
        self.words = tuple(words)
        self.tokens: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        self.ports: dict[str, dict[str, str]] = {}  # of the name service, in each container
        for section in sections:
            for found in re.findall(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", section.text):
                self.ids.setdefault(found[:12], f"id {len(self.ids) + 1}")
            if section.title.endswith(", host: ip -d -j link"):
                self._links(json.loads(section.text or "[]"))
            for port in re.findall(r"--to-destination 127\.0\.0\.11:(\d+)", section.text):
                ports = self.ports.setdefault(place(section.title), {})
                ports.setdefault(port, f"<dns port {len(ports) + 1}>")
        known = sorted(map(re.escape, self.tokens), key=len, reverse=True)
        self.known = re.compile(r"(?<![0-9a-z:])(?:" + "|".join(known) + r")(?![0-9a-f:])") if known else None

    def _links(self, links: list[dict]) -> None:
        """Find the random names and MACs among the links of a host."""
        for link in links:
            kind, name, mac = link.get("linkinfo", {}).get("info_kind"), link["ifname"], link.get("address", "")
            cable = kind == "veth" and re.fullmatch(r"veth[0-9a-f]{7}", name)
            if cable and name not in self.tokens:
                self.tokens[name] = f"<{kind} {self.count(kind)}>"
            if (cable or (kind == "bridge" and mac.startswith("02:42:"))) and mac not in self.tokens:
                number = self.count("MAC")
                self.tokens |= {text: f"<{form} {number}>" for form, text in forms_of(mac).items()}

    def count(self, kind: str) -> int:
        """The next number for a name of this kind."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return self.counts[kind]

    def rename(self, text: str) -> str:
        """The text, with random names renamed."""
        text = re.sub(r"(?<![0-9a-f])([0-9a-f]{64}|[0-9a-f]{12})(?![0-9a-f])", self._id, text)
        if self.known:
            text = self.known.sub(lambda found: self.tokens[found[0]], text)
        for pattern, ours in self.words:
            text = pattern.sub(ours, text)
        return text

    def rename_ports(self, title: str, text: str) -> str:
        """The text, with the ports of the name service renamed: in the rules, sockets and connections of its place."""
        ports = self.ports.get(place(title), {})
        return re.sub(r"(?<=127\.0\.0\.11:)\d+|(?<=sport[ =])\d+", lambda found: ports.get(found[0], found[0]), text)

    def _id(self, found: re.Match) -> str:
        number = self.ids.get(found[0][:12])
        if number is None:
            return found[0]
        return f"<{number}>" if len(found[0]) == 64 else f"<{number}, short>"


def place(title: str) -> str:
    """Where a section comes from: "host", the name of a container, or the step that said it."""
    return title.partition(", ")[2].partition(":")[0] if title.startswith("look ") else title


def forms_of(mac: str) -> dict[str, str]:
    """A MAC in the forms in which tools show it: itself, and what follows from it: a bridge's id, the link-local
    address, and the MAC of the multicast group in which one asks for that address."""
    octets = bytes.fromhex(mac.replace(":", ""))
    eui64 = bytes((octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]))
    return {
        "MAC": mac,
        "solicited MAC": "33:33:ff:" + mac[9:],
        "bridge id": "8000." + ":".join(f"{octet:x}" for octet in octets),
        "link-local": str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + eui64)),
    }


def canonical(
    sections: list[Section], words: Iterable[tuple[re.Pattern, str]] = (), start: int = 0
) -> list[tuple[str, list[str]]]:
    """A transcript as (title, comparable lines).

    Arguments: sections, the raw transcript; words, the spelling of one engine: (pattern, text) pairs; start (int), the
    first section that is wanted. Names are those of the whole transcript in any case.
    """
    names = Names(sections, words)
    return [(section.title, lines_of(section, names)) for section in sections[start:]]


def lines_of(section: Section, names: Names) -> list[str]:
    """One section of a transcript as comparable lines."""
    text = section.text
    if section.form == "json":
        text = "\n".join(_flat(json.loads(text or "[]")))
    text = names.rename_ports(section.title, names.rename(text))
    lines = [_ageless(section.title, line) for line in text.split("\n")]
    return sorted(lines) if section.form == "set" else lines


def _flat(links: list[dict]) -> Iterator[str]:
    """The JSON of iproute2, one line for each value, in its order."""
    for link in links:
        yield from _flat_value(str(link.get("ifname", "")), link)


def _flat_value(path: str, value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, below in value.items():
            if key not in TIMERS:
                yield from _flat_value(f"{path} {key}", below)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for number, item in enumerate(value):
            yield from _flat_value(f"{path}[{number}]", item)
    else:
        yield f"{path} = " + ("<number>" if path.endswith(NUMBERS) else json.dumps(value))


def _ageless(title: str, line: str) -> str:
    """A line without what only the passing of time changes."""
    if title.endswith(": ip neigh"):
        return re.sub(r" (REACHABLE|STALE|DELAY|PROBE) ?$", " <known>", line)
    if ": conntrack -L" in title:
        line = re.sub(r"\bid=\d+", "id=<echo>", re.sub(r"^(\w+ +\d+) \d+ ", r"\1 <seconds> ", line))
        chosen = re.search(r" sport=(\d+) ", line)  # by the kernel, out of net.ipv4.ip_local_port_range
        return re.sub(rf"port={chosen[1]}\b", "port=<chosen>", line) if chosen and int(chosen[1]) >= 32768 else line
    if title.endswith(": sysctl -a -r ^net[.]"):
        return re.sub(r"^(net\.netfilter\.nf_conntrack_count = ).*", r"\1<n>", line)
    if " $ " in title:
        return re.sub(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d)", "<time>", line)
    return line
