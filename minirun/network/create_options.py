"""The options of `network create`, and the record that is made of them: Docker's checks, in its order, with its texts.

A *record* is what `docker network inspect` shows, and three keys of our own: `Bridge`, the name of its bridge device;
`Pools`, the subnets in use, each with its gateway; `Configured`, the IP versions for which a subnet was given. The
options have the keys of Docker's API (POST /networks/create).
"""

from __future__ import annotations

from minirun import stringid, timestamps
from minirun.errors import EngineError
from minirun.light import TYPE_CHECKING
from minirun.network import predefined
from minirun.network.bridge import device
from minirun.network.bridge.device import MTU_OPTION, OPTION
from minirun.network.ipam.address_pool import Pool
from minirun.network.ipam.subnet import Subnet, address_of, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to '
    "swarm and try again."
)


def new_record(name: str, driver: str, **words: object) -> dict:
    """A record with Docker's keys in Docker's order. Arguments: words, values that differ from the defaults."""
    record: dict = {
        "Name": name,
        "Id": stringid.generate(),
        "Created": timestamps.now(),
        "Scope": "local",
        "Driver": driver,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": []},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": {},
        "Labels": {},
    }
    record.update(words)
    return record


def record_of(options: dict, others: Sequence[dict], allocate_pool: Callable[..., Subnet]) -> dict:
    """The record of a new bridge network.

    Arguments: others, the records of all networks there are; allocate_pool, called for the next free default subnet
    (`ipam.default_pools`), with ipv6=True for one of IPv6. Errors: EngineError with Docker's text.
    """
    name = options["Name"]
    check_name(name, others)
    check_driver(options)
    ipam_options = options.get("IPAM") or {}
    record = new_record(
        name,
        "bridge",
        EnableIPv6=bool(options.get("EnableIPv6")),
        Internal=bool(options.get("Internal")),
        Attachable=bool(options.get("Attachable")),
        Options=dict(options.get("Options") or {}),
        Labels=dict(options.get("Labels") or {}),
    )
    record["IPAM"]["Options"] = dict(ipam_options.get("Options") or {})
    _allocate(record, ipam_options.get("Config") or [], others, allocate_pool)
    record["Bridge"] = record["Options"].get(f"{OPTION}name") or f"br-{record['Id'][:12]}"
    check_options(record["Options"])
    _check_conflicts(record, others)
    check_link_name(record["Bridge"])
    return record


def check_name(name: str, others: Sequence[dict]) -> None:
    """Any name will do that is not empty, reserved, or in use. Errors: EngineError."""
    if predefined.is_reserved(name):
        raise EngineError(f"operation is not permitted on predefined {name} network")
    if not name.strip():
        raise EngineError("invalid name:")
    if any(name == other["Name"] for other in others):
        raise EngineError(f"network with name {name} already exists")


def check_driver(options: dict) -> None:
    """The driver must be `bridge`; the errors for Docker's other drivers are Docker's. Errors: EngineError."""
    driver = options.get("Driver") or "bridge"
    ipam_driver = (options.get("IPAM") or {}).get("Driver") or "default"
    if driver in ("host", "null"):
        raise EngineError(f'only one instance of "{driver}" network is allowed')
    if driver == "overlay":
        raise EngineError(_SWARM)
    if driver in ("macvlan", "ipvlan"):
        raise EngineError(f"minirun does not have the network driver {driver} yet")
    if driver != "bridge":
        raise EngineError(f'plugin "{driver}" not found')
    if ipam_driver not in ("default", "null"):
        raise EngineError(f'plugin "{ipam_driver}" not found')


# ---- subnets ------------------------------------------------------------------------------------------------


def _allocate(
    record: dict, configs: Sequence[dict], others: Sequence[dict], allocate_pool: Callable[..., Subnet]
) -> None:
    """Fill in IPAM.Config, Pools and Configured. Errors: EngineError."""
    for config in configs:
        check_subnet(config.get("Subnet") or "")
    four = [config for config in configs if ":" not in config["Subnet"]]
    six = [config for config in configs if ":" in config["Subnet"]]
    record["Configured"] = [version for version, given in ((4, four), (6, six)) if given]
    taken = [Subnet(pool["Subnet"]) for other in others for pool in other.get("Pools", ())]
    shown, used = record["IPAM"]["Config"], []
    for version, given in ((4, four), (6, six)):
        if not given and (version == 4 or record["EnableIPv6"]):
            subnet = allocate_pool(ipv6=version == 6)
            gateway = address_of(subnet.first + 1, subnet.family)
            given = [{"Subnet": str(subnet), "Gateway": gateway}]
        else:
            _check_overlap(given, taken)
        for config in given:
            shown.append(
                {key: config[key] for key in ("Subnet", "IPRange", "Gateway", "AuxiliaryAddresses") if config.get(key)}
            )
            used.append(pool_of(config))
    if len(four) > 1 or len(six) > 1:
        raise EngineError("bridge driver doesn't support multiple subnets")
    record["Pools"] = used if record["EnableIPv6"] else used[:1]


