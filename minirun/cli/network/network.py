"""`network`: create, list and remove networks, connect and disconnect containers.

What Docker's client checks by itself is here (does a gateway have its subnet?); all else is the engine's affair.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from minirun.cli.container.inspect import FORMAT, inspect_network
from minirun.cli.error_text import complaint
from minirun.cli.format import format
from minirun.cli.format.tabwriter import table
from minirun.cli.network import ipam_options
from minirun.cli.parser.grammar import Option, Options, ValueType, Verb
from minirun.cli.parser.types import BOOL, CONDITIONS, STRING
from minirun.cli.run.types import LABELS, LINKS
from minirun.engine.container import index, reconcile
from minirun.errors import ClientError, EngineError, MinirunError, NoSuchContainer, NoSuchNetwork

if TYPE_CHECKING:
    from minirun.engine.daemon import Daemon
    from minirun.network.network import Network

#: Field of a template → head of its column, in Docker's words.
HEADS = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}
COLUMNS = ("ID", "Name", "Driver", "Scope")
RAW = "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n"
QUESTION = (
    "WARNING! This will remove all custom networks not used by at least one container.\n"
    "Are you sure you want to continue? [y/N] "
)


# ---- create -----------------------------------------------------------------------------------------------------


def create(daemon: Daemon, options: Options) -> int:
    """Create a network and print its ID."""
    for flag, value in (
        ("scope", options.text("scope")),
        ("ingress", options.flag("ingress")),
        ("config-from", options.text("config_from")),
        ("config-only", options.flag("config_only")),
    ):
        if value and value != "local":
            raise ClientError(f"minirun does not have --{flag} yet: it is for swarms", exit_code=1)
    config = {
        "Name": options.text("network"),
        "Driver": options.text("driver") or "bridge",
        "Internal": options.flag("internal"),
        "Attachable": options.flag("attachable"),
        "EnableIPv6": options.flag("ipv6"),
        "Options": options.mapping("opt"),
        "Labels": _pairs(options.words("label")),
        "IPAM": {
            "Driver": options.text("ipam_driver"),
            "Options": options.mapping("ipam_opt"),
            "Config": ipam_options.configs(options),
        },
    }
    print(daemon.networks.create(config).id)
    return 0


def _pairs(entries: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (entry.partition("=") for entry in entries)}


# ---- ls, inspect --------------------------------------------------------------------------------------------------


def ls(daemon: Daemon, options: Options) -> int:
    """List networks, by name."""
    from minirun.cli.filters import networks

    text = RAW if options.text("format") == "raw" else options.text("format")
    template = None
    if text and not (text == "table" and options.flag("quiet")):
        template = format.Format(text, kind="*network.networkContext", heads=HEADS, columns=COLUMNS)
    rows = [_row(network, options.flag("no_trunc")) for network in networks.listed(daemon, options.pairs("filter"))]
    if template:
        template.print(rows)
    elif options.flag("quiet"):
        sys.stdout.write("".join(f"{row['ID']}\n" for row in rows))
    else:
        sys.stdout.write(
            table([[HEADS[column] for column in COLUMNS]] + [[str(row[column]) for column in COLUMNS] for row in rows])
        )
    return 0


def _row(network: Network, full: bool) -> dict[str, object]:
    record = network.record
    labels = record["Labels"] or {}
    day, _, clock = record["Created"].removesuffix("Z").partition("T")
    return {
        "CreatedAt": f"{day} {clock} +0000 UTC",
        "Driver": network.driver,
        "ID": network.id if full else network.id[:12],
        "IPv6": str(record["EnableIPv6"]).lower(),
        "Internal": str(record["Internal"]).lower(),
        "Labels": ",".join(f"{key}={labels[key]}" for key in sorted(labels)),
        "Name": network.name,
        "Scope": record["Scope"],
        "Label": lambda name: labels.get(name, ""),
    }


# ---- rm, prune ------------------------------------------------------------------------------------------------------


def remove(daemon: Daemon, options: Options) -> int:
    """Remove networks without endpoints."""
    reconcile.reconcile_all(daemon)
    failures = 0
    for word in options.words("networks"):
        try:
            daemon.networks.remove(daemon.networks.find(word))
            print(word, flush=True)
        except NoSuchNetwork:
            print(f"Error: No such network: {word}", file=sys.stderr)
            failures += 1
        except MinirunError as error:
            print(complaint(error, "network rm"), file=sys.stderr)
            failures += 1
    return 1 if failures else 0


def prune(daemon: Daemon, options: Options) -> int:
    """Remove all networks without endpoints."""
    from minirun.cli.filters import networks

    if not options.flag("force"):
        print(QUESTION, end="", flush=True)
        if sys.stdin.readline().strip().lower() != "y":
            return 0
    reconcile.reconcile_all(daemon)
    removed = []
    for network in networks.unused(daemon, options.pairs("filter")):
        try:
            daemon.networks.remove(network)
            removed.append(network.name)
        except EngineError:  # a container is connected by now, or it is removed
            continue
    if removed:
        print("Deleted Networks:\n" + "\n".join(removed) + "\n")
    return 0


# ---- connect, disconnect --------------------------------------------------------------------------------------------


def connect(daemon: Daemon, options: Options) -> int:
    """Connect a container to one more network."""
    from minirun.engine.network import connect

    drivers = {}
    for entry in options.words("driver_opt"):
        key, equals, value = entry.partition("=")
        if not equals:
            raise ClientError("invalid key/value pair format in driver options", exit_code=1)
        drivers[key.lower().strip()] = value.lower().strip()
    address = {
        key: value
        for key, value in (("IPv4Address", options.text("ip")), ("IPv6Address", options.text("ip6")))
        if value
    }
    connect.connect(
        index.find(daemon, options.text("container")),
        options.text("network"),
        {
            "IPAMConfig": address,
            "Links": options.words("link") or None,
            "Aliases": options.words("alias"),
            "DriverOpts": drivers,
            "NetworkID": "",
        },
    )
    return 0


def disconnect(daemon: Daemon, options: Options) -> int:
    """Disconnect a container from a network."""
    from minirun.engine.network import connect

    try:
        container = index.find(daemon, options.text("container"))
    except NoSuchContainer:
        if options.flag("force"):
            raise EngineError(f"endpoint {options.text('container')} not found") from None
        raise
    connect.disconnect(container, options.text("network"), force=options.flag("force"))
    return 0


def reload(daemon: Daemon, options: Options) -> int:
    """Restore bridges, firewall rules and the veth pairs of running containers as the records say."""
    from minirun.engine.network import reload

    lines, failures = reload.reload(daemon)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    for error in failures:
        print(complaint(error, "network reload"), file=sys.stderr)
    return 1 if failures else 0


# ---- the words ------------------------------------------------------------------------------------------------------


def _words(text: str) -> list[str]:
    """Several values with commas between them."""
    return text.split(",") if text else []


def _option(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


def _put(values: dict, pair: tuple[str, str]) -> None:
    values[pair[0]] = pair[1]


STRINGS = ValueType("strings", _words, empty=list, gather=list.extend)
MAP = ValueType("map", _option, empty=dict, gather=_put)

VERBS = {
    "network create": Verb(
        "network create",
        "Create a network",
        "[OPTIONS] NETWORK",
        create,
        takes=("network",),
        options=(
            Option("attachable", BOOL, "Enable manual container attachment"),
            Option("aux-address", MAP, "Auxiliary IPv4 or IPv6 addresses used by Network driver", shown="map[]"),
            Option("config-from", STRING, "The network from which to copy the configuration"),
            Option("config-only", BOOL, "Create a configuration only network"),
            Option("driver", STRING, "Driver to manage the Network", short="d", default="bridge", shown='"bridge"'),
            Option("gateway", STRINGS, "IPv4 or IPv6 Gateway for the master subnet"),
            Option("ingress", BOOL, "Create swarm routing-mesh network"),
            Option("internal", BOOL, "Restrict external access to the network"),
            Option("ip-range", STRINGS, "Allocate container ip from a sub-range"),
            Option("ipam-driver", STRING, "IP Address Management Driver", default="default", shown='"default"'),
            Option("ipam-opt", MAP, "Set IPAM driver specific options", shown="map[]"),
            Option("ipv6", BOOL, "Enable IPv6 networking"),
            Option("label", LABELS, "Set metadata on a network"),
            Option("opt", MAP, "Set driver specific options", short="o", shown="map[]"),
            Option("scope", STRING, "Control the network's scope"),
            Option("subnet", STRINGS, "Subnet in CIDR format that represents a network segment"),
        ),
    ),
    "network ls": Verb(
        "network ls",
        "List networks",
        "[OPTIONS]",
        ls,
        aliases=("ls", "list"),
        options=(
            Option("filter", CONDITIONS, "Provide filter values (e.g. 'driver=bridge')", short="f"),
            Option("format", STRING, "Pretty-print networks using a Go template"),
            Option("no-trunc", BOOL, "Do not truncate the output"),
            Option("quiet", BOOL, "Only display network IDs", short="q"),
        ),
    ),
    "network inspect": Verb(
        "network inspect",
        "Display detailed information on one or more networks",
        "[OPTIONS] NETWORK [NETWORK...]",
        inspect_network,
        takes=("objects+",),
        options=(FORMAT, Option("verbose", BOOL, "Verbose output for diagnostics", short="v")),
    ),
    "network rm": Verb(
        "network rm",
        "Remove one or more networks",
        "NETWORK [NETWORK...]",
        remove,
        takes=("networks+",),
        aliases=("rm", "remove"),
    ),
    "network prune": Verb(
        "network prune",
        "Remove all unused networks",
        "[OPTIONS]",
        prune,
        options=(
            Option("filter", CONDITIONS, "Provide filter values (e.g. 'until=<timestamp>')"),
            Option("force", BOOL, "Do not prompt for confirmation", short="f"),
        ),
    ),
    "network connect": Verb(
        "network connect",
        "Connect a container to a network",
        "[OPTIONS] NETWORK CONTAINER",
        connect,
        takes=("network", "container"),
        options=(
            Option("alias", STRINGS, "Add network-scoped alias for the container"),
            Option("driver-opt", STRINGS, "driver options for the network"),
            Option("ip", STRING, "IPv4 address (e.g., 172.30.100.104)"),
            Option("ip6", STRING, "IPv6 address (e.g., 2001:db8::33)"),
            Option("link", LINKS, "Add link to another container"),
        ),
    ),
    "network disconnect": Verb(
        "network disconnect",
        "Disconnect a container from a network",
        "[OPTIONS] NETWORK CONTAINER",
        disconnect,
        takes=("network", "container"),
        options=(Option("force", BOOL, "Force the container to disconnect from a network", short="f"),),
    ),
    "network reload": Verb(
        "network reload", "Restore bridges, firewall rules and cables of running containers", "", reload
    ),
}
