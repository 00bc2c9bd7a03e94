"""What minirun changes on a host for good, and what it was before: sysctls, and FORWARD's policy with ip_forward.

Docker leaves these as they are when it ends, and so does minirun. But they are written down, so that `reset` can give
the host back as it was.
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
    """What was there before: name below /proc/sys/net → value; in the order in which it was changed."""
    try:
        known = store.read(_path(run))
    except (FileNotFoundError, MinirunError):
        return {}
    return known["Sysctls"] if known.get("Host") == generation.host() else {}


def remember(run: str, name: str, value: str) -> None:
    """Write down what a sysctl was, unless that is known already."""
    known = read(run)
    if name not in known:
        store.write(_path(run), {"Host": generation.host(), "Sysctls": {**known, name: value}})


def set_sysctl(run: str, name: str, value: str) -> None:
    """Set a net sysctl for good, unless it has the value; what it was is written down first."""
    path = f"/proc/sys/net/{name}"
    before = procfs.read(path).strip()
    if before != value:
        remember(run, name, before)
        procfs.write(path, value)


def restore(run: str) -> None:
    """Give the sysctls back what they were, the last one first."""
    for name, value in reversed(read(run).items()):
        if os.path.exists(f"/proc/sys/net/{name}"):
            procfs.write(f"/proc/sys/net/{name}", value)
    store.discard(_path(run))
