"""A container's sandbox (libnetwork): its network namespace, joined to networks by endpoints.

Each endpoint is a veth pair (the container's cable) with one end in the namespace. What is made is stored in cable.json
before it is made, for the clean-up (see `sandbox_store`). The namespace gets a name below /run/netns, so that
`ip netns exec NAME ...` works.
"""

from __future__ import annotations

from minirun import store
from minirun.engine.network import endpoint_config, sandbox_store
from minirun.engine.spec import etc_files
from minirun.light import TYPE_CHECKING
from minirun.network import gc, predefined
from minirun.network.bridge import endpoint as bridge_endpoint
from minirun.network.bridge import netns

if TYPE_CHECKING:
    from minirun.engine.container.container import Container
    from minirun.engine.shim.relay import Service
    from minirun.network.network import Network


def join(container: Container, pid: int, services: list[Service]) -> None:
    """Join the network namespace of a container's process to the container's networks.

    With `--network none` the namespace gets a loopback interface and a name; with `--network host` it is only noted.

    Arguments: pid (int); services, those of the container's shim, to which the network's are appended.
    """
    record = container.record
    mode = record["HostConfig"]["NetworkMode"]
    if mode.startswith("container:"):
        from minirun.engine.network import shared_netns  # a shared namespace belongs to the other container's sandbox

        shared_netns.verify(container, pid)
        return
    sandbox = sandbox_store.new(container.name if mode != "host" else "", netns.inode(pid))
    # Written now: addresses that are reserved after this, and not stored as an endpoint yet, are found by their owner.
    sandbox_store.write(container.run_directory, sandbox)
    networks = {
        network.name: network
        for network in (_ensure_network(container, name) for name in endpoint_config.join_order(record))
    }
    for network in networks.values():
        sandbox["Endpoints"][network.name] = create_endpoint(container, network, record["Networks"][network.name])
    for endpoint in sandbox_store.gateway_order(sandbox):
        sandbox_store.assign_interface(sandbox, endpoint)
    if any(map(predefined.is_user_defined, networks)):
        from minirun.engine.network import dns_service  # not on the default bridge

        sandbox["Resolver"] = dns_service.resolver_config(container)
    sandbox_store.write(container.run_directory, sandbox)
    if mode != "host":
        _join_endpoints(container, sandbox, networks, pid)
        if sandbox["Resolver"]:
            services.append(dns_service.start(container.run_directory, sandbox, pid))
        _publish_ports(container, sandbox, services)
        if record.get("Links") and predefined.BRIDGE in networks:
            from minirun.engine.network import legacy_links

            legacy_links.allow_traffic(container, networks[predefined.BRIDGE], sandbox["Endpoints"][predefined.BRIDGE])
        netns.publish(pid, container.name)  # unless another program has that name


def _ensure_network(container: Container, name: str) -> Network:
    """A network that is set up. Errors: NoSuchNetwork; MinirunError when it cannot be set up."""
    controller = container.daemon.networks
    network = controller.find(name)
    controller.ensure(network)
    return network


def create_endpoint(container: Container, network: Network, settings: dict) -> dict:
    """Create a container's endpoint on a network, which reserves its addresses.

    Arguments: settings, the endpoint settings, to which the network's id and the default aliases are added.
    Errors: EngineError, as Docker's.
    """
    record = container.record
    endpoint_config.add_default_aliases(record, network.name, settings)
    if network.has_bridge:
        bridge_endpoint.check_requested_addresses(network, settings["IPAMConfig"] or {})
    endpoint_config.check_addresses(settings["IPAMConfig"] or {})
    requested = {**(settings["IPAMConfig"] or {}), "MacAddress": endpoint_config.requested_mac(record, network.name)}
    endpoint = bridge_endpoint.create(network, container.id, requested)
    settings["NetworkID"] = network.id
    names = [] if record.get("Anonymous") else [container.name]
    endpoint.update(
        Aliases=settings["Aliases"],
        Links=settings["Links"],
        IPAMConfig=settings["IPAMConfig"],
        DNSNames=[*names, *(settings["Aliases"] or ())],
    )
    if network.record["Internal"]:
        endpoint["Internal"] = True
    return endpoint


def _join_endpoints(container: Container, sandbox: dict, networks: dict[str, Network], pid: int) -> None:
    """Make the veth pairs, in the order of their interface names, and write the container's lines in /etc/hosts."""
    joined = sandbox_store.gateway_order(sandbox)
    if not joined:
        bridge_endpoint.set_up_loopback(pid)
    for endpoint in joined:
        bridge_endpoint.join(networks[endpoint["Network"]], endpoint, pid, default_route=endpoint is joined[0])
    sandbox_store.write(container.run_directory, sandbox)  # the kernel may have chosen another ifindex
    for endpoint in sandbox["Endpoints"].values():
        if endpoint["IPAddress"]:
            etc_files.add_own_entries(container, endpoint)
    if predefined.BRIDGE in sandbox["Endpoints"] and store.exists(f"{container.directory}/{sandbox_store.PARENTS}"):
        from minirun.engine.network import legacy_links  # few containers are linked

        legacy_links.update_parents(container, sandbox["Endpoints"][predefined.BRIDGE]["IPAddress"])


def _publish_ports(container: Container, sandbox: dict, services: list[Service]) -> None:
    if not endpoint_config.publishes_ports(container.record):
        return
    if any(map(sandbox_store.has_external_access, sandbox_store.gateway_order(sandbox)[:1])):
        from minirun.engine.network import port_bindings  # most containers publish none

        services.append(port_bindings.publish(container, sandbox))


def leave(container: Container) -> None:
    """Undo `join` and `network connect`; what is gone already is passed over."""
    with sandbox_store.lock(container.run_directory):
        sandbox = sandbox_store.read(container.run_directory)
        exec_root = container.daemon.exec_root
        if sandbox["Name"]:
            netns.withdraw(sandbox["Name"], sandbox["Inode"])
        # The kernel removes the namespace with the last process in it, and the veth pairs with the namespace. If
        # another container may still be in it, they are deleted now, as Docker does.
        shared = store.exists(f"{container.run_directory}/{sandbox_store.JOINED}")
        for endpoint in sandbox["Endpoints"].values():
            if endpoint["IPAddress"]:
                bridge_endpoint.disconnect(exec_root, endpoint, unplug=shared)
        if not sandbox["Endpoints"] or sandbox.get("Pending"):  # killed before it has stored what it had reserved
            gc.release_all(exec_root, container.id)
        if sandbox["Ports"] != []:
            from minirun.network.ports import portmapper

            portmapper.unpublish(exec_root, container.id, sandbox["Ports"])
