"""From a record to a running container and back: each step up, and the way down that undoes it.

`bring_up` is what happens between the fork of the monitor and the first instruction of the program; `take_down` undoes
it and may be called twice, or by somebody else: when a monitor was killed, the next command that looks at the
container finds it and clears up (`clear_dead`).
"""

from __future__ import annotations

import os

from minirun import store
from minirun.engine import mountpoints, places, register, specgen, times, users, watch
from minirun.errors import KernelError
from minirun.image import lookup, overlay
from minirun.image.layout import Layout
from minirun.kernel import procfs
from minirun.kernel.cgroups import Cgroup
from minirun.network import dns, netns, networks
from minirun.runtime import lifecycle
from minirun.runtime import spec as specs
from minirun.runtime import state as states
from minirun.trace import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.engine.ends import Ends
    from minirun.engine.register import Container
    from minirun.runtime.state import State

SIGKILL = 9


# ---- the writable layer ----------------------------------------------------------------------------------------

def layers_of(container: Container) -> list[str]:
    """The directories of the image's layers, lowest first, by the record: the image's name may mean another by now."""
    layout = Layout(f"{places.data}/images")
    return [layout.layer(chain) for chain in container.record["LayerIDs"]]


# ---- up --------------------------------------------------------------------------------------------------------

def bring_up(container: Container, ends: Ends, size: list[int] | None, get_ready: Callable[[], None]) -> State:
    """Take a container from its record to a running program. The caller is its monitor and becomes its parent.

    Arguments: ends, of the program's standard streams; size, rows and columns of the terminal, if it has one;
    get_ready, called before the program starts, at a moment when there is time. What was made when something fails is left to `take_down`.
    """
    endpoint = reserve_endpoint(container)
    write_etc_files(container, endpoint)
    place = lifecycle.Place(container.run_directory, state_directory(container))

    def meanwhile(pid: int) -> None:
        plug_in(container, endpoint, pid)
        get_ready()

    state = lifecycle.create(make_spec(container, size), place, stdio=ends.given, console=ends.console, meanwhile=meanwhile)
    lifecycle.start(state)
    watch.note(container.run_directory, state)
    note_start(container)
    return state


def state_directory(container: Container) -> str:
    """Where the runtime keeps the container's state."""
    return f"{places.run}/runtime/{container.id}"


def make_spec(container: Container, size: list[int] | None = None) -> dict:
    """Write the container's bundle: config.json, and the empty directory that its root will be mounted on."""
    with step("write config.json"):
        record = container.record
        user = user_of(container, record["Config"]["User"])
        root = overlay.mount(layers_of(container), container.directory, volatile=record["HostConfig"]["AutoRemove"])
        spec = specgen.generate(record, user, root, places)
        if size:
            spec["process"]["consoleSize"] = {"height": size[0], "width": size[1]}
        store.make_directory(spec["root"]["path"])
        for source in mountpoints.sources_to_make(record):
            store.make_directory(source, 0o755)
        for point in record["MountPoints"]:
            if point["Propagation"] not in ("", "rprivate"):
                mountpoints.check_propagation(point, procfs.read("/proc/self/mountinfo"))
        store.write(f"{container.run_directory}/config.json", spec)
        specs.check(spec)
        return spec


def user_of(container: Container, wish: str) -> users.User:
    """Who "USER[:GROUP]" is, by the image's and the container's own /etc/passwd and /etc/group."""
    pile = overlay.pile(layers_of(container), container.directory)
    return users.resolve(wish, lookup.read_file(pile, "etc/passwd"), lookup.read_file(pile, "etc/group"),
                         container.record["HostConfig"]["GroupAdd"])


def reserve_endpoint(container: Container) -> dict | None:
    """Take an address on the container's network, and note it where the clean-up looks; None where there is no cable.

    Before the container exists, because /etc/hosts has the address in it and is mounted while it is being created.
    """
    if container.record["HostConfig"]["NetworkMode"] in ("none", "host"):
        return None
    endpoint = networks.reserve(networks.ensure_default(places.run), container.id)
    store.write(f"{container.run_directory}/network.json", endpoint)
    return endpoint


def plug_in(container: Container, endpoint: dict | None, pid: int) -> None:
    """Plug the network namespace of process `pid` into the container's network, and note what became of it."""
    if endpoint:
        networks.plug(networks.ensure_default(places.run), endpoint, pid)
        store.write(f"{container.run_directory}/network.json", endpoint)
    elif container.record["HostConfig"]["NetworkMode"] == "none":
        networks.loopback_only(pid)
    name_network(container, pid)


