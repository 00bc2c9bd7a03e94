"""Stale state of containers after a crash: dead shims, run directories, runtime states, cgroups, addresses, veths.

Only what provably belongs to this data root and exec root is reported. Several instances of minirun may share a host,
and with it the cgroup `minirun`, the bridge, or an exec root. What belongs to this one: a run directory whose container
is in the data root, or whose config.json has its upper directory there; a cgroup named after a container in the data
root; a veth whose name is in the address files of the exec root. An empty cgroup with an unknown ID may be that of
another instance's next container.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from minirun import rmtree, store
from minirun.engine.check.problem import Problem, containers, ids, is_busy, is_new
from minirun.engine.container.container import Container
from minirun.engine.container.reconcile import clear_dead_shim
from minirun.engine.pause import freezer_of
from minirun.engine.shim import run_state, task
from minirun.errors import KernelError, MinirunError
from minirun.kernel import procfs
from minirun.kernel.cgroup import cgroup, hierarchy
from minirun.network import gc
from minirun.network.bridge.endpoint import VETH_GRACE
from minirun.network.ports import portmapper
from minirun.runtime import lifecycle
from minirun.runtime import state as states

if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirun.engine.daemon import Daemon


def dead_containers(daemon: Daemon) -> Iterator[Problem]:
    """Kind "monitor": containers whose shim was killed. Their processes may still run."""
    for container in containers(daemon):
        shim = container.shim_state()
        if shim is not None and not shim.alive() and container.exists():
            what = f"container {container.id[:12]} ({container.name}): its monitor is dead"
            yield Problem("monitor", what, _clear_dead, container)


def failed_services(daemon: Daemon) -> Iterator[Problem]:
    """Kind "service": services that the shim of a running container has given up (embedded DNS, userland proxy)."""
    for container in containers(daemon):
        for line in run_state.read_failures(container.run_directory):
            yield Problem(
                "service",
                f"container {container.id[:12]}: its monitor had to give up {line}",
                None,
                why="a mistake in minirun itself; the container runs on: restart it to have that again",
            )


def _clear_dead(container: Container) -> None:
    with container.lock():
        clear_dead_shim(container)


def frozen_containers(daemon: Daemon) -> Iterator[Problem]:
    """Kind "frozen": containers that are frozen while no command works on them: `commit` was killed (see `pause`)."""
    for container in containers(daemon):
        if container.shim_state() is None:
            continue
        try:
            freezer = freezer_of(container)
        except MinirunError:  # a machine without one
            return
        if freezer.is_frozen() and not is_busy(container):
            yield Problem("frozen", f"container {container.id[:12]} ({container.name}) is frozen", _thaw, container)


def _thaw(container: Container) -> None:
    with container.lock():
        freezer_of(container).thaw()


def run_directories(daemon: Daemon) -> Iterator[Problem]:
    """Kind "run": run directories of containers that do not run or do not exist any more."""
    for name in ids(f"{daemon.exec_root}/containers"):
        container = Container(daemon, name)
        if container.exists():
            if container.shim_state() is None and not (is_new(container.run_directory) or is_busy(container)):
                yield Problem(
                    "run",
                    f"{container.run_directory}: was left when the container was started or stopped",
                    _take_down_unwatched,
                    container,
                )
        elif _data_root_of(container.run_directory) == daemon.data_root:
            shim = container.shim_state()
            if shim is None or not shim.alive():
                yield Problem(
                    "run", f"{container.run_directory}: the container has been removed", task.delete, container
                )
            else:
                yield Problem(
                    "run",
                    f"container {name[:12]} runs, and its record has been removed",
                    None,
                    why=f"it would be killed: end it yourself, its first process is {shim.init}",
                )


def _take_down_unwatched(container: Container) -> None:
    with container.lock():
        if container.shim_state() is None and not is_new(container.run_directory):
            task.delete(container)


def _data_root_of(run_directory: str) -> str:
    """The data root of a container, by where its config.json has the upper directory; "" when it has none.

    An exec root may serve several data roots (`minirun --root DIR` alone leaves it where it is).
    """
    try:
        options = store.read(f"{run_directory}/config.json")["mounts"][0]["options"]
    except (FileNotFoundError, NotADirectoryError, MinirunError, LookupError):
        return ""
    upper = next((word[9:] for word in options if word.startswith("upperdir=")), "")
    return upper.replace("\\", "").rpartition("/containers/")[0]


def runtime_states(daemon: Daemon) -> Iterator[Problem]:
    """Kind "state": states of the runtime whose container's run directory is gone; that one is always removed last."""
    for name in ids(f"{daemon.exec_root}/runtime"):
        directory, bundle = f"{daemon.exec_root}/runtime/{name}", f"{daemon.exec_root}/containers/{name}"
        if os.path.isdir(bundle) or not os.path.isdir(directory):  # in this order: the state goes first
            continue
        try:
            state = states.load(directory)
        except MinirunError:
            yield Problem("state", f"{directory}: holds no state", rmtree.remove_tree, directory)
            continue
        if state.bundle == bundle:  # else another engine uses the runtime, with a bundle of its own
            yield Problem("state", f"{directory}: nobody watches this container", _delete, state)


