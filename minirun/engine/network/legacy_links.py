"""`--link CONTAINER:ALIAS` on the default bridge: Docker's first way to find another container, before it had names.

A linked container is a line in /etc/hosts and a set of variables, both made at each start, and a pair of firewall rules
where containers may not talk to each other (icc=false). On a network of the user's own a link is no more than one more
name for the name service; that kind is in the wish of the network (see `wishes`).

    <data>/containers/ID: record["Links"] = {alias: id of the linked one}
                          parents/<id of one that has a link here>: its address has to be told to them
"""

from __future__ import annotations

from minirun import store
from minirun.engine.container import index
from minirun.engine.container.container import Container
from minirun.engine.shim import run_state
from minirun.engine.spec import env, etc_files
from minirun.errors import BadParameter, EngineError, NoSuchContainer
from minirun.network import predefined
from minirun.trace import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.engine.daemon import Daemon
    from minirun.network.network import Network


def resolve(daemon: Daemon, links: Sequence[str]) -> dict[str, str]:
    """The links of a new container, alias → id. Arguments: links, "NAME[:ALIAS]" each. Errors: BadParameter."""
    found: dict[str, str] = {}
    for link in links:
        name, _, alias = link.partition(":")
        try:
            linked = _behind(index.find(daemon, name))
        except NoSuchContainer as error:
            reason = error.message if name else 'invalid name or ID supplied: ""'
            raise BadParameter(f"could not get container for {name}: {reason}") from None
        if linked.record["HostConfig"]["NetworkMode"] == "host":
            raise BadParameter(
                "conflicting options: host type networking can't be used with links. This would result "
                "in undefined behavior"
            )
        found.setdefault((alias if ":" in link else name).rpartition("/")[2], linked.id)
    return found


def _behind(container: Container) -> Container:
    """The container that has the network which this one uses."""
    while (mode := container.record["HostConfig"]["NetworkMode"]).startswith("container:"):
        container = index.find(container.daemon, mode.partition(":")[2])
    return container


def write_down(container: Container) -> None:
    """Note the links of a new container where they will be looked for; it has its name now."""
    record = container.record
    record["HostConfig"]["Links"] = [
        f"/{Container(container.daemon, other).name}:{record['Name']}/{alias}"
        for alias, other in record["Links"].items()
    ]
    for other in record["Links"].values():
        directory = f"{container.daemon.data_root}/containers/{other}/{run_state.PARENTS}"
        store.make_directory(directory)
        store.write_text(f"{directory}/{container.id}", "")


class Links:
    """What a container is told of those that it is linked to: `.hosts`, (address, names) of each; `.endpoints`.

    Errors: EngineError when one of them does not run, or is not on the default bridge.
    """

    def __init__(self, container: Container) -> None:
        self.config, self.name = container.record["Config"], container.record["Name"]
        self.hosts: list[tuple[str, str]] = []
        self.variables: list[str] = []
        self.endpoints: list[dict] = []
        for alias, other in container.record["Links"].items():
            self._add(alias, Container(container.daemon, other))

    def _add(self, alias: str, linked: Container) -> None:
        name = _name_of(linked)
        if not linked.exists() or linked.status().state != "running":
            raise EngineError(f"Cannot link to a non running container: {name} AS {self.name}/{alias}")
        endpoint = run_state.endpoints_of(linked.run_directory).get(predefined.BRIDGE)
        if endpoint is None:
            raise EngineError(f"Cannot link to {name}, as it does not belong to the default network")
        config = linked.record["Config"]
        own = [] if alias == name[1:] else [name[1:]]
        self.hosts.append((endpoint["IPAddress"], " ".join([alias, config["Hostname"], *own])))
        self.endpoints.append(endpoint)
        self.variables += variables(alias, f"{self.name}/{alias}", endpoint["IPAddress"], config)

    def environment_of_process(self, terminal: bool, extra: list[str] | None = None) -> list[str]:
        """The container's environment (see `environment.of_process`) with what it says of the linked ones."""
        return env.of_process(self.config, terminal, extra, self.variables)


