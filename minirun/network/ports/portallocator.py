"""Docker's port allocator: which port of the host belongs to whom, and which one is next.

Every host address counts for itself, and each protocol on it: 0.0.0.0 and 127.0.0.1 may both have 8080 here (the kernel
will object to that later), and `::` may be ahead of 0.0.0.0. A free port is not the lowest one but the one after the
last that was given out, so a port is not used again at once: for the ephemeral range of the kernel
(net.ipv4.ip_local_port_range), and likewise for each range that somebody asks for.

The store is a directory that `ls` can read, as in `ipam`: <run>/networks/ports/0.0.0.0/tcp/8080 is the reservation, and
says who has it; `last` and `last-9000-9005` beside it are the places where to look from. The caller of `take` holds the
lock on the networks.
"""

from __future__ import annotations

import posix as os

from minirun import store
from minirun.errors import EngineError, MinirunError
from minirun.kernel import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

EPHEMERAL = "/proc/sys/net/ipv4/ip_local_port_range"
#: What Docker takes when the kernel does not say.
DYNAMIC_PORTS = (49153, 65535)


def place(run: str, address: str, proto: str) -> str:
    """The directory with the reserved ports of an address ("0.0.0.0", "::") and a protocol ("tcp")."""
    return f"{run}/networks/ports/{address}/{proto}"


def take(directory: str, address: str, wanted: tuple[int, int], note: str) -> int:
    """Reserve a port. Returns: its number.

    Arguments: directory (str), see `place`; address (str), for the error; wanted, the first and last port that would
    do, (0, 0) for any; note (str), the reservation's content, which begins with the owner's container ID.
    Errors: EngineError in Docker's words.
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


def release(directory: str, port: int, owner: str) -> None:
    """Give a port back; fine when it is not the owner's, or no longer."""
    if owner_of(directory, port)[0] == owner:
        store.discard(f"{directory}/{port}")


def owner_of(directory: str, port: int) -> tuple[str, str]:
    """(owner, what else is noted) of a port; ("", "") when nobody has it."""
    try:
        with open(f"{directory}/{port}", encoding="utf-8") as file:
            owner, _, note = file.read().partition(" ")
            return owner, note
    except (FileNotFoundError, NotADirectoryError):
        return "", ""


def reservations(run: str) -> Iterator[tuple[str, str, int, str, str]]:
    """All of them: (address, proto, port, owner, what else is noted)."""
    top = f"{run}/networks/ports"
    for address in _names(top):
        for proto in _names(f"{top}/{address}"):
            directory = f"{top}/{address}/{proto}"
            for port in sorted(int(name) for name in _names(directory) if name.isdigit()):
                owner, note = owner_of(directory, port)
                if owner:
                    yield address, proto, port, owner, note


def ephemeral_ports() -> tuple[int, int]:
    """The first and last port that the kernel gives to who does not ask for one."""
    try:
        first, last = map(int, procfs.read(EPHEMERAL).split())
    except (MinirunError, ValueError):
        return DYNAMIC_PORTS
    return first, last


def _last(counter: str) -> int:
    """The port that was given out last; 0 before there was one."""
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
