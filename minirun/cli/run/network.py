"""What `run` and `create` want of a network: `--network` and the flags that go with it, as Docker's client has it."""

from __future__ import annotations

from minirun.errors import BadParameter, ClientError
from minirun.network import predefined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.cli.parser.grammar import Options


def settle(options: Options) -> None:
    """Make of `.network`, a list of what was given, one name, and of the flags beside it `.endpoint`, the wish for it.

    Without --network the other flags are not looked at, but for --link, which the default bridge knows.
    Errors: ClientError, BadParameter in Docker's words.
    """
    given = [*options.network, *options.net]
    options.net = []
    if not given:
        options.network, options.endpoint = "default", None
        return
    wishes = [_endpoint(wish, options if place == 0 else None) for place, wish in enumerate(given)]
    names = [wish["Target"] for wish in given]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise ClientError(f'network "{name}" is specified multiple times')
    if len({predefined.is_user_defined(name) for name in names}) > 1:
        raise ClientError("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
    if len(names) > 1:
        raise BadParameter(f"Container cannot be connected to network endpoints: {', '.join(names)}")
    options.network, options.endpoint = names[0], wishes[0]


def _endpoint(wish: dict, options: Options | None) -> dict | None:
    """The wish for one network: what its own fields say, and for the first one what the other flags say.

    Returns: None when it wants nothing but to be there. Errors: ClientError.
    """
    aliases, drivers, links, address = list(wish.get("Aliases", ())), wish.get("DriverOpts", {}), [], {}
    if options:
        if aliases and options.network_alias + options.net_alias:
            raise ClientError("conflicting options: cannot specify both --network-alias and per-network alias")
        aliases += options.network_alias + options.net_alias
        links = options.link
        address = {key: value for key, value in (("IPv4Address", options.ip), ("IPv6Address", options.ip6)) if value}
    if not wish["Target"].strip():
        raise ClientError("no name set for network")
    if not predefined.is_user_defined(wish["Target"]):
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
