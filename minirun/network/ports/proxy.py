"""The userland proxy: it serves the connections to a published port that no NAT rule redirects (docker-proxy).

Those are connections to 127.0.0.1, connections by IPv6, and connections from a container to its own host (with DNAT the
reply would go to the container directly, from an address that it did not connect to). They reach the socket that is
bound to the published port. Docker starts a `docker-proxy` for each of these sockets; here the container's shim serves
them all. The container sees the bridge's address as the client.

This module has the listeners and their epoll(7): all that the re-exec'ed idle shim needs. What moves the data is loaded
with the first connection: `proxy_tcp` or `proxy_udp`.
"""

from __future__ import annotations

from select import EPOLLIN, epoll

from minirun.errors import EngineError
from minirun.light import TYPE_CHECKING, os
from minirun.network.ports import listener
from minirun.network.ports.listener import Listener

if TYPE_CHECKING:
    from minirun.network.ports.proxy_tcp import TCPProxy
    from minirun.network.ports.proxy_udp import UDPProxy

#: Events that are served in one turn, before the shim's other services have theirs.
EVENTS = 256


class Proxy:
    """All listeners of a container and their connections: a service of its shim (see `engine.shim.relay`)."""

    def __init__(self) -> None:
        self.epoll = epoll()
        self.fd = self.epoll.fileno()
        self.deadline: float | None = None
        self.listeners: dict[int, Listener] = {}
        self.tcp: TCPProxy | None = None
        self.udp: UDPProxy | None = None

    def open(self, fd: int, mapping: dict) -> None:
        """Serve a mapping on a bound socket. Arguments: fd (int), which the proxy closes from now on."""
        opened = self.listeners[fd] = Listener(fd, mapping)
        if opened.served:
            self.epoll.register(fd, EPOLLIN)

    def close(self, closing: Listener) -> None:
        """Close a listener, and all connections that came through it."""
        paused = self.tcp is not None and closing in self.tcp.paused
        for handler in (self.tcp, self.udp):
            if handler:
                handler.close_listener(closing)
        del self.listeners[closing.fd]
        if closing.served and not paused:
            self.epoll.unregister(closing.fd)  # epoll would drop it only with the last descriptor of its socket
        closing.close()

    def stop(self) -> None:
        """Close all listeners (see `engine.shim.relay.Service`)."""
        for opened in list(self.listeners.values()):
            self.close(opened)

    def serve(self) -> None:
        """Handle what is ready (see `engine.shim.relay.Service`)."""
        for fd, events in self.epoll.poll(0, EVENTS):
            opened = self.listeners.get(fd)
            if opened:
                self._handler(opened.proto).accept(opened)
            elif not (self.tcp and self.tcp.serve(fd, events)) and self.udp:
                self.udp.serve(fd)
        deadlines = [handler.run_pending() for handler in (self.tcp, self.udp) if handler]
        self.deadline = min((moment for moment in deadlines if moment is not None), default=None)

    def _handler(self, proto: str) -> TCPProxy | UDPProxy:
        if proto == "udp":
            if self.udp is None:
                from minirun.network.ports.proxy_udp import UDPProxy

                self.udp = UDPProxy(self.epoll)
            return self.udp
        if self.tcp is None:
            from minirun.network.ports.proxy_tcp import TCPProxy

            self.tcp = TCPProxy(self.epoll)
        return self.tcp

    def update(self, mappings: list[dict]) -> None:
        """Serve these mappings and no others; the connections of those that have changed are closed.

        Errors: EngineError when a port cannot be bound; all others are served all the same.
        """
        wanted = {(mapping["Proto"], mapping["HostIP"], mapping["HostPort"]): mapping for mapping in mappings}
        for opened in list(self.listeners.values()):
            mapping = wanted.pop(opened.key(), None)
            target = mapping and (mapping["ContainerIP"], mapping["ContainerPort"])
            if mapping is None or target != opened.target:
                kept = os.dup(opened.fd) if mapping else -1  # so that the port stays bound all the time
                self.close(opened)
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
        """Whether there are no connections."""
        return not (self.tcp and self.tcp.connections or self.udp and self.udp.clients)

    def descriptors(self) -> list[int]:
        """The listeners' sockets."""
        return list(self.listeners)

    def restore_args(self) -> list[str]:
        """The state of each listener, serialised as one word for the command line of the re-exec'ed shim."""
        return [
            "/".join(map(str, (fd, *each.key(), *each.target, int(each.served)))) for fd, each in self.listeners.items()
        ]


def restore(args: list[str]) -> Proxy:
    """The proxy of the shim before its re-exec, from its `restore_args`."""
    proxy = Proxy()
    for arg in filter(None, args):
        fd, proto, address, port, container_ip, container_port, served = arg.split("/")
        proxy.open(
            int(fd),
            {
                "Proto": proto,
                "HostIP": address,
                "HostPort": int(port),
                "ContainerIP": container_ip,
                "ContainerPort": int(container_port),
                "Hairpin": served == "0",
            },
        )
    return proxy
