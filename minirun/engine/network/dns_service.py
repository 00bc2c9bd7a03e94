"""Who is on a network under which name, and the name server that says so: a service of the container's monitor.

There is no register of names beside what is there anyway. A network's directory has a file for each address in use,
with its owner's ID in it; the owner's cable.json has the names that he goes by there. Whoever starts, ends, connects or
disconnects changes that directory, so a look at its time is what a question costs: only when the time has moved is the
directory read again, and of the files only those that were not there before.

A name is there before its container's first instruction, and gone when the container has ended.
"""

from __future__ import annotations

import _socket
import posix as os
import time

from minirun import store
from minirun.errors import MinirunError
from minirun.network import predefined
from minirun.network.dns import message
from minirun.network.dns.forwarder import Server
from minirun.network.dns.server import Resolver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from minirun.engine.container.container import Container
    from minirun.engine.shim.relay import Relay

#: The kernel's clock for files moves in jiffies; what changed less than that (ns) ago may have changed again.
JIFFY = 20_000_000


class Names:
    """A network as one container sees it (see `lookup.ServiceRecords`).

    Arguments: run (str), the exec root; endpoint (dict), the container's place on it.
    """

    def __init__(self, run: str, endpoint: dict) -> None:
        self.run, self.id, self.name = run, endpoint["NetworkID"], endpoint["Network"]
        self.directory = f"{run}/networks/{self.id}"
        self.links = {
            alias or name: name for name, _, alias in (link.partition(":") for link in endpoint.get("Links") or ())
        }
        self.seen = -1
        self.known: dict[tuple[str, int], list[str]] = {}  # address file and its inode → names of the owner
        self.by_name: dict[str, list[bytes]] = {}
        self.by_address: dict[bytes, str] = {}

    def addresses(self, name: str, family: int) -> list[bytes] | None:
        """See `lookup.ServiceRecords`."""
        found = self.by_name.get(name.lower())
        size = 4 if family == message.A else 16
        return None if found is None else [address for address in found if len(address) == size]

    def name_of(self, address: bytes) -> str:
        """See `lookup.ServiceRecords`."""
        return self.by_address.get(address, "")

    def refresh(self) -> None:
        """Look whether somebody has come or gone."""
        try:
            changed = os.stat(self.directory).st_mtime_ns
            if changed != self.seen:
                complete = self._read()
                self.seen = changed if complete and time.time_ns() - changed > JIFFY else -1
        except FileNotFoundError:  # the network was taken away by force
            self._index({})
        except OSError:  # too many files are open: what was known will do for now
            self.seen = -1

    def _read(self) -> bool:
        """Read the directory. Returns: whether each address has an owner who has said how he is called."""
        known = {}
        files = 0
        with os.scandir(self.directory) as entries:
            for entry in entries:
                if not (":" in entry.name or entry.name.replace(".", "").isdigit()):
                    continue
                files += 1
                key = (entry.name, entry.inode())
                names = self.known.get(key) or self._names_of_owner(entry.path)
                if names:
                    known[key] = names
        self._index(known)
        return len(known) == files

    def _names_of_owner(self, path: str) -> list[str]:
        """The names of an address's owner; [] while he has not said them, or when he has just gone."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                owner = os.read(fd, 256).decode().partition(" ")[0]
            finally:
                os.close(fd)
            endpoints = store.read(f"{self.run}/containers/{owner}/cable.json")["Endpoints"].values()
            return next(endpoint["DNSNames"] for endpoint in endpoints if endpoint["NetworkID"] == self.id)
        except (OSError, MinirunError, LookupError, StopIteration):
            return []

    def _index(self, known: dict[tuple[str, int], list[str]]) -> None:
        self.known = known
        self.by_name, self.by_address = {}, {}
        for (address, _), names in known.items():
            packed = _socket.inet_pton(_socket.AF_INET6 if ":" in address else _socket.AF_INET, address)
            self.by_address[packed] = names[0]
            for name in {name.lower() for name in names}:
                self.by_name.setdefault(name, []).append(packed)


class NameService(Resolver):
    """The name server of one container (see `relay.Service`).

    Arguments: sockets, its two; place (str), the container's volatile directory; pid (int), of its first process.
    """

    def __init__(self, sockets: tuple[_socket.socket, _socket.socket], place: str, pid: int) -> None:
        self.place, self.pid = place, pid
        self.run = place.rpartition("/containers/")[0]
        self.seen = (-1, -1)
        self.names: list[Names] = []
        settings = store.read(f"{place}/cable.json")["Resolver"]
        self.servers = [Server(address, on_host=on_host) for address, on_host in settings["Servers"]]
        super().__init__(sockets, self._networks, self.servers, self._enter, settings["Ndots"])

    def words(self) -> list[str]:
        """What it takes to make it anew. A path with commas comes in parts."""
        return [*map(str, self.descriptors()), str(self.pid), self.place]

    def _enter(self, kind: int, count: int) -> list[_socket.socket]:
        from minirun.network.dns import listen_in_netns  # not before something is asked that is not known here

        return listen_in_netns.sockets_in(f"/proc/{self.pid}/ns/net", kind, count)

    def _networks(self) -> list[Names]:
        """The networks with names that the container is on, in Docker's order."""
        try:
            found = os.stat(f"{self.place}/cable.json")
            if (found.st_ino, found.st_mtime_ns) != self.seen:
                endpoints = store.read(f"{self.place}/cable.json")["Endpoints"].values()
                self.names = [
                    Names(self.run, endpoint)
                    for endpoint in sorted(endpoints, key=_rank)
                    if not predefined.is_predefined(endpoint["Network"])  # those have no names
                ]
                self._look_for_a_way_out(endpoints)
                self.seen = (found.st_ino, found.st_mtime_ns)
        except FileNotFoundError:  # the container is being taken down
            self.names = []
        except (OSError, MinirunError):  # too many files are open, or this one is damaged: what was known will do
            self.seen = (-1, -1)
        for names in self.names:
            names.refresh()
        return self.names

    def _look_for_a_way_out(self, endpoints: Iterable[dict]) -> None:
        """Who is on internal networks alone cannot leave them by a question either: the host asks nobody for him."""
        inside = all("Internal" in endpoint for endpoint in endpoints)
        self.forwarder.servers = [server for server in self.servers if not (inside and server.on_host)]


