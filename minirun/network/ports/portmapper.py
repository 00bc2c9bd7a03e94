"""The port mapper: `-p 8080:80` makes port 80 of a container reachable as port 8080 of the host (libnetwork's
portmapper).

Three things make a mapping, all three or none:

    a reservation    of the port on a host address, so that no two containers get the same (see `portallocator`)
    a socket         bound to it, so that no program of the host gets it; connections from the host's own loopback, from
                     a container or by IPv6 are served there by the userland proxy (see `proxy`)
    three rules      nat MINIRUN, DNAT: packets from outside go to the container
                     filter MINIRUN, ACCEPT: and are forwarded, although FORWARD's policy is DROP
                     nat POSTROUTING, MASQUERADE: for a container that connects to its own published port

A *mapping* in force is a plain dict: Proto, HostIP, HostPort, ContainerIP, ContainerPort, Bridge, Hairpin (there is no
userland proxy: rules and hairpin mode do its work). It is saved in the reservation, so that after a crash it is known
which rules there may be. Order, texts and numbers are those of Docker 20.10.
"""

from __future__ import annotations

from minirun import jsoncodec, store
from minirun.errors import EngineError, MinirunError
from minirun.light import TYPE_CHECKING, socket
from minirun.network.iptables import apply, endpoint_rules
from minirun.network.iptables.chains import MINIRUN
from minirun.network.iptables.rule import Rule
from minirun.network.network import Network, directory_of
from minirun.network.ports import listener, portallocator
from minirun.trace import step

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from minirun.network.bridge.device import Bridge
    from minirun.network.daemon_config import Settings
    from minirun.network.iptables.rule import Change

#: How many ports are tried when any will do and one is in use by a program of the host.
ATTEMPTS = 10
PROTOCOLS = ("tcp", "udp", "sctp")
_ANY, _ANY_6 = "0.0.0.0", "::"


class PortBinding:
    """A port to be published (libnetwork's PortBinding): `.proto`; `.port` (int) of the container; `.address` of the
    host, "" for the default; `.first`, `.last` (int), the ports of the host that will do, 0 and 0 for any."""

    __slots__ = ("address", "first", "last", "port", "proto")

    def __init__(self, proto: str, port: int, address: str = "", first: int = 0, last: int = 0) -> None:
        self.proto, self.port, self.address, self.first, self.last = proto, port, address, first, last or first


def publish(
    network: Network, endpoint: dict, bindings: Iterable[PortBinding], settings: Settings, held: Container[tuple] = ()
) -> tuple[list[dict], list[socket.socket]]:
    """Publish ports of a container at its endpoint.

    Arguments: endpoint, see `bridge.endpoint.create`; held, ports (see `key`) to which a socket of the container's shim
    is bound already. Returns: the mappings, in Docker's order, and in the same order the sockets bound for them.
    Errors: EngineError with Docker's text; nothing is left then.
    """
    mappings: list[dict] = []
    bound: list[socket.socket] = []
    try:
        with step("publish the container's ports"), apply.writing(network.run) as lock:
            for binding in bindings:
                for mapping in _mappings_of(binding, network.bridge, endpoint):
                    sock = _allocate(network.run, endpoint["ContainerID"], mapping, (binding.first, binding.last), held)
                    mappings.append(mapping)
                    bound += [sock] if sock else []
            if settings.iptables:
                endpoint_rules.add(network.directory, endpoint, _changes(mappings), known=lock.known)
    except BaseException:
        for sock in bound:
            sock.close()
        unpublish(network.run, endpoint["ContainerID"], mappings, endpoint)
        raise
    return mappings, bound


def unpublish(run: str, owner: str, mappings: Iterable[dict] | None, endpoint: dict | None = None) -> None:
    """Release the published ports of a container. May be called twice.

    Arguments: owner (str), its ID; mappings, None when they are not known: then all reservations are searched;
    endpoint, where they were published, if that stays: the rules of a deleted endpoint are gone already.
    """
    allocated = [
        mapping
        for mapping in (mappings_in_force(run, owner) if mappings is None else mappings)
        if portallocator.owner_of(_directory(run, mapping), mapping["HostPort"])[0] == owner
    ]
    if not allocated:
        return
    with step("take the published ports back"), apply.writing(run) as lock:
        if endpoint is not None:
            directory = directory_of(run, endpoint["Network"], endpoint["NetworkID"])
            endpoint_rules.remove(directory, endpoint, _changes(allocated), known=lock.known)
        for mapping in allocated:
            portallocator.release_port(_directory(run, mapping), mapping["HostPort"], owner)


def mappings_in_force(run: str, owner: str = "") -> Iterator[dict]:
    """All mappings that are reserved, or those of one container; each has "Owner", the container's ID."""
    for address, proto, port, holder, note in portallocator.reservations(run):
        if owner in ("", holder):
            saved: dict = jsoncodec.loads(note)  # type: ignore[assignment]
            yield {**saved, "Proto": proto, "HostIP": address, "HostPort": port, "Owner": holder}


