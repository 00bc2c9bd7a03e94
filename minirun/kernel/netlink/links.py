"""Network devices (rtnetlink(7)): RTM_NEWLINK and the like, `ip link`. With `addresses` the third door to the kernel.

Each function returns one request as a value (`Message`), with the equal `ip` line; a `Socket` sends it. The few
requests that a container start needs are packed here by hand: pyroute2, which can pack all, takes 0.2 s to import.
"""

from __future__ import annotations

import errno

from minirun.errors import KernelError
from minirun.kernel.namespaces import Namespace as Netns
from minirun.kernel.namespaces import inside
from minirun.kernel.netlink.socket import (
    CHANGE,
    CREATE,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    U32,
    Message,
    Socket,
    attribute,
    attributes,
)
from minirun.kernel.syscalls import CLONE_NEWNET
from minirun.light import TYPE_CHECKING, socket, struct

if TYPE_CHECKING:
    from collections.abc import Callable

# linux/rtnetlink.h, if_link.h, veth.h
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
IFF_UP = 1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_TXQLEN, IFLA_LINKINFO = 1, 3, 4, 5, 10, 13, 18
IFLA_NET_NS_FD, IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 28, 1, 2, 1
IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA, IFLA_BRPORT_MODE = 4, 5, 4

_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, which flags


class Link:
    """A network device: `.index` and `.name`; when read from the kernel also `.kind`, `.mac`, `.mtu`, `.txqlen`,
    `.up`, `.master` (index of its bridge, 0 for none), `.peer` (index of a veth's other end)."""

    __slots__ = ("index", "kind", "mac", "master", "mtu", "name", "peer", "txqlen", "up")

    def __init__(self, index: int, name: str) -> None:
        self.index, self.name = index, name
        self.kind, self.mac, self.mtu, self.txqlen, self.up, self.master, self.peer = "", "", 0, 0, False, 0, 0

    def __str__(self) -> str:
        return self.name


def open_in(netns: Netns, *, first: Callable[[], None] | None = None) -> Socket:
    """Open a socket in another network namespace; the caller stays in its own.

    Arguments: first, a function to call in there.
    """
    with inside(netns, CLONE_NEWNET):
        if first is not None:
            first()
        # A socket keeps the namespace in which it was opened, so this process need not stay there.
        return Socket(f"nsenter --net={netns} ip")


# ---- requests that change something ----------------------------------------------------------------------------


def packed_mac(mac: str) -> bytes:
    """The six bytes of a MAC address, "02:42:ac:11:00:02"."""
    return bytes.fromhex(mac.replace(":", ""))


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


#: The settings of a link: our name → (attribute, function that packs the value, words of `ip link`).
_SETTINGS = {
    "name": (IFLA_IFNAME, _text, "name {}"),
    "mac": (IFLA_ADDRESS, packed_mac, "address {}"),
    "mtu": (IFLA_MTU, U32.pack, "mtu {}"),
    "txqlen": (IFLA_TXQLEN, U32.pack, "txqueuelen {}"),
    "master": (IFLA_MASTER, lambda link: U32.pack(link.index), "master {}"),
    "netns": (IFLA_NET_NS_FD, lambda netns: U32.pack(netns.fd), "netns {}"),
}


def _pack_link(index: int, up: bool | None, words: dict[str, object]) -> bytes:
    """A link as the kernel reads it: struct ifinfomsg, then an attribute for each setting."""
    # The last field says which flags are to change: without it, flags of 0 would mean "down".
    parts = [_LINK.pack(0, 0, index, IFF_UP if up else 0, 0 if up is None else IFF_UP)]
    for word, value in words.items():
        kind, pack, _ = _SETTINGS[word]
        parts.append(attribute(kind, pack(value)))
    return b"".join(parts)


def _shell_words(index: int, up: bool | None, words: dict[str, object]) -> str:
    """The same link as `ip link` reads it."""
    parts = [f"index {index}"] if index else []
    parts += [_SETTINGS[word][2].format(value) for word, value in words.items()]
    return " ".join(parts if up is None else [*parts, "up" if up else "down"])


def new_bridge(index: int = 0, **words: object) -> Message:
    """RTM_NEWLINK: make a bridge.

    Arguments: index (int), its interface index, 0 for the next free one; words, its settings: name (str), mac (str),
    mtu (int), txqlen (int).
    """
    info = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, _text("bridge")))
    return Message("RTM_NEWLINK", RTM_NEWLINK, CREATE, _pack_link(index, None, words) + info).about(
        str(words["name"]), lambda: f"link add {_shell_words(index, None, words)} type bridge"
    )


