"""Published ports: `-p 8080:80` lets the world reach port 80 of a container as port 8080 of the host.

Three things make it, all three or none:

    a reservation    which port of which host address, so that no two containers get the same (see `allocator`)
    a socket         bound to it, so that no program of the host gets it; who comes from the host's own loopback, from
                     a container or by IPv6 is served there (see `proxy`)
    three rules      nat MINIRUN, DNAT: who comes from outside is sent on to the container
                     filter MINIRUN, ACCEPT: and may pass, although FORWARD drops what is not asked for
                     nat POSTROUTING, MASQUERADE: a container that reaches itself through its own published port

A *mapping* is one of them that is in force, a plain dict: Proto, HostIP, HostPort, ContainerIP, ContainerPort, Bridge,
Hairpin (there is no proxy: the rules do its work). It is written into the reservation, so whoever finds one knows which
rules there may be. Order, texts and numbers are those of Docker 20.10.
"""

from __future__ import annotations

import _socket

from minirun import store
from minirun.errors import EngineError, MinirunError
from minirun.network.iptables import apply, endpoint_rules
from minirun.network.iptables.chains import MINIRUN
from minirun.network.iptables.rule import Rule
from minirun.network.network import Network, directory_of
from minirun.network.ports import listener, portallocator
from minirun.trace import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from minirun.network.bridge.device import Bridge
    from minirun.network.daemon_config import Settings
    from minirun.network.iptables.rule import Change

#: How often another port is tried when any would do and the first is in use on the host.
ATTEMPTS = 10
PROTOCOLS = ("tcp", "udp", "sctp")
_ANY, _ANY_6 = "0.0.0.0", "::"


class Wish:
    """One port to be published: `.proto`; `.port` (int) of the container; `.address` of the host, "" for Docker's
    choice; `.first`, `.last` (int), the ports of the host that would do, 0 and 0 for any."""

    __slots__ = ("address", "first", "last", "port", "proto")

    def __init__(self, proto: str, port: int, address: str = "", first: int = 0, last: int = 0) -> None:
        self.proto, self.port, self.address, self.first, self.last = proto, port, address, first, last or first


def publish(
    network: Network, endpoint: dict, wishes: Iterable[Wish], settings: Settings, held: Container[tuple] = ()
) -> tuple[list[dict], list[_socket.socket]]:
    """Publish ports of a container that is plugged in, or is about to be.

    Arguments: endpoint, see `networks.reserve`; held, ports (see `key`) to which a socket of the container's monitor is
    bound already. Returns: the mappings, in Docker's order, and in the same order the sockets that were bound for them.
    Errors: EngineError as Docker's; nothing is left then.
    """
    mappings: list[dict] = []
    bound: list[_socket.socket] = []
    try:
        with step("publish the container's ports"), apply.writing(network.run) as lock:
            for wish in wishes:
                for mapping in _sides(wish, network.bridge, endpoint):
                    sock = _map(network.run, endpoint["ContainerID"], mapping, (wish.first, wish.last), held)
                    mappings.append(mapping)
                    bound += [sock] if sock else []
            if settings.iptables:
                endpoint_rules.add(network.directory, endpoint, _changes(mappings), known=lock.known)
    except BaseException:
        for sock in bound:
            sock.close()
        withdraw(network.run, endpoint["ContainerID"], mappings, endpoint)
        raise
    return mappings, bound


def withdraw(run: str, owner: str, mappings: Iterable[dict] | None, endpoint: dict | None = None) -> None:
    """Take back what a container has published; fine when some of it is gone already.

    Arguments: owner (str), its ID; mappings, None when they are not known: then they are looked for; endpoint, where it
    was published, if that stays: with an endpoint that goes, its rules have gone.
    """
    held = [
        mapping
        for mapping in (every(run, owner) if mappings is None else mappings)
        if portallocator.owner_of(_place(run, mapping), mapping["HostPort"])[0] == owner
    ]
    if not held:
        return
    with step("take the published ports back"), apply.writing(run) as lock:
        if endpoint is not None:
            directory = directory_of(run, endpoint["Network"], endpoint["NetworkID"])
            endpoint_rules.remove(directory, endpoint, _changes(held), known=lock.known)
        for mapping in held:
            portallocator.release(_place(run, mapping), mapping["HostPort"], owner)


def every(run: str, owner: str = "") -> Iterator[dict]:
    """All mappings that are written down, or those of one container; with "Owner", its ID."""
    for address, proto, port, holder, note in portallocator.reservations(run):
        if owner in ("", holder):
            known: dict = store.loads(note)  # type: ignore[assignment]
            yield {**known, "Proto": proto, "HostIP": address, "HostPort": port, "Owner": holder}


def leftovers(run: str, live_ids: Container[str]) -> Iterator[dict]:
    """The mappings that belong to no living container. Arguments: live_ids, see `networks.leftovers`."""
    return (mapping for mapping in every(run) if mapping["Owner"] not in live_ids)