def leftovers(run: str, live_ids: Container[str]) -> Iterator[dict]:
    """The mappings that belong to no living container. Arguments: live_ids, see `gc.leftovers`."""
    return (mapping for mapping in mappings_in_force(run) if mapping["Owner"] not in live_ids)


def clear(run: str, mapping: dict) -> None:
    """Remove one of the `leftovers`, with the rules that it may have left."""
    with apply.writing(run):
        plan = apply.read()
        for rule in rules([mapping]):
            plan.ensure_gone(rule)
        apply.apply(plan.changes)
        portallocator.release_port(_directory(run, mapping), mapping["HostPort"], mapping["Owner"])


def _changes(mappings: Iterable[dict]) -> list[Change]:
    return [("-A", rule) for rule in rules(mappings)]


def rules(mappings: Iterable[dict]) -> list[Rule]:
    """The firewall rules of mappings, in Docker's order.

    Two ports of the host that are mapped to the same port of a container share the last two; for an IPv6 address on
    either side there are none (Docker's --ip6tables is off by default).
    """
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
    # Packets from a container of the bridge are left to the proxy: with DNAT the reply would go to it directly, from an
    # address that it did not connect to.
    not_bridge = "" if mapping["Hairpin"] else f"! -i {bridge} "
    arriving = f"-p {proto} -m {proto} --dport"
    made = [
        Rule(
            "nat",
            MINIRUN,
            f"{outside}{not_bridge}{arriving} {mapping['HostPort']} -j DNAT --to-destination {inside}:{port}",
        ),
        Rule("filter", MINIRUN, f"-d {inside}/32 ! -i {bridge} -o {bridge} {arriving} {port} -j ACCEPT"),
        Rule("nat", "POSTROUTING", f"-s {inside}/32 -d {inside}/32 {arriving} {port} -j MASQUERADE"),
    ]
    if proto == "sctp":  # veth offloads checksums, and no hardware ever fills them in
        made.append(Rule("mangle", "POSTROUTING", f"-p sctp -m sctp --sport {port} -j CHECKSUM --checksum-fill"))
    return made


def _mappings_of(binding: PortBinding, bridge: Bridge, endpoint: dict) -> Iterator[dict]:
    """The mappings of a port binding: on an IPv4 address of the host, on an IPv6 address, or on both.

    Without an address it is 0.0.0.0 and `::`; the proxy on `::` connects to the container's IPv4 address, unless the
    container has an IPv6 address.
    """
    common = {
        "Proto": binding.proto,
        "HostPort": 0,
        "ContainerPort": binding.port,
        "Bridge": bridge.name,
        "Hairpin": bridge.hairpin,
    }
    address = binding.address or bridge.binding
    if ":" not in address:
        yield {**common, "HostIP": address, "ContainerIP": endpoint["IPAddress"]}
    inside = endpoint.get("GlobalIPv6Address") or ("" if bridge.hairpin else endpoint["IPAddress"])
    if inside and (":" in address or not binding.address and address == _ANY and _has_ipv6()):
        yield {**common, "HostIP": address if ":" in address else _ANY_6, "ContainerIP": inside}


def _has_ipv6() -> bool:
    return store.exists("/proc/net/if_inet6")


def key(mapping: dict) -> tuple[str, str, int]:
    """The port of the host that a mapping has: (proto, address, port)."""
    return mapping["Proto"], mapping["HostIP"], mapping["HostPort"]


def canonical(address: str) -> str:
    """An address as Go prints it: in the shortest form, and an IPv4-mapped IPv6 address as IPv4."""
    if ":" not in address:
        return address
    packed = socket.inet_pton(socket.AF_INET6, address)
    if packed[:12] == _MAPPED:
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed)


_MAPPED = bytes(10) + b"\xff\xff"


def _allocate(
    run: str, owner: str, mapping: dict, wanted: tuple[int, int], held: Container[tuple]
) -> socket.socket | None:
    """Allocate a port of the host for a mapping, set its HostPort, and bind a socket to it unless it is in `held`.

    When any port will do and the allocated one is in use by a program of the host, the next one is tried.
    """
    if mapping["Proto"] not in PROTOCOLS:
        raise EngineError("invalid transport protocol: 0")
    attempts = ATTEMPTS if wanted == (0, 0) else 1
    while True:
        attempts -= 1
        note = {key: mapping[key] for key in ("ContainerIP", "ContainerPort", "Bridge", "Hairpin")}
        directory = _directory(run, mapping)
        mapping["HostPort"] = portallocator.request_port(
            directory, mapping["HostIP"], wanted, f"{owner} {jsoncodec.dumps(note)}"
        )
        try:
            return None if key(mapping) in held else listener.bind(mapping)
        except BaseException as reason:
            portallocator.release_port(directory, mapping["HostPort"], owner)
            if attempts > 0 and isinstance(reason, MinirunError):
                continue
            raise


def _directory(run: str, mapping: dict) -> str:
    return portallocator.directory_of(run, mapping["HostIP"], mapping["Proto"])