def name_network(container: Container, pid: int) -> None:
    """Let `ip netns exec NAME ...` find the container's network namespace. A name that somebody has is left to him."""
    if container.record["HostConfig"]["NetworkMode"] != "host":
        store.write(f"{container.run_directory}/netns.json", {"name": container.name, "inode": netns.inode(pid)})
        netns.publish(pid, container.name)


def unname_network(container: Container) -> None:
    """Take that name away; fine when it is gone, or was never ours."""
    try:
        noted = store.read(f"{container.run_directory}/netns.json")
    except (FileNotFoundError, NotADirectoryError):
        return
    netns.withdraw(noted["name"], noted["inode"])


def write_etc_files(container: Container, endpoint: dict | None) -> None:
    """Write the three files that Docker mounts over the image's: hosts, hostname, resolv.conf.

    They are written in place: the container has them mounted, and a file renamed over one would be another file.
    """
    config, host_config = container.record["Config"], container.record["HostConfig"]
    wishes = dns.Wishes(host_config["Dns"], host_config["DnsSearch"], host_config["DnsOptions"])
    gateway = endpoint["Gateway"] if endpoint else ""
    extra = host_config["ExtraHosts"] or ()
    if host_config["NetworkMode"] == "host":
        hosts = dns.hosts_of_host_network(dns.read("/etc/hosts"), extra)
        resolv_conf = dns.resolv_conf_of_host_network(dns.host_resolv_conf(), wishes)
    else:
        own = [(endpoint["IPAddress"], config["Hostname"])] if endpoint else []
        hosts = dns.hosts(own, extra, domain=config["Domainname"], gateway=gateway)
        resolv_conf = dns.resolv_conf(dns.host_resolv_conf(), wishes)
    for name, text in (("hosts", hosts), ("hostname", dns.hostname(config["Hostname"])), ("resolv.conf", resolv_conf)):
        _write_in_place(f"{container.directory}/{name}", text)


def _write_in_place(path: str, text: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, text.encode("utf-8", "surrogateescape"))
        finally:
            os.close(fd)
    except OSError as reason:
        raise KernelError(f"write {path}", reason.errno or 0, hint=store.disk_hint(reason)) from None


def note_start(container: Container) -> None:
    """Write into the record that it has started: a reboot would otherwise leave it as one that never was."""
    container.record["State"].update(StartedAt=times.now(), ExitCode=0, Error="", OOMKilled=False)
    if not container.record["HostConfig"]["AutoRemove"]:
        container.save()


# ---- down ------------------------------------------------------------------------------------------------------

def note_end(container: Container, code: int, error: str = "") -> None:
    """Write into the record how the container has ended; must come before its cgroup goes, which knows of OOM kills."""
    record = container.record
    record["State"].update(FinishedAt=times.now(), ExitCode=code, Error=error,
                           OOMKilled=Cgroup(f"/minirun/{container.id}").oom_kills() > 0)
    if not record["HostConfig"]["AutoRemove"]:
        container.save()


def take_down(container: Container) -> None:
    """Undo `bring_up`, as far as it came; may be called twice, and by somebody else than the one who brought it up.

    The processes first, then the name: a network namespace that is still in use keeps its cable. The directory that
    says where all the rest is goes last.
    """
    with step("take the container down"):
        directory = state_directory(container)
        if os.path.exists(f"{directory}/state.json"):
            lifecycle.delete(states.load(directory), force=True)
        unname_network(container)
        endpoint = watch.network_of(container.run_directory)
        if endpoint:
            networks.disconnect(places.run, endpoint)
        store.remove_tree(container.run_directory)


def clear_dead(container: Container) -> None:
    """Clear up after a monitor that was killed; the caller has the container's queue.

    What ran under its eyes is killed: nobody has its output and exit code. (containerd does the same when it finds a
    shim dead.)
    """
    watched = watch.of(container.run_directory)
    if watched is None or watched.alive():
        return  # another command was faster
    container.forget()
    if watched.started_at:
        container.record["State"]["StartedAt"] = watched.started_at
        note_end(container, 128 + SIGKILL)
    take_down(container)
    if container.record["HostConfig"]["AutoRemove"]:
        register.discard(container)
