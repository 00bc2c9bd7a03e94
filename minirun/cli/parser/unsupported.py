"""Commands and flags of Docker 20.10 that minirun does not have, by name, so that the error can say so.

A flag with "=" takes a value. A letter before a comma is the flag's short form.
"""

from __future__ import annotations

_CREATE = """
blkio-weight= blkio-weight-device= cgroup-parent= cgroupns= cpu-count= cpu-percent= cpu-rt-period= cpu-rt-runtime=
device= device-cgroup-rule= device-read-bps= device-read-iops= device-write-bps= device-write-iops= gpus=
health-cmd= health-interval= health-retries= health-start-period= health-timeout= init io-maxbandwidth= io-maxiops=
ipc= isolation= kernel-memory= link-local-ip= log-driver= log-opt= memory-swappiness=
oom-kill-disable pid= privileged runtime=
storage-opt= userns= uts= volume-driver=
"""
_FLAGS = {
    "run": _CREATE,
    "create": _CREATE,
    "exec": "privileged",
    "rm": "l,link",
    "start": "checkpoint= checkpoint-dir=",
    "version": "kubeconfig=",
    "network connect": "link-local-ip=",
}

#: Docker's other commands.
COMMANDS = frozenset(
    """
attach build cp events pause rename search stats
top unpause update builder config context manifest node plugin secret service stack swarm trust
""".split()
)
#: And those of its groups.
GROUP_COMMANDS = {
    "container": frozenset("attach cp pause prune rename stats top unpause update".split()),
    "image": frozenset("build".split()),
    "network": frozenset(),
    "system": frozenset("df events prune".split()),
    "volume": frozenset(),
}


class Missing:
    """A flag that minirun does not have yet. Attributes: long, short ("" for none), takes_value."""

    __slots__ = ("long", "short", "takes_value")

    def __init__(self, word: str) -> None:
        short, comma, long = word.rpartition(",")
        self.long = long.removesuffix("=")
        self.short = short if comma else ""
        self.takes_value = word.endswith("=")


def flags(verb: str) -> list[Missing]:
    """The flags that Docker's verb has and ours has not. Arguments: verb (str), "run" or "container run"."""
    name = verb.removeprefix("container ").removeprefix("image ")
    return [Missing(word) for word in _FLAGS.get(name, "").split()]
