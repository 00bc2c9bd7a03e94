"""Device nodes of a container's /dev (mknod(2), null(4), random(4), tty(4)).

Which of them a container may open is for `kernel.cgroup.devices` to say.
"""

from __future__ import annotations

import errno
import stat

from minirun.errors import KernelError
from minirun.kernel import syscalls
from minirun.light import os

#: What every container has in /dev (OCI config-linux.md, "Default Devices"): name → major and minor number.
DEFAULT_NODES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
DEFAULT_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}


_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def make_node(directory: int, name: str, kind: str, numbers: tuple[int, int], mode: int = 0o666) -> None:
    """Make a device node in an open directory.

    Arguments: kind (str), "c", "b" or "p"; numbers, major and minor; mode (int), permission bits, whatever the umask.
    """
    syscalls.mknodat(directory, name, _KINDS[kind] | mode, os.makedev(*numbers))
    os.chmod(name, mode, dir_fd=directory)  # the umask has taken bits off the mode


def make_defaults(directory: int) -> None:
    """Make the default nodes and links in the open directory that will be the container's /dev."""
    # mknod(2) takes the umask off the mode: with an umask of 0 no chmod is needed for each node.
    mask = os.umask(0)
    try:
        for name, numbers in DEFAULT_NODES.items():
            syscalls.mknodat(directory, name, stat.S_IFCHR | 0o666, os.makedev(*numbers))
    finally:
        os.umask(mask)
    for name, target in DEFAULT_LINKS.items():
        try:
            syscalls.symlinkat(target, directory, name)
        except KernelError as error:
            if error.errno != errno.EEXIST:  # a mount of the spec has made it already
                raise
