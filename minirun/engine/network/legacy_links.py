"""Legacy links, `--link CONTAINER:ALIAS` on the default bridge: names for containers from before networks had DNS.

A linked container is a line in /etc/hosts and a set of environment variables, both made at each start, and a pair of
firewall rules where containers may not talk to each other (icc=false). On a user-defined network a link is only one
more name for the embedded DNS server; those links are in the endpoint settings (see `endpoint_config`).

    <data root>/containers/ID: record["Links"] = {alias: id of the linked container (the child)}
                               parents/<id of a container that has a link to this one>: they get its new address
"""

from __future__ import annotations

from minirun import store
from minirun.engine.container import index
from minirun.engine.container.container import Container
from minirun.engine.network import sandbox_store
from minirun.engine.spec import env, etc_files
from minirun.errors import BadParameter, EngineError, NoSuchContainer
from minirun.light import TYPE_CHECKING
from minirun.network import predefined
from minirun.trace import step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.engine.daemon import Daemon
    from minirun.network.network import Network


def resolve(daemon: Daemon, links: Sequence[str]) -> dict[str, str]:
    """The links of a new container: alias → id. Arguments: links, "NAME[:ALIAS]" each. Errors: BadParameter."""
    found: dict[str, str] = {}
    for link in links:
        name, _, alias = link.partition(":")
        try:
            linked = _network_owner(index.find(daemon, name))
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


def _network_owner(container: Container) -> Container:
    """The container whose network namespace this one uses (`--network container:NAME`), or itself."""
    while (mode := container.record["HostConfig"]["NetworkMode"]).startswith("container:"):
        container = index.find(container.daemon, mode.partition(":")[2])
    return container


def store_links(container: Container) -> None:
    """Store the links of a new container, which has its name now: in its HostConfig, and with the linked containers."""
    record = container.record
    record["HostConfig"]["Links"] = [
        f"/{Container(container.daemon, other).name}:{record['Name']}/{alias}"
        for alias, other in record["Links"].items()
    ]
    for other in record["Links"].values():
        directory = f"{container.daemon.data_root}/containers/{other}/{sandbox_store.PARENTS}"
        store.make_directory(directory)
        store.write_text(f"{directory}/{container.id}", "")


class Links:
    """The links of a container that is being started.

    `.hosts`, (address, names) of each linked container for /etc/hosts; `.variables`, the environment.
    Errors: EngineError when one of them does not run, or is not on the default bridge.
    """

    def __init__(self, container: Container) -> None:
        self.config, self.name = container.record["Config"], container.record["Name"]
        self.hosts: list[tuple[str, str]] = []
        self.variables: list[str] = []
        for alias, other in container.record["Links"].items():
            self._add(alias, Container(container.daemon, other))

    def _add(self, alias: str, linked: Container) -> None:
        name = _name_of(linked)
        if not linked.exists() or linked.status().state != "running":
            raise EngineError(f"Cannot link to a non running container: {name} AS {self.name}/{alias}")
        endpoint = sandbox_store.endpoints(linked.run_directory).get(predefined.BRIDGE)
        if endpoint is None:
            raise EngineError(f"Cannot link to {name}, as it does not belong to the default network")
        config = linked.record["Config"]
        own = [] if alias == name[1:] else [name[1:]]
        self.hosts.append((endpoint["IPAddress"], " ".join([alias, config["Hostname"], *own])))
        self.variables += variables(alias, f"{self.name}/{alias}", endpoint["IPAddress"], config)

    def process_env(self, terminal: bool, extra: list[str] | None = None) -> list[str]:
        """The environment of a process in the container (see `env.process_env`), with the variables of the links."""
        return env.process_env(self.config, terminal, extra, self.variables)


def _name_of(linked: Container) -> str:
    """Its name with Docker's slash; the short id if it has been removed."""
    try:
        return linked.record["Name"]
    except NoSuchContainer:
        return f"/{linked.id[:12]}"


def variables(alias: str, name: str, address: str, config: dict) -> list[str]:
    """The environment variables for a linked container, in Docker's order (moby, daemon/links: ToEnv).

    Arguments: alias; name, "/container/alias"; address, of the linked container; config, its Config.
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
    given = (entry.partition("=") for entry in config["Env"] or () if "=" in entry)
    lines += [f"{prefix}_ENV_{key}={value}" for key, _, value in given if key not in ("HOME", "PATH")]
    return lines


def _url(number: int, protocol: str, address: str) -> str:
    return f"{protocol}://{address}:{number}"


def _runs(ports: list[tuple[int, str]]) -> list[tuple[tuple[int, str], tuple[int, str]]]:
    """First and last port of each run of two or more consecutive numbers with the same protocol."""
    runs: list[tuple[tuple[int, str], tuple[int, str]]] = []
    for protocol in sorted({protocol for _, protocol in ports}):
        numbers = [number for number, proto in ports if proto == protocol]
        start = 0
        for place in range(1, len(numbers) + 1):
            if place == len(numbers) or numbers[place] != numbers[place - 1] + 1:
                if place - start > 1:
                    runs.append(((numbers[start], protocol), (numbers[place - 1], protocol)))
                start = place
    return runs


def allow_traffic(container: Container, network: Network, endpoint: dict) -> None:
    """Add firewall rules that let a container and its linked ones communicate where icc=false forbids it.

    Arguments: network, the default bridge; endpoint, the container's on it, with which the rules are removed.
    """
    if network.bridge.icc:
        return
    from minirun.network.iptables import apply, chains, endpoint_rules

    changes = []
    for other in (Container(container.daemon, linked) for linked in container.record["Links"].values()):
        linked = sandbox_store.endpoints(other.run_directory).get(predefined.BRIDGE)
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


def update_parents(container: Container, address: str) -> None:
    """Write the new address of a container into /etc/hosts of the running containers that have a link to it."""
    for parent in (
        Container(container.daemon, name) for name in store.names(f"{container.directory}/{sandbox_store.PARENTS}")
    ):
        if not parent.exists():
            store.discard(f"{container.directory}/{sandbox_store.PARENTS}/{parent.id}")
            continue
        if predefined.BRIDGE in sandbox_store.endpoints(parent.run_directory):
            for alias, other in parent.record.get("Links", {}).items():
                if other == container.id:
                    etc_files.update_address(parent, alias, address)
