"""A container's embedded DNS server, a service of its shim, and the service records that it answers from.

There is no database of names beside the files that exist anyway. A network's directory in the exec root has a file for
each address in use, which names the container that owns it, and that container's cable.json has its DNS names. A
container that starts, exits, connects or disconnects changes the directory, so a query costs one stat(2): only when the
mtime has changed is the directory read again, and of its files only the new ones.

A name can be resolved before its container's first instruction, and no longer when the container has exited.
"""

from __future__ import annotations

import time

from minirun import store
from minirun.engine.network import sandbox_store
from minirun.errors import MinirunError
from minirun.light import TYPE_CHECKING, os, socket
from minirun.network import predefined
from minirun.network.dns import message
from minirun.network.dns.forwarder import Server
from minirun.network.dns.server import Resolver

if TYPE_CHECKING:
    from collections.abc import Iterable

    from minirun.engine.container.container import Container
    from minirun.engine.shim.relay import Relay

#: The resolution of mtime in nanoseconds (a jiffy): a directory that was changed less than that ago may change again
#: with the same mtime.
JIFFY = 20_000_000


class ServiceRecords:
    """The service records of one network, as one container sees them (see `lookup.ServiceRecords`).

    Arguments: exec_root (str); endpoint (dict), the container's endpoint on the network.
    """

    def __init__(self, exec_root: str, endpoint: dict) -> None:
        self.exec_root, self.id, self.name = exec_root, endpoint["NetworkID"], endpoint["Network"]
        self.directory = f"{exec_root}/networks/{self.id}"
        self.links = {
            alias or name: name for name, _, alias in (link.partition(":") for link in endpoint.get("Links") or ())
        }
        self.mtime = -1
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
        """Read the directory again if it has changed."""
        try:
            mtime = os.stat(self.directory).st_mtime_ns
            if mtime != self.mtime:
                complete = self._read()
                self.mtime = mtime if complete and time.time_ns() - mtime > JIFFY else -1
        except FileNotFoundError:  # the network was removed by force
            self._index({})
        except OSError:  # EMFILE: the records of the last time are used, and the next query tries again
            self.mtime = -1

    def _read(self) -> bool:
        """Read the directory. Returns: whether the owner's names were found for every address."""
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
        """The DNS names of an address's owner; [] while its endpoint is not stored yet, or no longer."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                owner = os.read(fd, 256).decode().partition(" ")[0]
            finally:
                os.close(fd)
            endpoints = sandbox_store.endpoints(f"{self.exec_root}/containers/{owner}").values()
            return next(endpoint["DNSNames"] for endpoint in endpoints if endpoint["NetworkID"] == self.id)
        except (OSError, MinirunError, LookupError, StopIteration):
            return []

    def _index(self, known: dict[tuple[str, int], list[str]]) -> None:
        self.known = known
        self.by_name, self.by_address = {}, {}
        for (address, _), names in known.items():
            packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
            self.by_address[packed] = names[0]
            for name in {name.lower() for name in names}:
                self.by_name.setdefault(name, []).append(packed)


class NameService(Resolver):
    """The embedded DNS server of one container (a `relay.Service`).

    Arguments: sockets, UDP and TCP; run_directory (str), the container's; pid (int), of its first process.
    """

    def __init__(self, sockets: tuple[socket.socket, socket.socket], run_directory: str, pid: int) -> None:
        self.run_directory, self.pid = run_directory, pid
        self.exec_root = run_directory.rpartition("/containers/")[0]
        self.seen = (-1, -1)
        self.records: list[ServiceRecords] = []
        config = store.read(f"{run_directory}/{sandbox_store.FILE}")["Resolver"]
        self.servers = [Server(address, on_host=on_host) for address, on_host in config["Servers"]]
        super().__init__(sockets, self._networks, self.servers, self._open_in_netns, config["Ndots"])

    def restore_args(self) -> list[str]:
        """See `relay.Service`. A path with commas is split there, and joined again by `restore`."""
        return [*map(str, self.descriptors()), str(self.pid), self.run_directory]

    def _open_in_netns(self, kind: int, count: int) -> list[socket.socket]:
        from minirun.network.dns import listen_in_netns  # only needed once a query has to be forwarded

        return listen_in_netns.sockets_in(f"/proc/{self.pid}/ns/net", kind, count)

    def _networks(self) -> list[ServiceRecords]:
        """The service records of the container's networks, in Docker's order."""
        try:
            status = os.stat(f"{self.run_directory}/{sandbox_store.FILE}")
            if (status.st_ino, status.st_mtime_ns) != self.seen:
                endpoints = store.read(f"{self.run_directory}/{sandbox_store.FILE}")["Endpoints"].values()
                self.records = [
                    ServiceRecords(self.exec_root, endpoint)
                    for endpoint in sorted(endpoints, key=sandbox_store.gateway_rank)
                    if not predefined.is_predefined(endpoint["Network"])  # those have no names
                ]
                self._restrict_forwarding(endpoints)
                self.seen = (status.st_ino, status.st_mtime_ns)
        except FileNotFoundError:  # the container is being taken down
            self.records = []
        except (OSError, MinirunError):  # EMFILE, or a damaged file: the records of the last time are used
            self.seen = (-1, -1)
        for records in self.records:
            records.refresh()
        return self.records

    def _restrict_forwarding(self, endpoints: Iterable[dict]) -> None:
        """On internal networks alone, do not query servers from the host: a query would be a way out of the network."""
        internal = all("Internal" in endpoint for endpoint in endpoints)
        self.forwarder.servers = [server for server in self.servers if not (internal and server.on_host)]


def resolver_config(container: Container) -> dict:
    """The "Resolver" of a container's cable.json.

    "Servers", [address, whether it is queried from the host's namespace] each; "Ndots", whether that option was given;
    "tcp" and "udp", the ports, which are 0 until the server has been started.
    """
    from minirun.engine.spec import etc_files
    from minirun.network.dns import resolv_conf

    host, options = resolv_conf.read_host(), etc_files.resolver_options(container)
    return {
        "tcp": 0,
        "udp": 0,
        "Servers": resolv_conf.forwarders(host, options),
        "Ndots": resolv_conf.has_ndots(resolv_conf.for_default_bridge(host, options)),
    }


def start(run_directory: str, sandbox: dict, pid: int) -> NameService:
    """Start a container's DNS server, in its shim.

    Arguments: sandbox, its cable.json, whose "Resolver" gets the ports and is written; pid (int), of its first process.
    Errors: MinirunError; what has been made by then is removed with the container's network namespace.
    """
    from minirun.kernel import process
    from minirun.network.dns import listen_in_netns

    sockets = listen_in_netns.open_sockets(f"/proc/{pid}/ns/net")
    sandbox["Resolver"]["udp"], sandbox["Resolver"]["tcp"] = (sock.getsockname()[1] for sock in sockets)
    sandbox_store.write(run_directory, sandbox)
    process.raise_open_files_limit()  # each forwarded query takes one
    return NameService(sockets, run_directory, pid)


def update(relay: Relay, run_directory: str) -> None:
    """In the shim: start the DNS server if it is needed now. Once started it is kept, also on the default bridge."""
    if any(isinstance(service, NameService) for service in relay.services):
        return
    with sandbox_store.lock(run_directory):
        sandbox = sandbox_store.read(run_directory)
        if sandbox["Resolver"]:
            relay.services.append(start(run_directory, sandbox, relay.pid))


def restore(args: list[str]) -> NameService:
    """The DNS server of the shim before its re-exec, from its `restore_args`."""
    udp, tcp = (socket.socket(fileno=int(word)) for word in args[:2])
    return NameService((udp, tcp), ",".join(args[3:]), int(args[2]))