def _name_of(linked: Container) -> str:
    """Its name with Docker's slash; of one that has been removed, as much as is known."""
    try:
        return linked.record["Name"]
    except NoSuchContainer:
        return f"/{linked.id[:12]}"


def variables(alias: str, name: str, address: str, config: dict) -> list[str]:
    """The variables that speak of a linked container, in Docker's order (its package `links`).

    Arguments: alias; name, "/container/alias"; address; config, the linked container's.
    """
    prefix = alias.upper().replace("-", "_")
    ports = sorted(
        (int(number), protocol)
        for number, _, protocol in (port.partition("/") for port in config.get("ExposedPorts") or {})
    )
    lines = []
    if ports:
        lines.append(f"{prefix}_PORT={_url(*ports[0], address)}")
    for first, last in _runs(ports):
        start, number, protocol = f"{prefix}_PORT_{first[0]}_{first[1].upper()}", first[0], first[1]
        lines += [
            f"{start}_START={_url(number, protocol, address)}",
            f"{start}_ADDR={address}",
            f"{start}_PROTO={protocol}",
            f"{start}_PORT_START={number}",
            f"{start}_END={_url(last[0], protocol, address)}",
            f"{start}_PORT_END={last[0]}",
        ]
    for number, protocol in ports:
        one = f"{prefix}_PORT_{number}_{protocol.upper()}"
        lines += [
            f"{one}={_url(number, protocol, address)}",
            f"{one}_ADDR={address}",
            f"{one}_PORT={number}",
            f"{one}_PROTO={protocol}",
        ]
    lines.append(f"{prefix}_NAME={name}")
    told = (entry.partition("=") for entry in config["Env"] or () if "=" in entry)
    lines += [f"{prefix}_ENV_{key}={value}" for key, _, value in told if key not in ("HOME", "PATH")]
    return lines


def _url(number: int, protocol: str, address: str) -> str:
    return f"{protocol}://{address}:{number}"


def _runs(ports: list[tuple[int, str]]) -> list[tuple[tuple[int, str], tuple[int, str]]]:
    """First and last of each run of two or more tcp or udp ports with numbers in a row."""
    runs: list[tuple[tuple[int, str], tuple[int, str]]] = []
    for protocol in sorted({protocol for _, protocol in ports}):
        numbers = [number for number, theirs in ports if theirs == protocol]
        start = 0
        for place in range(1, len(numbers) + 1):
            if place == len(numbers) or numbers[place] != numbers[place - 1] + 1:
                if place - start > 1:
                    runs.append(((numbers[start], protocol), (numbers[place - 1], protocol)))
                start = place
    return runs


def let_through(container: Container, network: Network, endpoint: dict) -> None:
    """Have the firewall let a container speak with those it is linked to, where containers may not otherwise.

    Arguments: network, the default one; endpoint, the container's on it. The rules go with the endpoint.
    """
    if network.bridge.icc:
        return
    from minirun.network.iptables import apply, chains, endpoint_rules

    changes = []
    for other in (Container(container.daemon, linked) for linked in container.record["Links"].values()):
        linked = run_state.endpoints_of(other.run_directory).get(predefined.BRIDGE)
        ports = [
            (protocol, int(number))
            for number, _, protocol in (
                port.partition("/") for port in other.record["Config"].get("ExposedPorts") or {}
            )
        ]
        if linked:
            changes += chains.link_rules(network.bridge, endpoint["IPAddress"], linked["IPAddress"], ports)
    if changes:
        with step("let linked containers speak with each other"), apply.writing(container.daemon.exec_root) as lock:
            endpoint_rules.add(network.directory, endpoint, changes, known=lock.known)


def tell_parents(container: Container, address: str) -> None:
    """Let running containers that are linked to this one know its address, which may be another than before."""
    for parent in (
        Container(container.daemon, name) for name in store.names(f"{container.directory}/{run_state.PARENTS}")
    ):
        if not parent.exists():
            store.discard(f"{container.directory}/{run_state.PARENTS}/{parent.id}")
            continue
        if predefined.BRIDGE in run_state.endpoints_of(parent.run_directory):
            for alias, other in parent.record.get("Links", {}).items():
                if other == container.id:
                    etc_files.renew_line(parent, alias, address)
