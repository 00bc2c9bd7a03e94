"""The flags of `run` and `create`, as Docker 20.10 has them; those that minirun lacks are in `parser.unsupported`."""

from __future__ import annotations

from minirun.cli.parser.grammar import Option
from minirun.cli.parser.types import BOOL, INT, LIST, STRING, VARIABLES
from minirun.cli.run.mount import MOUNT
from minirun.cli.run.types import (
    CPUS,
    DOMAINS,
    HOSTS,
    LABELS,
    LINKS,
    NETWORK,
    SERVERS,
    SIZE,
    STREAMS,
    SWAP,
    SYSCTL,
    ULIMIT,
)

CREATE = (
    # who it is and what it runs
    Option("name", STRING, "Assign a name to the container"),
    Option("hostname", STRING, "Container host name", short="h"),
    Option("domainname", STRING, "Container NIS domain name"),
    Option("entrypoint", STRING, "Overwrite the default ENTRYPOINT of the image", default=None),
    Option("label", LABELS, "Set meta data on a container", short="l"),
    Option("label-file", LIST, "Read in a line delimited file of labels"),
    Option("cidfile", STRING, "Write the container ID to the file"),
    Option("platform", STRING, "Set platform if server is multi-platform capable"),
    Option(
        "pull", STRING, 'Pull image before running ("always"|"missing"|"never")', default="missing", shown='"missing"'
    ),
    Option("rm", BOOL, "Automatically remove the container when it exits"),
    Option("env", VARIABLES, "Set environment variables", short="e"),
    Option("env-file", LIST, "Read in a file of environment variables"),
    Option("workdir", STRING, "Working directory inside the container", short="w"),
    Option("user", STRING, "Username or UID (format: <name|uid>[:<group|gid>])", short="u"),
    Option("interactive", BOOL, "Keep STDIN open even if not attached", short="i"),
    Option("tty", BOOL, "Allocate a pseudo-TTY", short="t"),
    Option("group-add", LIST, "Add additional groups to join"),
    Option("attach", STREAMS, "Attach to STDIN, STDOUT or STDERR", short="a"),
    Option("restart", STRING, "Restart policy to apply when a container exits", shown='"no"'),
    Option("stop-signal", STRING, "Signal to stop a container", shown='"SIGTERM"'),
    Option("no-healthcheck", BOOL, "Disable any container-specified HEALTHCHECK"),
    Option("stop-timeout", INT, "Timeout (in seconds) to stop a container", default=None),
    # files
    Option("volume", LIST, "Bind mount a volume", short="v"),
    Option("mount", MOUNT, "Attach a filesystem mount to the container"),
    Option("tmpfs", LIST, "Mount a tmpfs directory"),
    Option("volumes-from", LIST, "Mount volumes from the specified container(s)"),
    Option("shm-size", SIZE, "Size of /dev/shm"),
    Option("read-only", BOOL, "Mount the container's root filesystem as read only"),
    # limits
    Option("memory", SIZE, "Memory limit", short="m"),
    Option("memory-swap", SWAP, "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"),
    Option("memory-reservation", SIZE, "Memory soft limit"),
    Option("cpus", CPUS, "Number of CPUs"),
    Option("cpu-shares", INT, "CPU shares (relative weight)", short="c"),
    Option("cpu-period", INT, "Limit CPU CFS (Completely Fair Scheduler) period"),
    Option("cpu-quota", INT, "Limit CPU CFS (Completely Fair Scheduler) quota"),
    Option("cpuset-cpus", STRING, "CPUs in which to allow execution (0-3, 0,1)"),
    Option("cpuset-mems", STRING, "MEMs in which to allow execution (0-3, 0,1)"),
    Option("pids-limit", INT, "Tune container pids limit (set -1 for unlimited)"),
    Option("ulimit", ULIMIT, "Ulimit options", shown="[]"),
    Option("oom-score-adj", INT, "Tune host's OOM preferences (-1000 to 1000)"),
    # what it may do
    Option("cap-add", LIST, "Add Linux capabilities"),
    Option("cap-drop", LIST, "Drop Linux capabilities"),
    Option("security-opt", LIST, "Security Options"),
    Option("sysctl", SYSCTL, "Sysctl options", shown="map[]"),
    # the network
    Option("network", NETWORK, "Connect a container to a network"),
    Option("net", NETWORK, hidden=True),
    Option("network-alias", LIST, "Add network-scoped alias for the container"),
    Option("net-alias", LIST, hidden=True),
    Option("ip", STRING, "IPv4 address (e.g., 172.30.100.104)"),
    Option("ip6", STRING, "IPv6 address (e.g., 2001:db8::33)"),
    Option("link", LINKS, "Add link to another container"),
    Option("publish", LIST, "Publish a container's port(s) to the host", short="p"),
    Option("publish-all", BOOL, "Publish all exposed ports to random ports", short="P"),
    Option("expose", LIST, "Expose a port or a range of ports"),
    Option("mac-address", STRING, "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
    Option("dns", SERVERS, "Set custom DNS servers"),
    Option("dns-option", LIST, "Set DNS options"),
    Option("dns-opt", LIST, hidden=True),
    Option("dns-search", DOMAINS, "Set custom DNS search domains"),
    Option("add-host", HOSTS, "Add a custom host-to-IP mapping (host:ip)"),
    Option("disable-content-trust", BOOL, "Skip image verification", default=True, shown="true"),
)

RUN = CREATE + (
    Option("detach", BOOL, "Run container in background and print container ID", short="d"),
    Option("sig-proxy", BOOL, "Proxy received signals to the process", default=True, shown="true"),
    Option("detach-keys", STRING, "Override the key sequence for detaching a container"),
)