def check_subnet(text: str) -> None:
    """Check --subnet. Errors: EngineError for what is no subnet in CIDR notation."""
    try:
        if "/" not in text:
            raise ValueError
        Subnet(text)
    except (OSError, ValueError):
        raise EngineError(f"Invalid subnet {text} : invalid CIDR address: {text}") from None


def _check_overlap(given: Sequence[dict], taken: list[Subnet]) -> None:
    """No two networks may share an address. (With an ip-range the same subnet passes here, see `_check_conflicts`.)"""
    for config in given:
        subnet = Subnet(config["Subnet"])
        for other in taken:
            same = str(other) == str(subnet) and config.get("IPRange")
            if subnet.overlaps(other) and not same:
                raise EngineError("Pool overlaps with other one on this address space")
        taken.append(subnet)


def pool_of(config: dict) -> dict:
    """The address pool of an entry of IPAM.Config, with its gateway.

    Unless one is given, the gateway is the first address that a container could have: of the ip-range, if there is
    one. Errors: EngineError for a gateway or an auxiliary address that is not free.
    """
    subnet, aux = Subnet(config["Subnet"]), config.get("AuxiliaryAddresses") or {}
    range_, gateway = config.get("IPRange") or "", config.get("Gateway") or ""
    pool = Pool(subnet, "", range_)
    if gateway and gateway not in subnet:
        raise EngineError(f"failed to allocate gateway ({gateway}): Requested address is out of range")
    first = next(pool.candidates(), "")
    if not first:
        raise EngineError(f"failed to allocate gateway ({gateway}): No available addresses on this pool")
    if gateway in pool.taken - {""}:
        raise EngineError(f"failed to allocate gateway ({gateway}): Address already in use")
    gateway = gateway or first
    for name, address in aux.items():
        if address not in subnet:
            raise EngineError(f"auxiliary address: ({name}:{address}) must belong to the master pool: {subnet}")
        if address == gateway or address in pool.taken:
            raise EngineError(f"failed to allocate secondary ip address ({name}:{address}): Address already in use")
        pool.taken.add(address)
    return {"Subnet": str(subnet), "Gateway": gateway, "Range": range_, "Taken": sorted(aux.values())}


# ---- the bridge driver's checks ----------------------------------------------------------------------------


def check_options(options: dict) -> None:
    """Check the driver options (`-o`); those that the driver does not know are kept and have no effect.

    Errors: EngineError.
    """
    for word in ("enable_icc", "enable_ip_masquerade", "inhibit_ipv4"):
        value = options.get(f"{OPTION}{word}", "true")
        if not device.is_true(value) and value not in ("0", "f", "F", "FALSE", "false", "False"):
            raise EngineError(
                f'failed to parse {OPTION}{word} value: {value} (strconv.ParseBool: parsing "{value}": invalid syntax)'
            )
    address = options.get(f"{OPTION}host_binding_ipv4", "0.0.0.0")
    if not _is_address(address):
        raise EngineError(f"failed to parse {OPTION}host_binding_ipv4 value: {address} (nil ip)")
    mtu = options.get(MTU_OPTION, "1500")
    if not mtu.removeprefix("-").removeprefix("+").isdecimal():
        raise EngineError(f'failed to parse {MTU_OPTION} value: {mtu} (strconv.Atoi: parsing "{mtu}": invalid syntax)')
    if int(mtu) < 0:
        raise EngineError(f"invalid MTU number: {mtu}")


def check_link_name(name: str) -> None:
    """Check whether the kernel accepts the name (IFNAMSIZ, dev_valid_name). Errors: EngineError with errno's text."""
    if len(name.encode()) > 15:
        raise EngineError("failed to check bridge interface existence: numerical result out of range")
    if name in (".", "..") or any(letter in "/:" or letter.isspace() for letter in name):
        raise EngineError("invalid argument")


def _is_address(text: str) -> bool:
    try:
        number_of(text)
    except OSError:
        return False
    return True


def _check_conflicts(record: dict, others: Sequence[dict]) -> None:
    """No two networks may share a bridge, or a subnet."""
    for other in others:
        if other["Driver"] != "bridge":
            continue
        reason = ""
        if other["Bridge"] == record["Bridge"]:
            reason = "networks have same bridge name"
        elif _overlap(record["Pools"], other["Pools"]):
            reason = "networks have overlapping IPv4"
        if reason:
            raise EngineError(
                f"cannot create network {record['Id']} ({record['Bridge']}): conflicts with network "
                f"{other['Id']} ({other['Bridge']}): {reason}"
            )


def _overlap(ours: Sequence[dict], theirs: Sequence[dict]) -> bool:
    return Subnet(ours[0]["Subnet"]).overlaps(Subnet(theirs[0]["Subnet"]))