def clear(run: str, mapping: dict) -> None:
    """Clear one of the `leftovers` away, and rules that it may have left."""
    with apply.writing(run):
        plan = apply.read()
        for rule in rules([mapping]):
            plan.ensure_gone(rule)
        apply.apply(plan.changes)
        portallocator.release(_place(run, mapping), mapping["HostPort"], mapping["Owner"])


def _changes(mappings: Iterable[dict]) -> list[Change]:
    return [("-A", rule) for rule in rules(mappings)]


def rules(mappings: Iterable[dict]) -> list[Rule]:
    """The firewall rules of mappings, in Docker's order. Two ports of the host that lead to the same port of a
    container share the last two; with an IPv6 address on either side there are none (Docker's --ip6tables is off)."""
    found: dict[tuple, Rule] = {}
    for mapping in mappings:
        if ":" not in mapping["HostIP"] + mapping["ContainerIP"]:
            for rule in _rules(mapping):
                found.setdefault((rule.table, rule.chain, rule.words), rule)
    return list(found.values())


def _rules(mapping: dict) -> list[Rule]:
    proto, bridge = mapping["Proto"], mapping["Bridge"]
    inside, port = mapping["ContainerIP"], mapping["ContainerPort"]
    outside = "" if mapping["HostIP"] == _ANY else f"-d {mapping['HostIP']}/32 "
    # Who comes from a container is left to the proxy: behind the bridge the answer would take another way back.
    others = "" if mapping["Hairpin"] else f"! -i {bridge} "
    arriving = f"-p {proto} -m {proto} --dport"
    made = [
        Rule(
            "nat",
            MINIRUN,
            f"{outside}{others}{arriving} {mapping['HostPort']} -j DNAT --to-destination {inside}:{port}",
        ),
        Rule("filter", MINIRUN, f"-d {inside}/32 ! -i {bridge} -o {bridge} {arriving} {port} -j ACCEPT"),
        Rule("nat", "POSTROUTING", f"-s {inside}/32 -d {inside}/32 {arriving} {port} -j MASQUERADE"),
    ]
    if proto == "sctp":  # a veth leaves its check sums to a hardware that is not there
        made.append(Rule("mangle", "POSTROUTING", f"-p sctp -m sctp --sport {port} -j CHECKSUM --checksum-fill"))
    return made


def _sides(wish: Wish, bridge: Bridge, endpoint: dict) -> Iterator[dict]:
    """The mappings that a wish comes to: on an IPv4 address of the host, on an IPv6 address, or on both.

    Without an address it is the host's any, and with IPv4's also IPv6's: the proxy there leads to the container's IPv4
    address, unless it has an IPv6 address of its own.
    """
    common = {
        "Proto": wish.proto,
        "HostPort": 0,
        "ContainerPort": wish.port,
        "Bridge": bridge.name,
        "Hairpin": bridge.hairpin,
    }
    address = wish.address or bridge.binding
    if ":" not in address:
        yield {**common, "HostIP": address, "ContainerIP": endpoint["IPAddress"]}
    inside = endpoint.get("GlobalIPv6Address") or ("" if bridge.hairpin else endpoint["IPAddress"])
    if inside and (":" in address or not wish.address and address == _ANY and _has_ipv6()):
        yield {**common, "HostIP": address if ":" in address else _ANY_6, "ContainerIP": inside}


def _has_ipv6() -> bool:
    return store.exists("/proc/net/if_inet6")


def key(mapping: dict) -> tuple[str, str, int]:
    """Which port of the host a mapping has."""
    return mapping["Proto"], mapping["HostIP"], mapping["HostPort"]


def canonical(address: str) -> str:
    """An address as Go prints it: the shortest form, and an IPv4 address as such also when it is written as IPv6."""
    if ":" not in address:
        return address
    packed = _socket.inet_pton(_socket.AF_INET6, address)
    if packed[:12] == _MAPPED:
        return _socket.inet_ntop(_socket.AF_INET, packed[12:])
    return _socket.inet_ntop(_socket.AF_INET6, packed)


_MAPPED = bytes(10) + b"\xff\xff"


def _map(run: str, owner: str, mapping: dict, wanted: tuple[int, int], held: Container[tuple]) -> _socket.socket | None:
    """Reserve a port of the host for a mapping, which learns it, and bind a socket to it unless it is `held`.

    When any port would do and the one that came out is in use by a program of the host, the next one is tried.
    """
    if mapping["Proto"] not in PROTOCOLS:
        raise EngineError("invalid transport protocol: 0")
    attempts = ATTEMPTS if wanted == (0, 0) else 1
    while True:
        attempts -= 1
        note = {key: mapping[key] for key in ("ContainerIP", "ContainerPort", "Bridge", "Hairpin")}
        directory = _place(run, mapping)
        mapping["HostPort"] = portallocator.take(directory, mapping["HostIP"], wanted, f"{owner} {store.dumps(note)}")
        try:
            return None if key(mapping) in held else listener.bind(mapping)
        except BaseException as reason:
            portallocator.release(directory, mapping["HostPort"], owner)
            if attempts > 0 and isinstance(reason, MinirunError):
                continue
            raise


def _place(run: str, mapping: dict) -> str:
    return portallocator.place(run, mapping["HostIP"], mapping["Proto"])
