"""--network of `run` and `create`, and the flags beside it, as Docker's client reads them."""

from __future__ import annotations

from minirun.errors import BadParameter, ClientError
from minirun.light import TYPE_CHECKING
from minirun.network import predefined

if TYPE_CHECKING:
    from minirun.cli.parser.grammar import Options


def endpoint_settings(options: Options) -> tuple[str, dict | None]:
    """The network's name, and moby's EndpointSettings for it: None where nothing but its name was given.

    Without --network the flags beside it are not looked at, but for --link, which the default bridge knows.
    Errors: ClientError, BadParameter in Docker's words.
    """
    given = options.objects("network") + options.objects("net")
    if not given:
        return "default", None
    settings = [_settings(long, options if place == 0 else None) for place, long in enumerate(given)]
    names = [long["Target"] for long in given]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise ClientError(f'network "{name}" is specified multiple times')
    if len({predefined.is_user_defined(name) for name in names}) > 1:
        raise ClientError("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
    if len(names) > 1:
        raise BadParameter(f"Container cannot be connected to network endpoints: {', '.join(names)}")
    return names[0], settings[0]


def _settings(long: dict, options: Options | None) -> dict | None:
    """The settings for one network: the fields of --network's long form, and the flags beside it (for the first one).

    Errors: ClientError.
    """
    aliases, drivers, links, address = list(long.get("Aliases", ())), long.get("DriverOpts", {}), [], {}
    if options:
        beside = options.words("network_alias") + options.words("net_alias")
        if aliases and beside:
            raise ClientError("conflicting options: cannot specify both --network-alias and per-network alias")
        aliases += beside
        links = options.words("link")
        given = (("IPv4Address", options.text("ip")), ("IPv6Address", options.text("ip6")))
        address = {key: value for key, value in given if value}
    if not long["Target"].strip():
        raise ClientError("no name set for network")
    if not predefined.is_user_defined(long["Target"]):
        if aliases:
            raise ClientError("network-scoped aliases are only supported for user-defined networks")
        if links:
            raise ClientError("links are only supported for user-defined networks")
    found = {
        "IPAMConfig": address or None,
        "Links": list(links) or None,
        "Aliases": aliases or None,
        "DriverOpts": drivers or None,
    }
    return found if any(found.values()) else None
