"""What the tests of the engine's pure parts share: options as the command line hands them over, an image, a host."""

from __future__ import annotations

import copy

from minirun.engine.container import config
from minirun.engine.daemon import Daemon
from minirun.engine.spec import users

ID = "0123456789ab" + "c" * 52

_DEFAULTS = dict(
    image="alpine",
    command=["sh"],
    interactive=False,
    tty=False,
    detach=False,
    rm=False,
    name="",
    hostname="",
    domainname="",
    env=[],
    env_file=[],
    workdir="",
    user="",
    entrypoint=None,
    volume=[],
    mount=[],
    tmpfs=[],
    volumes_from=[],
    no_healthcheck=False,
    memory=0,
    memory_swap=0,
    memory_reservation=0,
    cpus=0,
    cpu_shares=0,
    cpu_period=0,
    cpu_quota=0,
    cpuset_cpus="",
    cpuset_mems="",
    pids_limit=0,
    network="default",
    endpoint=None,
    link=[],
    read_only=False,
    cap_add=[],
    cap_drop=[],
    label=[],
    label_file=[],
    cidfile="",
    stop_signal="",
    stop_timeout=None,
    ulimit=[],
    oom_score_adj=0,
    group_add=[],
    shm_size=0,
    sysctl={},
    dns=[],
    dns_search=[],
    dns_option=[],
    add_host=[],
    mac_address="",
    attach=[],
    sig_proxy=True,
    detach_keys="",
    pull="missing",
    security_opt=[],
    publish_all=False,
    port_bindings={},
    exposed_ports={},
)


class Options:
    """The options of `run`, with their defaults."""

    def __init__(self, **wishes: object) -> None:
        unknown = set(wishes) - set(_DEFAULTS)
        assert not unknown, unknown
        self.__dict__.update(copy.deepcopy(_DEFAULTS))
        self.__dict__.update(wishes)


class Image:
    """An image with two layers; `defaults` is its Config."""

    id = "sha256:" + "1" * 64
    chain_ids = ("sha256:" + "a" * 64, "sha256:" + "b" * 64)

    def __init__(self, **defaults: object) -> None:
        self.defaults = defaults


class Host:
    """A machine with two CPUs and one memory node, whatever the tests run on."""

    name = "lecture-hall"
    cpus = 2

    @staticmethod
    def available(kind: str) -> str:
        return {"cpu": "0-1", "node": "0"}[kind]


#: Its roots have names that no test can mistake for real ones.
DAEMON = Daemon("/DATA", "/RUN")


def make(image: Image | None = None, **wishes: object) -> dict:
    """The record of a container called w1."""
    return config.make(Options(**wishes), image or Image(), ID, "w1", Host())


def root() -> users.User:
    """Root without an /etc/passwd."""
    return users.resolve("", None, None)
