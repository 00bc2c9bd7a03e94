"""The userland proxy: who cannot be sent on by a firewall rule is served by a program that stands in between.

Rules in nat do not see everybody: a connection to 127.0.0.1, or one by IPv6, or one from a container to its own host
(behind the bridge the answer would go straight back and not be understood). Those reach the socket that is bound to the
published port; Docker starts a `docker-proxy` for each of these sockets, we do it in the container's monitor. The
container sees the bridge's address as client.

Here are the bound sockets, the *doors*, and their epoll(7): all that a monitor at rest needs. What happens behind an
open door is loaded with the first who comes: `streams` for TCP, `datagrams` for UDP.
"""

from __future__ import annotations

import posix as os  # os without its Python half: this stays in a monitor at rest
from select import EPOLLIN, epoll

from minirun.errors import EngineError
from minirun.network.ports import listener
from minirun.network.ports.listener import Listener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.network.ports.proxy_tcp import Streams
    from minirun.network.ports.proxy_udp import Datagrams

#: So many events are served before others get their turn.
EVENTS = 256


class Proxy:
    """All doors of a container and who has come through them: a service of its monitor (see `engine.relay`)."""

    def __init__(self) -> None:
        self.epoll = epoll()
        self.fd = self.epoll.fileno()
        self.deadline: float | None = None
        self.doors: dict[int, Listener] = {}
        self.streams: Streams | None = None
        self.datagrams: Datagrams | None = None

    def open(self, fd: int, mapping: dict) -> None:
        """Serve a mapping on a bound socket (int), which is the proxy's from now on."""
        door = self.doors[fd] = Listener(fd, mapping)
        if door.served:
            self.epoll.register(fd, EPOLLIN)

    def close(self, door: Listener) -> None:
        """Let a port go, and all who have come through it."""
        shut = self.streams is not None and door in self.streams.shut
        for work in (self.streams, self.datagrams):
            if work:
                work.leave(door)
        del self.doors[door.fd]
        if door.served and not shut:
            self.epoll.unregister(door.fd)  # by itself it goes with the last descriptor of its socket, not with this
        door.close()

    def stop(self) -> None:
        """Let all ports go (see `engine.relay.Service`)."""
        for door in list(self.doors.values()):
            self.close(door)

    def serve(self) -> None:
        """Do what there is to do (see `engine.relay.Service`)."""
        for fd, events in self.epoll.poll(0, EVENTS):
            door = self.doors.get(fd)
            if door:
                self._work(door.proto).welcome(door)
            elif not (self.streams and self.streams.serve(fd, events)) and self.datagrams:
                self.datagrams.serve(fd)
        deadlines = [work.tend() for work in (self.streams, self.datagrams) if work]
        self.deadline = min((moment for moment in deadlines if moment is not None), default=None)

    def _work(self, proto: str) -> Streams | Datagrams:
        if proto == "udp":
            if self.datagrams is None:
                from minirun.network.ports.proxy_udp import Datagrams

                self.datagrams = Datagrams(self.epoll)
            return self.datagrams
        if self.streams is None:
            from minirun.network.ports.proxy_tcp import Streams

            self.streams = Streams(self.epoll)
        return self.streams

    def follow(self, mappings: list[dict]) -> None:
        """Serve these mappings and no others: those that have changed are served anew, who used them is let go.

        Errors: EngineError when a port cannot be had; all others are served all the same.
        """
        wanted = {(mapping["Proto"], mapping["HostIP"], mapping["HostPort"]): mapping for mapping in mappings}
        for door in list(self.doors.values()):
            mapping = wanted.pop(door.key(), None)
            target = mapping and (mapping["ContainerIP"], mapping["ContainerPort"])
            if mapping is None or target != door.target:
                kept = os.dup(door.fd) if mapping else -1  # not a moment without it
                self.close(door)
                if mapping:
                    os.set_inheritable(kept, False)
                    self.open(kept, mapping)
        failures: list[EngineError] = []
        for mapping in wanted.values():
            try:
                self.open(listener.bind(mapping).detach(), mapping)
            except EngineError as error:
                failures.append(error)
        for failure in failures:
            raise failure

    # ---- as a service ------------------------------------------------------------------------------------------

    def idle(self) -> bool:
        """Nobody is inside."""
        return not (self.streams and self.streams.connections or self.datagrams and self.datagrams.peers)

    def descriptors(self) -> list[int]:
        """The doors."""
        return list(self.doors)

    def words(self) -> list[str]:
        """For each door all that is to be known of it, in one word."""
        return [
            "/".join(map(str, (fd, *door.key(), *door.target, int(door.served)))) for fd, door in self.doors.items()
        ]


def taken_over(words: list[str]) -> Proxy:
    """The proxy that another program in this process had, of its `words`."""
    proxy = Proxy()
    for word in filter(None, words):
        fd, proto, address, port, inside, inner, served = word.split("/")
        proxy.open(
            int(fd),
            {
                "Proto": proto,
                "HostIP": address,
                "HostPort": int(port),
                "ContainerIP": inside,
                "ContainerPort": int(inner),
                "Hairpin": served == "0",
            },
        )
    return proxy
