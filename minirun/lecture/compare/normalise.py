"""Normalisation: names that differ in any two containers are replaced by what they stand for, before the comparison.

Two containers never have the same id, and one bridge never gives the same address twice. Docker and minirun name their
bridge and chains after themselves, and where one has taken 172.17.0.0/16 the other takes the next pool. A table of what
stands for what is made from the facts about both sides; all texts go through it before they are compared. Nothing that
the user has chosen is replaced: a MAC that was set, a name that was given.

A container's own address is a case of its own. It turns up everywhere, in routes, in /etc/hosts, in rules, in the MAC;
were it different, each of these would be. So the address is compared once, under "addresses", and is "<address of
eth0>" in all that follows from it.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

#: Bridges that an engine names by itself; a name that the user chose is compared as it is.
ENGINE_BRIDGE = re.compile(r"docker0|minirun0|br-[0-9a-f]{12}")
IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])")
MAC_OF_ADDRESS = re.compile(r"(?<![\w:])02:42((?::[0-9a-f]{2}){4})(?![\w:])")
#: What is the same on every machine and in every container: text → what it stands for.
ALWAYS = (
    (re.compile(r"\b(?:DOCKER|MINIRUN)(?=[-_ ]|$)"), "MINIRUN"),
    (re.compile(r"\b(shared|master|propagate_from):\d+"), r"\1:<group>"),
    (re.compile(r"(lowerdir|upperdir|workdir)=[^ ,]*"), r"\1=<layers>"),
    (re.compile(r"/\S*/containers/[0-9a-f]{64}/"), "<container>/"),
    (re.compile(r"/\S*/volumes/[0-9a-f]{64}/_data\b"), "<volumes>/<without a name>"),
    (re.compile(r"/\S*/volumes/(?=[^/\s]+/_data\b)"), "<volumes>/"),
    (re.compile(r"/(?:docker|minirun)/(?=[0-9a-f]{64})"), "/<engine>/"),
    # The resolver of a user network listens on ports that the kernel gave it.
    (re.compile(r"(?<=127\.0\.0\.11:)\d+|(?<=-s 127\.0\.0\.11/32 -p (?:tcp -m tcp|udp -m udp) --sport )\d+"), "<port>"),
)


class Vocabulary:
    """What the names of one side stand for, given the other: `vocabulary("docker0")` is "<bridge of eth0>"."""

    def __init__(self, about: dict[str, Any], other: dict[str, Any], topic: str = "") -> None:
        """Arguments: about, other: the "about" of the two snapshots; topic, what the texts are about."""
        self.topic = topic
        self.words: dict[str, str] = {}
        self.subnets: list[tuple[ipaddress.IPv4Network, str]] = []
        if about["id"]:
            self.words[about["id"]] = "<id>"
            self.words[about["id"][:12]] = "<id12>"
        elif re.fullmatch("[0-9a-f]{12}", about["hostname"]):
            self.words[about["hostname"]] = "<id12>"
        others = {cable["interface"]: cable for cable in other["cables"]}
        for cable in about["cables"]:
            self._learn_cable(cable)
            self._learn_addresses(cable, others.get(cable["interface"]))
        literals = map(_bounded, sorted(self.words, key=len, reverse=True))
        self._literal = re.compile("|".join(literals)) if self.words else None

    def __call__(self, text: str) -> str:
        """The text with every name replaced by what it stands for."""
        for pattern, meaning in ALWAYS:
            text = pattern.sub(meaning, text)
        if self._literal:
            text = self._literal.sub(lambda found: self.words[found[0]], text)
        if self.subnets:
            text = IPV4.sub(lambda found: self._relative(found[0], found[0]), text)
            text = MAC_OF_ADDRESS.sub(lambda found: self._relative_mac(found[0]), text)
        return text

    def _learn_cable(self, cable: dict[str, Any]) -> None:
        name = cable["interface"]
        self.words[cable["cable"]] = f"<cable of {name}>"
        self._learn_mac(cable["cable mac"], f"cable of {name}")
        if cable["random"]:
            self._learn_mac(cable["mac"], name)
        if ENGINE_BRIDGE.fullmatch(cable["bridge"]):
            self.words[cable["bridge"]] = f"<bridge of {name}>"
            self._learn_mac(cable["bridge mac"], f"bridge of {name}")

    def _learn_mac(self, mac: str, owner: str) -> None:
        self.words[mac] = f"<MAC of {owner}>"
        self.words[link_local(mac)] = f"<link-local address of {owner}>"

    def _learn_addresses(self, cable: dict[str, Any], other: dict[str, Any] | None) -> None:
        """On one bridge no two have the same address; on two with different subnets the place within counts."""
        name = cable["interface"]
        one_bridge = other and cable["bridge"] and all(cable[fact] == other[fact] for fact in ("host", "bridge number"))
        for address in map(ipaddress.ip_interface, cable["addresses"]):
            if not any(address in ipaddress.ip_interface(network).network for network in cable["networks"]):
                continue  # not set by the engine, but by hand
            if one_bridge or self.topic != "addresses":
                self.words[str(address.ip)] = f"<address of {name}>"
            if cable["mac"] == mac_of(address):
                self._learn_mac(cable["mac"], name)
        if other and _subnets(cable) != _subnets(other):
            self.subnets += [(subnet, f"<subnet of {name}>") for subnet in _subnets(cable)]

    def _relative(self, address: str, otherwise: str) -> str:
        """An address as its place in the subnet: "<subnet of eth0>+0.2"."""
        try:
            parsed = ipaddress.IPv4Address(address)
        except ValueError:
            return otherwise
        for subnet, name in self.subnets:
            if parsed in subnet:
                place = int(parsed) - int(subnet.network_address)
                return f"{name}+{place >> 8}.{place & 255}"
        return otherwise

    def _relative_mac(self, mac: str) -> str:
        address = ".".join(str(int(part, 16)) for part in mac.split(":")[2:])
        relative = self._relative(address, "")
        return f"<MAC of {relative}>" if relative else mac


def _bounded(name: str) -> str:
    """A pattern for a name that is no part of a longer one; an IPv4 address may be followed by a port."""
    if ":" in name:
        return rf"(?<![\w:]){re.escape(name)}(?![\w:])"
    return rf"(?<!\w)(?<!\d\.){re.escape(name)}(?!\w)(?!\.\d)"


def _subnets(cable: dict[str, Any]) -> list[ipaddress.IPv4Network]:
    networks = [ipaddress.ip_interface(network).network for network in cable["networks"]]
    return [network for network in networks if isinstance(network, ipaddress.IPv4Network)]


def mac_of(address: Any) -> str:
    """The MAC that Docker makes of an IPv4 address: 02:42 and its four bytes."""
    return "02:42:" + address.ip.packed.hex(":")


def link_local(mac: str) -> str:
    """The IPv6 address that the kernel makes of a MAC: fe80::, the MAC with ff:fe in its middle, one bit turned."""
    octets = bytes.fromhex(mac.replace(":", ""))
    packed = bytes((0xFE, 0x80, 0, 0, 0, 0, 0, 0, octets[0] ^ 2)) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return str(ipaddress.IPv6Address(packed))