def _rank(endpoint: dict) -> tuple[bool, bool, str]:
    """The order in which networks are asked is that in which they may have the default route."""
    return "Internal" in endpoint, not endpoint.get("IPv6Gateway"), endpoint["Network"]


# ---- one for a container ---------------------------------------------------------------------------------------


def wish(container: Container) -> dict:
    """What a name server of a container must know, and what the container's cable.json says of it:

    "Servers", [address, whether it is asked from the host's namespace]; "Ndots", whether somebody wished for that; and
    its ports, "tcp" and "udp", which are 0 until there is one.
    """
    from minirun.engine.spec import etc_files
    from minirun.network.dns import resolv_conf

    host, wishes = resolv_conf.read_host(), etc_files.resolver_options(container)
    return {
        "tcp": 0,
        "udp": 0,
        "Servers": resolv_conf.forwarders(host, wishes),
        "Ndots": resolv_conf.has_ndots(resolv_conf.for_default_bridge(host, wishes)),
    }


def start(run_directory: str, note: dict, pid: int) -> NameService:
    """Give a container a name server, in its monitor.

    Arguments: note, its cable.json, with a `wish` in it, which is completed and written; pid (int), of its first
    process. Errors: MinirunError; what is left then goes with the container's namespace.
    """
    from minirun.kernel import process
    from minirun.network.dns import listen_in_netns

    sockets = listen_in_netns.open_sockets(f"/proc/{pid}/ns/net")
    note["Resolver"]["udp"], note["Resolver"]["tcp"] = (sock.getsockname()[1] for sock in sockets)
    store.write(f"{run_directory}/cable.json", note)
    process.raise_open_files_limit()  # each question that is sent on takes one
    return NameService(sockets, run_directory, pid)


def follow(relay: Relay, run_directory: str) -> None:
    """In the monitor: give the container a name server if it now needs one. It keeps it, also on the default bridge."""
    from minirun.engine.shim import run_state

    if any(isinstance(service, NameService) for service in relay.services):
        return
    with run_state.plugging(run_directory):
        note = run_state.cable_of(run_directory)
        if note["Resolver"]:
            relay.services.append(start(run_directory, note, relay.pid))


def taken_over(words: list[str]) -> NameService:
    """A service made anew of its `words` (see `resting`)."""
    datagrams, connections = (_socket.socket(fileno=int(word)) for word in words[:2])
    return NameService((datagrams, connections), ",".join(words[3:]), int(words[2]))
