"""The network settings of dockerd's daemon.json; minirun reads the same keys from its config file.

Without a file the defaults are dockerd's. An unknown key is an error, as for dockerd: were it ignored, a network would
not be what its administrator believes.
"""

from __future__ import annotations

from minirun.errors import MinirunError
from minirun.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Key of daemon.json → (attribute of Settings, its type, dockerd's default).
KEYS: dict[str, tuple[str, type, object]] = {
    "bip": ("bip", str, ""),
    "default-address-pools": ("default_address_pools", list, ()),
    "default-gateway": ("default_gateway", str, ""),
    "default-gateway-v6": ("default_gateway_v6", str, ""),
    "dns": ("dns", list, ()),
    "dns-opts": ("dns_opts", list, ()),
    "dns-search": ("dns_search", list, ()),
    "fixed-cidr": ("fixed_cidr", str, ""),
    "fixed-cidr-v6": ("fixed_cidr_v6", str, ""),
    "icc": ("icc", bool, True),
    "ip": ("ip", str, "0.0.0.0"),
    "ip-forward": ("ip_forward", bool, True),
    "ip-masq": ("ip_masq", bool, True),
    "iptables": ("iptables", bool, True),
    "ipv6": ("ipv6", bool, False),
    "mtu": ("mtu", int, 1500),
    "userland-proxy": ("userland_proxy", bool, True),
}
#: Keys of the config file that are not about networks, and the types of their values.
OTHER_KEYS = {
    "data-root": str,
    "exec-root": str,
    "insecure-registries": list,
    "registry-mirrors": list,
    "max-image-files": int,
    "max-image-size": int,
}
_TYPE_NAMES = {str: "a string", list: "a list", bool: "true or false", int: "a number"}


class Settings:
    """The settings, each by its key with _ for -: `.bip`, `.mtu` (bytes), `.icc` ...; `.given` (dict), the keys in the
    file with their values."""

    __slots__ = (
        "bip",
        "default_address_pools",
        "default_gateway",
        "default_gateway_v6",
        "dns",
        "dns_opts",
        "dns_search",
        "fixed_cidr",
        "fixed_cidr_v6",
        "given",
        "icc",
        "ip",
        "ip_forward",
        "ip_masq",
        "iptables",
        "ipv6",
        "mtu",
        "userland_proxy",
    )
    bip: str
    default_address_pools: Sequence[tuple[str, int]]
    default_gateway: str
    default_gateway_v6: str
    dns: Sequence[str]
    dns_opts: Sequence[str]
    dns_search: Sequence[str]
    fixed_cidr: str
    fixed_cidr_v6: str
    icc: bool
    ip: str
    ip_forward: bool
    ip_masq: bool
    iptables: bool
    ipv6: bool
    mtu: int
    userland_proxy: bool

    def __init__(self, given: dict | None = None) -> None:
        self.given = {key: value for key, value in (given or {}).items() if key in KEYS}
        for key, (name, _kind, default) in KEYS.items():
            setattr(self, name, self.given.get(key, default))
        self.default_address_pools = [
            (pool["base"], pool["size"]) for pool in self.given.get("default-address-pools", ())
        ]

    @staticmethod
    def of(data: dict) -> Settings:
        """The settings of a config file. Errors: MinirunError for an unknown key or a value of the wrong type."""
        unknown = [key for key in data if key not in KEYS and key not in OTHER_KEYS]
        if unknown:
            raise MinirunError(
                "the following directives don't match any configuration option: " + ", ".join(unknown),
                hint="minirun knows: " + ", ".join(sorted([*KEYS, *OTHER_KEYS])),
            )
        for key, value in data.items():
            kind = KEYS[key][1] if key in KEYS else OTHER_KEYS[key]
            if not isinstance(value, kind) or kind is int and isinstance(value, bool):
                raise MinirunError(f"{key}: expected {_TYPE_NAMES[kind]}")
            if isinstance(value, int) and value < 0:
                raise MinirunError(f"invalid {key}: {value}")
        for key in ("dns", "dns-opts", "dns-search", "insecure-registries", "registry-mirrors"):
            if not all(isinstance(word, str) for word in data.get(key, ())):
                raise MinirunError(f"{key}: expected a list of strings")
        for pool in data.get("default-address-pools", ()):
            if not (isinstance(pool, dict) and isinstance(pool.get("base"), str) and isinstance(pool.get("size"), int)):
                raise MinirunError('default-address-pools: expected a list like [{"base": "10.10.0.0/16", "size": 24}]')
        return Settings(data)
