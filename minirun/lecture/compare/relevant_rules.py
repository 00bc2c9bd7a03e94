"""The firewall rules of a host that concern one container: those that its packets can meet, no other container's.

A host has rules for every container of every engine. Of them, a container is concerned by a rule

    that names its address, the host's end of its veth pair, or its bridge; not one about another container there
    in a chain of its engine (DOCKER..., MINIRUN...) that names no link, such as `-A DOCKER-USER -j RETURN`
    in a chain of iptables itself that names no link, unless it jumps into a chain that is none of the above

"Its engine" is found out and not assumed: it is the one whose chains have a rule with the container's bridge.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

Interface = IPv4Interface | IPv6Interface
#: (table, chain) → its lines in order, as `iptables -S` prints them: -P or -N first, then -A.
Ruleset = dict[tuple[str, str], list[str]]

FAMILIES = ("DOCKER", "MINIRUN")
LINK_OPTIONS = ("-i", "-o", "--in-interface", "--out-interface", "--physdev-in", "--physdev-out")
ADDRESS_OPTIONS = ("-s", "-d", "--to-destination", "--to-source")


def parse(saved: str) -> Ruleset:
    """What `iptables-save` printed."""
    found: Ruleset = {}
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            chain, policy, _ = line[1:].split()
            found[table, chain] = [f"-N {chain}" if policy == "-" else f"-P {chain} {policy}"]
        elif line.startswith("-A "):
            found[table, line.split()[1]].append(line)
    return found


def telling(rules: Ruleset) -> Ruleset:
    """The lines that say something: a chain of iptables itself accepts what no rule decides, and may not exist yet."""
    told = {
        (table, chain): [line for line in lines if line != f"-P {chain} ACCEPT"]
        for (table, chain), lines in rules.items()
    }
    return {place: lines for place, lines in told.items() if lines}


class Container:
    """What a rule may name: `.links` (bridges and cables), `.addresses` of the container, `.networks` (the bridges'
    own addresses with their prefix)."""

    def __init__(self, links: list[str], addresses: list[str], networks: list[str]) -> None:
        self.links = frozenset(links)
        self.addresses = frozenset(ipaddress.ip_interface(address).ip for address in addresses)
        self.networks = [ipaddress.ip_interface(network) for network in networks]

    def named_by(self, rule: str) -> bool | None:
        """Whether a rule names something of it: True; something of others: False; nothing at all: None."""
        words = rule.split()
        links, addresses = _values(words, LINK_OPTIONS), [_address(text) for text in _values(words, ADDRESS_OPTIONS)]
        singles = [address.ip for address in addresses if address and _is_single(address)]
        if self.addresses.intersection(singles):
            return True
        if any(map(self._is_neighbour, singles)) or len(singles) > len(set(singles)):
            return False  # from an address to itself: a published port of some other network, met by its owner alone
        if self.links.intersection(links):
            return True
        if any(address and self._is_own_network(address) for address in addresses):
            return True
        return False if links else None

    def _is_neighbour(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network.network and address != network.ip for network in self.networks)

    def _is_own_network(self, address: Interface) -> bool:
        return any(address.network == network.network for network in self.networks)


def concerning(rules: Ruleset, container: Container) -> Ruleset:
    """The part of a ruleset that concerns a container; others' chains are left out."""
    family = _family_of(rules, container)
    found: Ruleset = {}
    for (table, chain), lines in rules.items():
        built_in = lines[0].startswith("-P")
        ours = bool(family) and chain.startswith(family)
        kept = [line for line in lines[1:] if _concerns(line, container, rules, table, family, ours or built_in)]
        if kept or built_in or ours:
            found[table, chain] = [lines[0], *kept]
    return found


def _concerns(  # noqa: PLR0913 (a packet has six properties)
    line: str,
    container: Container,
    rules: Ruleset,
    table: str,
    family: str,
    for_all: bool,
) -> bool:
    named = container.named_by(line)
    if named is not None or not for_all:
        return bool(named)
    words = line.split()
    target = next(iter(_values(words, ("-j", "-g"))), "")
    foreign = (table, target) in rules and not (family and target.startswith(family))
    return not foreign


def _family_of(rules: Ruleset, container: Container) -> str:
    for (_, chain), lines in rules.items():
        for family in FAMILIES:
            if chain.startswith(family) and any(container.named_by(line) for line in lines[1:]):
                return family
    return ""


def _values(words: list[str], options: tuple[str, ...]) -> list[str]:
    return [words[place + 1] for place, word in enumerate(words[:-1]) if word in options]


def _address(text: str) -> Interface | None:
    """An address or a network; "172.17.0.2:80" and "172.17.0.2-172.17.0.9" are taken at their beginning."""
    for candidate in (text, text.partition("-")[0], text.rpartition(":")[0].strip("[]")):
        try:
            return ipaddress.ip_interface(candidate)
        except ValueError:
            continue
    return None


def _is_single(address: Interface) -> bool:
    return address.network.num_addresses == 1
