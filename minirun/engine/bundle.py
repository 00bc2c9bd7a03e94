"""From a container's record to its bundle: config.json, and what that speaks of (OCI runtime-spec, bundle.md).

The bundle is made anew at each start, in the container's volatile directory. It is all that the runtime will know of
the container: who can read config.json can say what will happen.
"""

from __future__ import annotations

import os

from minirun import store
from minirun.engine import mountpoints, places, specgen, users
from minirun.errors import KernelError
from minirun.image import lookup, overlay
from minirun.image.layout import Layout
from minirun.network import dns
from minirun.trace import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.register import Container


def write(container: Container, size: tuple[int, int] | None = None) -> None:
    """Write the bundle: config.json, the empty directory on which the root will be mounted, the three /etc files.

    Arguments: size, rows and columns of the terminal, if there is one. Errors: EngineError for a user that the image
    does not have; KernelError for a full disk.
    """
    with step("write config.json"):
        record = container.record
        root = overlay.mount(layers_of(container), container.directory, volatile=record["HostConfig"]["AutoRemove"])
        spec = specgen.generate(record, user_of(container, record["Config"]["User"]), root, places)
        if size:
            spec["process"]["consoleSize"] = {"height": size[0], "width": size[1]}
        for source in mountpoints.sources_to_make(record):
            store.make_directory(source, 0o755)
        for point in record["MountPoints"]:
            if point["Propagation"] not in ("", "rprivate"):
                with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mountinfo:
                    mountpoints.check_propagation(point, mountinfo.read())
        store.make_directory(spec["root"]["path"])
        write_etc_files(container)
        store.write(f"{container.run_directory}/config.json", spec)


def layers_of(container: Container) -> list[str]:
    """The directories of the image's layers, lowest first, by the record: the image's name may mean another by now."""
    layout = Layout(f"{places.data}/images")
    return [layout.layer(chain) for chain in container.record["LayerIDs"]]


def user_of(container: Container, wish: str) -> users.User:
    """Who "USER[:GROUP]" is, by the image's and the container's own /etc/passwd and /etc/group."""
    pile = overlay.pile(layers_of(container), container.directory)
    return users.resolve(wish, lookup.read_file(pile, "etc/passwd"), lookup.read_file(pile, "etc/group"),
                         container.record["HostConfig"]["GroupAdd"])


def write_etc_files(container: Container) -> None:
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
