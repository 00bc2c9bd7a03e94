"""The kernel's settings for one network namespace: every file below /proc/sys/net (sysctl(8), ip-sysctl.rst).

/proc/sys/net shows the namespace of the process that looks, so whoever reads another one's must be in it. A container
starts with the kernel's defaults and not with the host's values; what an engine has set stands out by comparison.
"""

from __future__ import annotations

import os

from minirun.errors import KernelError
from minirun.kernel import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TOP = "/proc/sys/net"
#: They count, or are drawn by lot.
FLEETING = frozenset(("nf_conntrack_count", "nf_conntrack_buckets", "stable_secret", "tcp_fastopen_key"))


def read(wanted: Iterable[str] | None = None) -> dict[str, dict[str, str]]:
    """Name, with dots as in `sysctl`, → its value.

    Arguments: wanted, the links whose own settings matter: of the rest only those that are for all; None for all.
    """
    found = {}
    for path in _files(TOP):
        parts = path[len("/proc/sys/") :].split("/")
        # net/ipv4/conf/eth0/forwarding: one directory for each link
        of_link = parts[3] if len(parts) == 5 and parts[2] in ("conf", "neigh") else ""
        if wanted is not None and of_link not in ("", "all", *wanted):
            continue
        try:
            value = procfs.read(path)
        except KernelError:  # can only be written, or has no value yet
            continue
        # A dot in a link's name would look like the end of a word; sysctl(8) writes it as a slash.
        found[".".join(part.replace(".", "/") for part in parts)] = {"=": " ".join(value.split())}
    return found


def _files(directory: str) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            elif entry.name not in FLEETING:
                yield entry.path
