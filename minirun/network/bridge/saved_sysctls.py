"""Sysctls of the host that minirun changes, and their earlier values; FORWARD's policy goes with ip_forward.

Docker leaves its changes when it ends, and so does minirun. The earlier values are saved in <run>/networks/before.json,
so that `reset` can restore them.
"""

from __future__ import annotations

import os

from minirun import store
from minirun.errors import MinirunError
from minirun.kernel import procfs
from minirun.network.iptables import generation


def _path(run: str) -> str:
    return f"{run}/networks/before.json"


def read(run: str) -> dict[str, str]:
    """The saved values: name below /proc/sys/net → earlier value; in the order of the changes."""
    try:
        saved = store.read(_path(run))
    except (FileNotFoundError, MinirunError):
        return {}
    return saved["Sysctls"] if saved.get("Host") == generation.host() else {}


def remember(run: str, name: str, value: str) -> None:
    """Save the earlier value of a sysctl, unless there is a saved one already."""
    saved = read(run)
    if name not in saved:
        store.write(_path(run), {"Host": generation.host(), "Sysctls": {**saved, name: value}})


def set_sysctl(run: str, name: str, value: str) -> None:
    """Set a sysctl below /proc/sys/net, unless it has the value; the earlier value is saved first."""
    path = f"/proc/sys/net/{name}"
    before = procfs.read(path).strip()
    if before != value:
        remember(run, name, before)
        procfs.write(path, value)


def restore(run: str) -> None:
    """Restore the sysctls, the last change first."""
    for name, value in reversed(read(run).items()):
        if os.path.exists(f"/proc/sys/net/{name}"):
            procfs.write(f"/proc/sys/net/{name}", value)
    store.discard(_path(run))
