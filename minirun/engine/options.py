"""What the command line asks of the engine: typed values, made once by the CLI and never changed afterwards.

A field is named after Docker's flag; beside it stand the flag's unit, or what the CLI makes of the flag. A field that
was not given has the value that means so in Docker's API: 0, "", an empty tuple, or None where 0 and "" mean something.
"""

from __future__ import annotations

from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self, dataclass_transform

    from minirun.image.reference import Reference

else:

    def dataclass_transform(**_):
        """What a type checker needs to know and the interpreter does not (PEP 681)."""
        return lambda cls: cls


@dataclass_transform(kw_only_default=True, frozen_default=True)
class FrozenOptions:
    """A frozen record: fields are declared as in a dataclass, which would take 20 ms to import at each start."""

    def __init__(self, **values: object) -> None:
        fields = type(self).__annotations__
        wrong = [name for name in values if name not in fields]
        missing = [name for name in fields if name not in values and not hasattr(type(self), name)]
        if wrong or missing:
            raise TypeError(f"{type(self).__name__}: unknown {wrong}, missing {missing}")
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} is not changed: use replace()")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(
            getattr(self, name) == getattr(other, name) for name in type(self).__annotations__
        )

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def of(cls, values: Mapping[str, object], **others: object) -> Self:
        """Made of a command line's values, those that are named as a field is, with `others` over them."""
        return cls(**{**{name: values[name] for name in cls.__annotations__ if name in values}, **others})

    def replace(self, **changes: object) -> Self:
        """The same options with some fields changed."""
        return type(self)(**{**vars(self), **changes})


class CreateOptions(FrozenOptions):
    """A container as `run` and `create` ask for it (moby, ContainerCreateConfig)."""

    image: str  # reference or id
    command: Sequence[str] = ()  # what stands after the image; () for the image's CMD
    name: str = ""  # --name
    platform: str = ""  # --platform, "linux/arm64"
    cidfile: str = ""  # --cidfile, a path
    # the process
    entrypoint: str | None = None  # --entrypoint; "" takes the image's away
    env: Sequence[str] = ()  # --env and --env-file, "NAME=value"; "NAME" alone removes the image's
    workdir: str = ""  # --workdir, an absolute path
    user: str = ""  # --user, "USER[:GROUP]"
    group_add: Sequence[str] = ()  # --group-add
    hostname: str = ""  # --hostname
    domainname: str = ""  # --domainname
    label: Sequence[str] = ()  # --label and --label-file, "KEY=value"
    tty: bool = False  # --tty
    interactive: bool = False  # --interactive: stdin stays open
    attach: Sequence[str] = ()  # --attach: "stdin", "stdout", "stderr"; () for the default
    detach: bool = False  # --detach
    detach_keys: str = ""  # --detach-keys, "ctrl-p,ctrl-q"; "" for the default
    sig_proxy: bool = True  # --sig-proxy: signals of the client go to the container
    # its life
    rm: bool = False  # --rm
    stop_signal: str = ""  # --stop-signal, a name or a number
    stop_timeout: int | None = None  # --stop-timeout, seconds; -1 for ever
    no_healthcheck: bool = False  # --no-healthcheck
    # files
    volume: Sequence[str] = ()  # --volume, "SOURCE:TARGET[:OPTIONS]" or "TARGET"
    mount: Sequence[dict] = ()  # --mount, as HostConfig.Mounts
    tmpfs: Sequence[str] = ()  # --tmpfs, "PATH[:OPTIONS]"
    volumes_from: Sequence[str] = ()  # --volumes-from, "CONTAINER[:ro|rw]"
    shm_size: int = 0  # --shm-size, bytes
    read_only: bool = False  # --read-only
    # limits
    memory: int = 0  # --memory, bytes
    memory_swap: int = 0  # --memory-swap, bytes of memory and swap together; -1 unlimited
    memory_reservation: int = 0  # --memory-reservation, bytes
    cpus: int = 0  # --cpus, in billionths of a CPU
    cpu_shares: int = 0  # --cpu-shares, a weight
    cpu_period: int = 0  # --cpu-period, microseconds
    cpu_quota: int = 0  # --cpu-quota, microseconds
    cpuset_cpus: str = ""  # --cpuset-cpus, "0-3,5"
    cpuset_mems: str = ""  # --cpuset-mems, "0,1"
    pids_limit: int = 0  # --pids-limit; 0 and less for none
    ulimit: Sequence[dict] = ()  # --ulimit, {"Name": "nofile", "Hard": 200, "Soft": 100}
    oom_score_adj: int = 0  # --oom-score-adj, -1000 to 1000
    # rights
    cap_add: Sequence[str] = ()  # --cap-add
    cap_drop: Sequence[str] = ()  # --cap-drop
    security_opt: Sequence[str] = ()  # --security-opt
    sysctl: Mapping[str, str] = {}  # --sysctl
    # the network
    network: str = "default"  # --network: a network, "host", "none" or "container:NAME"
    endpoint: dict | None = None  # --network-alias, --ip, --ip6, --link: moby's EndpointSettings
    link: Sequence[str] = ()  # --link, "NAME[:ALIAS]"
    mac_address: str = ""  # --mac-address
    port_bindings: Mapping[str, Sequence[dict]] = {}  # --publish, as HostConfig.PortBindings
    exposed_ports: Mapping[str, dict] = {}  # --expose and --publish, as Config.ExposedPorts
    publish_all: bool = False  # --publish-all
    dns: Sequence[str] = ()  # --dns, addresses
    dns_option: Sequence[str] = ()  # --dns-option
    dns_search: Sequence[str] = ()  # --dns-search, domains
    add_host: Sequence[str] = ()  # --add-host, "NAME:ADDRESS"


class ExecOptions(FrozenOptions):
    """One more process in a running container, as `exec` asks for it (moby, ExecConfig)."""

    command: Sequence[str]
    env: Sequence[str] = ()  # --env and --env-file, "NAME=value"
    workdir: str = ""  # --workdir; "" for the container's
    user: str = ""  # --user, "USER[:GROUP]"; "" for the container's
    tty: bool = False  # --tty
    interactive: bool = False  # --interactive
    detach: bool = False  # --detach
    detach_keys: str = ""  # --detach-keys; "" for the default


class CommitOptions(FrozenOptions):
    """An image made of a container's changes, as `commit` asks for it (moby, CreateImageConfig)."""

    name: Reference | None  # the new image's name, None for an image without one
    author: str = ""  # --author
    message: str = ""  # --message
    change: Sequence[str] = ()  # --change, Dockerfile instructions
    pause: bool = True  # --pause: the container is frozen meanwhile
