"""A container's cables: its network namespace is plugged into its networks, and gets a name for the standard tools.

What is plugged in is noted in the container's volatile directory, before it is used, where the clean-up looks:

    cable.json = {"Name", "Inode"      the namespace under its name in /run/netns
                  "Endpoints"          network → endpoint (`network.bridge.endpoint`); the first has the default route
                  "Interfaces"         {"eth": how many there have been}: none is used again
                  "Ports", "Resolver"  what the monitor serves; Ports is null while more may be reserved than is noted
                  "Pending"}           something may have been reserved that is not in "Endpoints" yet

With several networks the way out leads through one of them: `ways_out` says which, by Docker's rule.
"""

from __future__ import annotations

from minirun import store
from minirun.engine.network import endpoint_config
from minirun.engine.shim import run_state
from minirun.engine.spec import etc_files
from minirun.network import gc, predefined
from minirun.network.bridge import endpoint as bridge_endpoint
from minirun.network.bridge import netns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.container.container import Container
    from minirun.engine.shim.relay import Service
    from minirun.network.network import Network


def plug_in(container: Container, pid: int, services: list[Service]) -> None:
    """Plug the network namespace of the container's process into the container's networks.

    With `--network none` there is a loopback and a name, with `--network host` nothing but a note.

    Arguments: pid (int); services, of the container's monitor, to which those are added that the network needs.
    """
    record = container.record
    mode = record["HostConfig"]["NetworkMode"]
    if mode.startswith("container:"):
        from minirun.engine.network import shared_netns  # a container that shares another one's has no cable of its own

        shared_netns.ensure_joined(container, pid)
        return
    note: dict = {
        "Name": container.name if mode != "host" else "",
        "Inode": netns.inode(pid),
        "Endpoints": {},
        "Interfaces": {},
        "Ports": [],
        "Resolver": None,
    }
    write(container, note)  # an address without an endpoint in the note is found by its owner
    found = {network.name: network for network in (find(container, name) for name in endpoint_config.in_order(record))}
    for network in found.values():
        note["Endpoints"][network.name] = reserve(container, network, record["Networks"][network.name])
    for endpoint in ways_out(note):
        number(note, endpoint)
    if any(map(predefined.is_user_defined, found)):
        from minirun.engine.network import dns_service  # not before one is needed

        note["Resolver"] = dns_service.wish(container)
    write(container, note)
    if mode != "host":
        _lay(container, note, found, pid)
        if note["Resolver"]:
            services.append(dns_service.start(container.run_directory, note, pid))
        if endpoint_config.publishes(record) and any(map(run_state.leads_out, ways_out(note)[:1])):
            from minirun.engine.network import port_bindings  # few containers are reached from outside

            services.append(port_bindings.publish(container, note))
        if record.get("Links") and predefined.BRIDGE in found:
            from minirun.engine.network import legacy_links

            legacy_links.let_through(container, found[predefined.BRIDGE], note["Endpoints"][predefined.BRIDGE])
        # A name that somebody has already is left to him.
        netns.publish(pid, container.name)


def write(container: Container, note: dict) -> None:
    """Write down what is plugged in."""
    store.write(f"{container.run_directory}/{run_state.CABLE}", note)


def find(container: Container, word: str) -> Network:
    """A network, laid. Errors: NoSuchNetwork; MinirunError when it cannot be."""
    controller = container.daemon.networks
    network = controller.find(word)
    controller.ensure(network)
    return network


def reserve(container: Container, network: Network, wish: dict) -> dict:
    """A place on a network for a container. Errors: EngineError in Docker's words.

    The wish is completed: with the network's id and the names that a container always has.
    """
    record = container.record
    endpoint_config.complete(record, network.name, wish)
    if network.has_bridge:
        bridge_endpoint.check_requested_addresses(network, wish["IPAMConfig"] or {})
    endpoint_config.check_addresses(wish["IPAMConfig"] or {})
    wanted = {**(wish["IPAMConfig"] or {}), "MacAddress": endpoint_config.mac_of(record, network.name)}
    endpoint = bridge_endpoint.create(network, container.id, wanted)
    wish["NetworkID"] = network.id
    names = [] if record.get("Anonymous") else [container.name]
    endpoint.update(
        Aliases=wish["Aliases"],
        Links=wish["Links"],
        IPAMConfig=wish["IPAMConfig"],
        DNSNames=[*names, *(wish["Aliases"] or ())],
    )
    if network.record["Internal"]:
        endpoint["Internal"] = True
    return endpoint


def ways_out(note: dict) -> list[dict]:
    """The endpoints that could have the default route, the one that has it first.

    Docker's order: internal networks last, those with an IPv6 gateway before those without, then by name.
    """
    return sorted(
        (endpoint for endpoint in note["Endpoints"].values() if endpoint.get("Gateway")),
        key=lambda endpoint: ("Internal" in endpoint, not endpoint.get("IPv6Gateway"), endpoint["Network"]),
    )


def number(note: dict, endpoint: dict) -> None:
    """Give an endpoint its interface: the next ethN, never one that was there before."""
    if endpoint["IPAddress"]:
        prefix = endpoint["Interface"].rstrip("0123456789")
        count = note["Interfaces"].get(prefix, 0)
        endpoint["Interface"] = f"{prefix}{count}"
        note["Interfaces"][prefix] = count + 1


def _lay(container: Container, note: dict, found: dict[str, Network], pid: int) -> None:
    """Lay the cables, in the order of their interfaces, and say in /etc/hosts who the container is."""
    laid = ways_out(note)
    if not laid:
        bridge_endpoint.set_up_loopback(pid)
    for endpoint in laid:
        bridge_endpoint.join(found[endpoint["Network"]], endpoint, pid, default_route=endpoint is laid[0])
    write(container, note)  # the kernel may have given a device another number
    for endpoint in note["Endpoints"].values():
        if endpoint["IPAddress"]:
            etc_files.add_own_lines(container, endpoint)
    if predefined.BRIDGE in note["Endpoints"] and store.exists(f"{container.directory}/{run_state.PARENTS}"):
        from minirun.engine.network import legacy_links  # few containers are linked

        legacy_links.tell_parents(container, note["Endpoints"][predefined.BRIDGE]["IPAddress"])


def unplug(container: Container) -> None:
    """Take away what `plug_in` and `network connect` made; fine when some of it is gone already."""
    with run_state.plugging(container.run_directory):
        note = run_state.cable_of(container.run_directory)
        if note["Name"]:
            netns.withdraw(note["Name"], note["Inode"])
        # The kernel takes the namespace down with the last process in it, and the cables with that; if there may be one
        # of another container, they are pulled out now, as Docker does.
        shared = store.exists(f"{container.run_directory}/{run_state.JOINED}")
        for endpoint in note["Endpoints"].values():
            if endpoint["IPAddress"]:
                bridge_endpoint.disconnect(container.daemon.exec_root, endpoint, unplug=shared)
        if not note["Endpoints"] or note.get("Pending"):  # killed before it could write down what it had reserved
            gc.release_all(container.daemon.exec_root, container.id)
        if note["Ports"] != []:
            from minirun.network.ports import portmapper

            portmapper.unpublish(container.daemon.exec_root, container.id, note["Ports"])