def _delete(state: states.State) -> None:
    lifecycle.delete(state, force=True)


def stale_cgroups(daemon: Daemon) -> Iterator[Problem]:
    """Kind "cgroup": cgroups, in any hierarchy, of this data root's containers that do not run."""
    found: dict[str, list[str]] = {}
    for tree in hierarchy.hierarchies():
        for name in ids(f"{tree.mountpoint}/minirun"):
            found.setdefault(name, []).append(f"{tree.mountpoint}/minirun/{name}")
    for name, directories in found.items():
        container = Container(daemon, name)
        if not _is_stopped(container):
            continue
        more = f" (and in {len(directories) - 1} more trees)" if directories[1:] else ""
        what = f"{directories[0]}{more}: the container does not run"
        pids = sorted({pid for directory in directories for pid in _pids(directory)})
        if pids:
            why = f"started from another exec root, or its run directory is lost: processes {' '.join(pids)} are in it"
            yield Problem("cgroup", what, None, why=why)
        else:
            yield Problem("cgroup", what, _remove_cgroup, container)


def _pids(directory: str) -> list[str]:
    try:
        return procfs.read(f"{directory}/cgroup.procs").split()
    except KernelError:  # gone meanwhile
        return []


def _is_stopped(container: Container) -> bool:
    """Whether a container is in this data root, and neither runs nor is being started or taken down."""
    return (
        os.path.isdir(container.directory)
        and not os.path.isdir(container.run_directory)
        and not os.path.isdir(task.state_directory(container))
        and not is_busy(container)
    )


def _remove_cgroup(container: Container) -> None:
    with container.lock():
        if not os.path.isdir(container.run_directory):
            cgroup.Cgroup(f"/minirun/{container.id}").remove()  # the kernel refuses while a process is in it


class _WithRunDirectory:
    """The IDs that have a run directory: what else belongs to these is cleared together with it."""

    def __init__(self, daemon: Daemon) -> None:
        self.directory = f"{daemon.exec_root}/containers"

    def __contains__(self, name: object) -> bool:
        return bool(name) and os.path.isdir(f"{self.directory}/{name}")


def network_leftovers(daemon: Daemon) -> Iterator[Problem]:
    """What networks hold for containers that are gone: kinds "rules", "address" and "cable" (a veth)."""
    for leftover in gc.leftovers(daemon.exec_root, _WithRunDirectory(daemon)):
        kind = leftover.kind
        # The kernel deletes the veth of an ended container by itself, a moment later.
        if kind != "cable" or not is_new(leftover.path, VETH_GRACE):
            yield Problem(kind, str(leftover), gc.clear, daemon.exec_root, [leftover])


def half_created_networks(daemon: Daemon) -> Iterator[Problem]:
    """Kind "network": networks whose creation or removal was killed."""
    controller = daemon.networks
    for network in controller.orphans():
        yield Problem(
            "network",
            f"network {network.name}: was left when it was made or removed",
            controller.remove_orphans,
        )


def stale_ports(daemon: Daemon) -> Iterator[Problem]:
    """Kind "port": published ports of containers that are gone."""
    for mapping in portmapper.leftovers(daemon.exec_root, _WithRunDirectory(daemon)):
        what = (
            f"port {mapping['HostIP']}:{mapping['HostPort']}/{mapping['Proto']} is held for container "
            f"{mapping['Owner'][:12]}, which is gone"
        )
        yield Problem("port", what, portmapper.clear, daemon.exec_root, mapping)
