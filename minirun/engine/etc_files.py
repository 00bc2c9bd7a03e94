"""The three files in /etc that depend on the network, and so are the container's: hosts, hostname, resolv.conf."""

from __future__ import annotations

import os

from minirun import store
from minirun.errors import KernelError
from minirun.network import dns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.register import Container


def write(container: Container) -> None:
    """Write the three files that Docker mounts over the image's: hostname, resolv.conf, and hosts as far as is known.

    The container's own line in hosts has its address, which it gets when it is plugged in (`cable`).
    """
    config, host_config = container.record["Config"], container.record["HostConfig"]
    wishes = dns.Wishes(host_config["Dns"], host_config["DnsSearch"], host_config["DnsOptions"])
    resolv_conf = dns.resolv_conf_of_host_network if host_config["NetworkMode"] == "host" else dns.resolv_conf
    write_in_place(f"{container.directory}/resolv.conf", resolv_conf(dns.host_resolv_conf(), wishes))
    write_in_place(f"{container.directory}/hostname", dns.hostname(config["Hostname"]))
    write_hosts(container, None)


def write_hosts(container: Container, endpoint: dict | None) -> None:
    """Write /etc/hosts, with the container's own line once it has an address."""
    config, host_config = container.record["Config"], container.record["HostConfig"]
    extra = host_config["ExtraHosts"] or ()
    if host_config["NetworkMode"] == "host":
        text = dns.hosts_of_host_network(dns.read("/etc/hosts"), extra)
    elif endpoint:
        text = dns.hosts([(endpoint["IPAddress"], config["Hostname"])], extra, domain=config["Domainname"],
                         gateway=endpoint["Gateway"])
    else:
        text = dns.hosts((), extra, domain=config["Domainname"])
    write_in_place(f"{container.directory}/hosts", text)


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
