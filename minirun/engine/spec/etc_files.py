"""The three files in /etc that depend on the network, and so are the container's: hosts, hostname, resolv.conf.

They are written anew at each start. While the container runs they are edited in place, so that what a process in the
container has added to them stays.
"""

from __future__ import annotations

import os

from minirun import store
from minirun.errors import KernelError
from minirun.light import TYPE_CHECKING
from minirun.network import predefined
from minirun.network.dns import hosts as hosts_file
from minirun.network.dns import resolv_conf as dns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from minirun.engine.container.container import Container
    from minirun.engine.daemon import Daemon


def write(container: Container, links: Iterable[tuple[str, str]] = ()) -> None:
    """Write the three files that Docker mounts over the image's: hostname, resolv.conf, hosts without its own lines.

    The container's own lines in hosts have its addresses, which it gets when it joins its sandbox (`engine.network`).
    Arguments: links, (address, names) of the containers that it is linked to.
    """
    config, mode = container.record["Config"], container.record["HostConfig"]["NetworkMode"]
    resolv_conf = dns.for_host_network if mode == "host" else dns.for_default_bridge
    text = resolv_conf(dns.read_host(), resolver_options(container))
    if any(predefined.is_user_defined(name) for name in container.record["Networks"]):
        text = dns.for_user_network(text)
    write_in_place(f"{container.directory}/resolv.conf", text)
    write_in_place(f"{container.directory}/hostname", hosts_file.hostname(config["Hostname"]))
    write_in_place(f"{container.directory}/hosts", _hosts(container, links))


def _hosts(container: Container, links: Iterable[tuple[str, str]]) -> str:
    """/etc/hosts without the container's own lines."""
    host_config = container.record["HostConfig"]
    extra = host_config["ExtraHosts"] or ()
    gateway = _host_gateway(container.daemon) if any(entry.endswith(":host-gateway") for entry in extra) else ""
    if host_config["NetworkMode"] == "host":
        return hosts_file.for_host_network(dns.read("/etc/hosts"), extra, gateway=gateway)
    return hosts_file.render((), extra, gateway=gateway, links=links)


def _host_gateway(daemon: Daemon) -> str:
    """The address that --add-host NAME:host-gateway stands for: the host's own on the default bridge."""
    return daemon.networks.ensure_default().bridge.gateway


def resolver_options(container: Container) -> dns.ResolverOptions:
    """--dns, --dns-search and --dns-option, and for each that was not given the config file's setting."""
    host_config, settings = container.record["HostConfig"], container.daemon.settings
    return dns.ResolverOptions(
        host_config["Dns"] or settings.dns,
        host_config["DnsSearch"] or settings.dns_search,
        host_config["DnsOptions"] or settings.dns_opts,
    )


def use_embedded_dns(container: Container) -> None:
    """Point a running container's resolv.conf at the embedded DNS server."""
    path = f"{container.directory}/resolv.conf"
    text = dns.read(path)
    if dns.EMBEDDED_SERVER not in dns.nameservers(text):
        write_in_place(path, dns.for_user_network(text))


def add_own_entries(container: Container, endpoint: dict) -> None:
    """Add the container's own lines for a network to /etc/hosts."""
    config = container.record["Config"]
    addresses = [endpoint["IPAddress"], endpoint.get("GlobalIPv6Address", "")]
    lines = [
        hosts_file.own_entry(address, config["Hostname"], config["Domainname"]) for address in addresses if address
    ]
    path = f"{container.directory}/hosts"
    text = dns.read(path)
    write_in_place(path, "".join([text, "\n" if text and not text.endswith("\n") else "", *lines]))


def remove_entries(container: Container, names: Iterable[str]) -> None:
    """Take the lines that end with one of these names out of /etc/hosts."""
    path = f"{container.directory}/hosts"
    write_in_place(path, hosts_file.without_names(dns.read(path), names))


def update_address(container: Container, name: str, address: str) -> None:
    """Give the line that begins with this name another address."""
    path = f"{container.directory}/hosts"
    write_in_place(path, hosts_file.with_new_address(dns.read(path), address, name))


def write_in_place(path: str, text: str) -> None:
    """Write a file that a container has mounted: one that is renamed over it would be another file."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, text.encode("utf-8", "surrogateescape"))
        finally:
            os.close(fd)
    except OSError as reason:
        raise KernelError(f"write {path}", reason.errno or 0, hint=store.disk_hint(reason)) from None