def new_veth(near: dict[str, object], far: dict[str, object], *, index: int = 0, up: bool | None = None) -> Message:
    """RTM_NEWLINK: make a veth pair (the container's cable), both ends in one request.

    Arguments: near, far (dict), the settings of each end: name (str), mac (str), mtu (int), txqlen (int), master
    (Link), netns (Netns); index (int), the interface index of the far end, that of the near end is one more, 0 for the
    next free ones; up (bool), set the near end up.
    """
    # An end with a `netns` is made in there: moving it later would wait for two RCU grace periods, some 25 ms.
    number = index + 1 if index else 0
    peer = attribute(VETH_INFO_PEER, _pack_link(index, None, far))
    info = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, _text("veth")) + attribute(IFLA_INFO_DATA, peer))
    return Message("RTM_NEWLINK", RTM_NEWLINK, CREATE, _pack_link(number, up, near) + info).about(
        str(near["name"]),
        lambda: f"link add {_shell_words(number, up, near)} type veth peer {_shell_words(index, None, far)}",
    )


def set_link(link: Link, *, up: bool | None = None, **words: object) -> Message:
    """RTM_SETLINK: change a link. Arguments: up (bool), set it up or down; words, settings as for `new_veth`."""
    return Message("RTM_SETLINK", RTM_SETLINK, CHANGE, _pack_link(link.index, up, words)).about(
        link.name, lambda: f"link set {link} {_shell_words(0, up, words)}"
    )


def del_link(link: Link) -> Message:
    """RTM_DELLINK: delete a link; with one end of a veth pair the other goes too."""
    # The slowest request, some 20 ms: the kernel waits for RCU grace periods.
    return Message("RTM_DELLINK", RTM_DELLINK, CHANGE, _pack_link(link.index, None, {})).about(
        link.name, lambda: f"link del {link}"
    )


def set_hairpin(link: Link) -> Message:
    """RTM_NEWLINK: set hairpin mode on a port of a bridge: a frame may go back out of the port that it came in by."""
    # A container that reaches itself by a published port needs this: its packet is sent back to it after DNAT.
    mode = attribute(IFLA_INFO_SLAVE_DATA, attribute(IFLA_BRPORT_MODE, b"\1"))
    info = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_SLAVE_KIND, _text("bridge")) + mode)
    return Message("RTM_NEWLINK", RTM_NEWLINK, CHANGE, _pack_link(link.index, None, {}) + info).about(
        link.name, lambda: f"link set {link} type bridge_slave hairpin on"
    )


# ---- questions -------------------------------------------------------------------------------------------------


def get_link(name: str = "", index: int = 0) -> Message:
    """RTM_GETLINK: ask for one link, by name or index, or for all when neither is given."""
    words: dict[str, object] = {"name": name} if name else {}
    flags = NLM_F_REQUEST if name or index else NLM_F_REQUEST | NLM_F_DUMP
    return Message("RTM_GETLINK", RTM_GETLINK, flags, _pack_link(index, None, words)).about(name, lambda: "link show")


def named(name: str) -> Link:
    """The link of this name in this process's namespace, with its index only. Errors: KernelError."""
    # if_nametoindex(3) is one ioctl, cheaper than a request.
    try:
        return Link(socket.if_nametoindex(name), name)
    except OSError:
        raise KernelError(f"if_nametoindex {name}", errno.ENODEV) from None


def find_link(netlink: Socket, name: str) -> Link | None:
    """The link of this name with all attributes, or None."""
    try:
        return _link_of(netlink.ask(get_link(name))[0])
    except KernelError as error:
        if error.errno == errno.ENODEV:
            return None
        raise


def links(netlink: Socket) -> list[Link]:
    """All links of the socket's namespace."""
    return [_link_of(body) for body in netlink.ask(get_link())]


def _link_of(body: bytes) -> Link:
    """Unpack a link from the body of an RTM_NEWLINK message."""
    _family, _type, index, flags, _change = _LINK.unpack_from(body)
    found = attributes(body, _LINK.size)
    link = Link(index, found[IFLA_IFNAME].rstrip(b"\0").decode())
    link.kind = attributes(found.get(IFLA_LINKINFO, b"")).get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode()
    link.mac = found.get(IFLA_ADDRESS, b"").hex(":")
    link.up = bool(flags & IFF_UP)
    # An attribute that is missing is 0: a link without a bridge has no IFLA_MASTER.
    link.mtu, link.txqlen, link.master, link.peer = (
        U32.unpack(found.get(kind, bytes(4)))[0] for kind in (IFLA_MTU, IFLA_TXQLEN, IFLA_MASTER, IFLA_LINK)
    )
    return link
