"""The default network, `bridge`: the configuration of minirun0, from the config file and from the state of the host.

Its subnet is, in this order: that of `bip`; the one that minirun0 has already; the one that it had before it was
deleted; the first free default pool. While it has endpoints its configuration stays as it is, even when the config file
has changed; that is dockerd's rule too when it starts beside running containers (live-restore).
"""

from __future__ import annotations

from minirun import store
from minirun.errors import EngineError, MinirunError
from minirun.kernel.netlink.socket import Socket
from minirun.light import TYPE_CHECKING
from minirun.network import create_options, predefined
from minirun.network.bridge import device
from minirun.network.bridge.device import MTU_OPTION, OPTION
from minirun.network.daemon_config import Settings
from minirun.network.ipam import address_pool, default_pools
from minirun.network.ipam.subnet import Subnet
from minirun.network.iptables import generation

if TYPE_CHECKING:
    from collections.abc import Sequence


def plan(run: str, settings: Settings, others: Sequence[dict]) -> dict:
    """Decide on the configuration of the default network, and save it; the kernel is not changed.

    Arguments: others, the records of the other networks. The caller holds the lock. Returns: the record.
    Errors: EngineError with dockerd's text for invalid settings.
    """
    path = f"{run}/networks/{predefined.BRIDGE}/network.json"
    before = _before(path)
    if before and address_pool.reservations(f"{run}/networks/{predefined.BRIDGE}"):
        before["Settings"] = settings.given
        store.write(path, before)
        return before
    configs = [_config(settings, before, others)]
    if settings.ipv6:
        configs.append(_config6(settings))
    try:
        used = [create_options.pool_of(config) for config in configs]
    except EngineError as error:
        raise EngineError(f'Error creating default "bridge" network: {error}') from None
    record = create_options.new_record(
        predefined.BRIDGE,
        "bridge",
        EnableIPv6=settings.ipv6,
        IPAM={"Driver": "default", "Options": None, "Config": configs},
        Options=_options(settings),
    )
    record.update(
        {"Bridge": device.NAME, "Pools": used, "Configured": [], "Host": generation.host(), "Settings": settings.given}
    )
    for key in ("Id", "Created", "MAC"):  # it is the same network, and perhaps the same bridge device
        if key in before:
            record[key] = before[key]
    if before.get("BridgeIndex"):
        record["Before"] = before.get("Before", before)  # its rules have to be deleted
    store.write(path, record)
    return record


def _before(path: str) -> dict:
    """The record until now, of this boot and network namespace; {} when there is none."""
    try:
        record = store.read(path)
    except (FileNotFoundError, MinirunError):
        return {}
    return record if record.get("Host") == generation.host() and "Pools" in record else {}


def _config(settings: Settings, before: dict, others: Sequence[dict]) -> dict:
    """The IPv4 entry of IPAM.Config; with a gateway when `bip` gives it, or the bridge has an address already."""
    with Socket() as netlink:
        present = device.current_subnet(netlink, device.NAME)
        taken = default_pools.host_subnets(netlink) + default_pools.subnets_of(others)
    config: dict = {}
    if settings.bip:
        config = {"Subnet": str(_subnet(settings.bip)), "Gateway": settings.bip.partition("/")[0]}
    elif present:
        config = {"Subnet": str(present[0]), "Gateway": present[1]}
    elif before and not any(Subnet(before["Pools"][0]["Subnet"]).overlaps(other) for other in taken):
        config = {"Subnet": before["Pools"][0]["Subnet"]}
    else:
        candidates = default_pools.split(settings.default_address_pools or default_pools.DEFAULT_POOLS)
        config = {"Subnet": str(candidates[default_pools.first_free(candidates, 0, taken)])}
    if settings.fixed_cidr:
        _subnet(settings.fixed_cidr)
        config = {
            "Subnet": config["Subnet"],
            "IPRange": settings.fixed_cidr,
            **{key: config[key] for key in ("Gateway",) if key in config},
        }
    if settings.default_gateway:
        config["AuxiliaryAddresses"] = {"DefaultGatewayIPv4": settings.default_gateway}
    return config


def _config6(settings: Settings) -> dict:
    if not settings.fixed_cidr_v6:
        raise EngineError(
            "IPv6 is enabled for the default bridge, but no subnet is configured. Specify an IPv6 subnet "
            "using --fixed-cidr-v6"
        )
    config: dict = {"Subnet": str(_subnet(settings.fixed_cidr_v6))}
    if settings.default_gateway_v6:
        config["AuxiliaryAddresses"] = {"DefaultGatewayIPv6": settings.default_gateway_v6}
    return config


def _subnet(text: str) -> Subnet:
    try:
        if "/" not in text:
            raise ValueError
        return Subnet(text)
    except (OSError, ValueError):
        raise EngineError(f"invalid CIDR address: {text}") from None


def _options(settings: Settings) -> dict:
    masquerade = settings.ip_masq and settings.iptables
    return {
        f"{OPTION}default_bridge": "true",
        f"{OPTION}enable_icc": _word(settings.icc),
        f"{OPTION}enable_ip_masquerade": _word(masquerade),
        f"{OPTION}host_binding_ipv4": settings.ip,
        f"{OPTION}name": device.NAME,
        MTU_OPTION: str(settings.mtu),
    }


def _word(yes: bool) -> str:
    return "true" if yes else "false"
