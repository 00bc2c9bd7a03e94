"""The port allocator: which port of the host is allocated to which container (libnetwork's portallocator).

Ports are allocated for each host address and each protocol by itself: 0.0.0.0 and 127.0.0.1 may both have 8080 here
(bind(2) will fail for that later), and `::` may get ahead of 0.0.0.0. When any port will do, it is not the lowest free
one but the one after the last that was allocated, so that a port is not used again at once: in the kernel's ephemeral
range (net.ipv4.ip_local_port_range), and likewise in each range that was asked for.

The store is a directory that `ls` can read, as in `ipam`: <run>/networks/ports/0.0.0.0/tcp/8080 is the reservation, and
its content the owner; `last` and `last-9000-9005` beside it hold the port that was allocated last. The caller of
`request_port` holds the lock on the networks.
"""

from __future__ import annotations

from minirun import store
from minirun.errors import EngineError, MinirunError
from minirun.kernel import procfs
from minirun.light import TYPE_CHECKING, os

if TYPE_CHECKING:
    from collections.abc import Iterator

EPHEMERAL = "/proc/sys/net/ipv4/ip_local_port_range"
#: Docker's range when the kernel does not say.
DEFAULT_PORTS = (49153, 65535)


def directory_of(run: str, address: str, proto: str) -> str:
    """The directory with the allocated ports of an address ("0.0.0.0", "::") and a protocol ("tcp")."""
    return f"{run}/networks/ports/{address}/{proto}"


def request_port(directory: str, address: str, wanted: tuple[int, int], note: str) -> int:
    """Allocate a port. Returns: its number.

    Arguments: directory (str), see `directory_of`; address (str), for the error; wanted, the first and last port that
    will do, (0, 0) for any; note (str), the reservation's content, which begins with the owner's container ID.
    Errors: EngineError with Docker's text.
    """
    store.make_directory(directory)
    first, last = wanted
    if first and first == last:
        if not store.reserve(f"{directory}/{first}", note):
            raise EngineError(f"Bind for {address}:{first} failed: port is already allocated")
        return first
    begin, end = wanted if first else ephemeral_ports()
    counter = f"{directory}/last-{begin}-{end}" if first else f"{directory}/last"
    port = _last(counter)
    for _ in range(begin, end + 1):
        port = port + 1 if begin <= port < end else begin
        if store.reserve(f"{directory}/{port}", note):
            store.write_text(counter, str(port))
            return port
    raise EngineError("all ports are allocated")


def release_port(directory: str, port: int, owner: str) -> None:
    """Release a port. Nothing happens when it is not, or no longer, the owner's."""
    if owner_of(directory, port)[0] == owner:
        store.discard(f"{directory}/{port}")


def owner_of(directory: str, port: int) -> tuple[str, str]:
    """(owner, rest of the note) of a port; ("", "") when it is free."""
    try:
        with open(f"{directory}/{port}", encoding="utf-8") as file:
            owner, _, note = file.read().partition(" ")
            return owner, note
    except (FileNotFoundError, NotADirectoryError):
        return "", ""


def reservations(run: str) -> Iterator[tuple[str, str, int, str, str]]:
    """All allocated ports: (address, proto, port, owner, rest of the note)."""
    top = f"{run}/networks/ports"
    for address in _names(top):
        for proto in _names(f"{top}/{address}"):
            directory = f"{top}/{address}/{proto}"
            for port in sorted(int(name) for name in _names(directory) if name.isdigit()):
                owner, note = owner_of(directory, port)
                if owner:
                    yield address, proto, port, owner, note


def ephemeral_ports() -> tuple[int, int]:
    """The first and last port of the kernel's ephemeral range, from which connect(2) and bind(2) to port 0 take one."""
    try:
        first, last = map(int, procfs.read(EPHEMERAL).split())
    except (MinirunError, ValueError):
        return DEFAULT_PORTS
    return first, last


def _last(counter: str) -> int:
    """The port that was allocated last; 0 before there was one."""
    try:
        with open(counter, encoding="ascii") as file:
            return int(file.read())
    except (FileNotFoundError, ValueError):
        return 0


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
