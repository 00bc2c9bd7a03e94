"""What dockerd's daemon.json says about networks; minirun takes the same keys from its config file.

Without a file all is as dockerd has it by default. A key that minirun does not know is an error: one that is passed
over in silence would be a network that is not what somebody believes.
"""

from __future__ import annotations

from minirun.errors import MinirunError

TYPE_CHECKING = False
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
#: Keys of the config file that others read: where things are, what is about registries, how large images may be.
ELSEWHERE = {
    "data-root": str,
    "exec-root": str,
    "insecure-registries": list,
    "registry-mirrors": list,
    "max-image-files": int,
    "max-image-size": int,
}
_KINDS = {str: "a string", list: "a list", bool: "true or false", int: "a number"}


class Settings:
    """The settings, each by its key with _ for -: `.bip`, `.mtu`, `.icc` ...; `.given` (dict), what the file says."""

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
        """The settings that a config file stands for. Errors: MinirunError for a key or a value that makes no sense."""
        strange = [key for key in data if key not in KEYS and key not in ELSEWHERE]
        if strange:
            raise MinirunError(
                "the following directives don't match any configuration option: " + ", ".join(strange),
                hint="minirun knows: " + ", ".join(sorted([*KEYS, *ELSEWHERE])),
            )
        for key, value in data.items():
            kind = KEYS[key][1] if key in KEYS else ELSEWHERE[key]
            if not isinstance(value, kind) or kind is int and isinstance(value, bool):
                raise MinirunError(f"{key}: expected {_KINDS[kind]}")
            if isinstance(value, int) and value < 0:
                raise MinirunError(f"invalid {key}: {value}")
        for key in ("dns", "dns-opts", "dns-search", "insecure-registries", "registry-mirrors"):
            if not all(isinstance(word, str) for word in data.get(key, ())):
                raise MinirunError(f"{key}: expected a list of strings")
        for pool in data.get("default-address-pools", ()):
            if not (isinstance(pool, dict) and isinstance(pool.get("base"), str) and isinstance(pool.get("size"), int)):
                raise MinirunError('default-address-pools: expected a list like [{"base": "10.10.0.0/16", "size": 24}]')
        return Settings(data)
