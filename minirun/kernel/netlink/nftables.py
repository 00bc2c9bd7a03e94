"""The firewall, asked one question only: have its rules changed since I last looked?

nf_tables counts the generations of its rules in each network namespace: every change that is committed, by whomever,
makes it one more. So whoever remembers the number under which he last saw the rules knows, without reading them, that
they are still the same. The older x_tables ("legacy") do not count, but tell how many entries a table has and how
large it is, which gives a change away unless somebody exchanges a rule for one of the same form.
"""

from __future__ import annotations

from minirun.errors import KernelError
from minirun.kernel import syscalls
from minirun.kernel.netlink.socket import NLM_F_REQUEST, Message, Socket, attributes
from minirun.light import socket, struct

# linux/netlink.h, linux/netfilter/nfnetlink.h, nf_tables.h
NETLINK_NETFILTER = 12
NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN, NFTA_GEN_ID = 10, 16, 1
_NFGENMSG = struct.Struct("=BBH")  # family, version, resource
# linux/netfilter_ipv4/ip_tables.h
IPT_SO_GET_INFO = 64
_IPT_GETINFO = struct.Struct("=32s13I")  # table, hooks, five entries, five underflows, entries, size

#: Which legacy tables this network namespace has; there is no such file while nobody has asked for any.
LEGACY_TABLES = "/proc/self/net/ip_tables_names"


def ruleset_generation() -> int | None:
    """The generation of the nf_tables rules of this network namespace; None when the kernel has no nf_tables."""
    question = Message(
        "NFT_MSG_GETGEN", NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, NLM_F_REQUEST, _NFGENMSG.pack(0, 0, 0)
    )
    try:
        with Socket("nft", NETLINK_NETFILTER) as netlink:
            body = netlink.ask(question)[0]
    except (KernelError, LookupError):
        return None
    return int(struct.unpack(">I", attributes(body, _NFGENMSG.size)[NFTA_GEN_ID])[0])


def legacy_sizes() -> str:
    """What each legacy table holds, as "nat 6/936 filter 4/672" (entries, bytes); "" when there is none."""
    try:
        with open(LEGACY_TABLES, encoding="ascii") as file:
            names = file.read().split()
    except OSError:  # the kernel has no legacy tables, or none is in use
        return ""
    return " ".join(f"{name} {'/'.join(map(str, _sizes(name)))}" for name in names)


def _sizes(table: str) -> tuple[int, int]:
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)
    try:
        wish = _IPT_GETINFO.pack(table.encode(), *[0] * 13)
        *_, entries, size = _IPT_GETINFO.unpack(syscalls.getsockopt(raw.fileno(), 0, IPT_SO_GET_INFO, wish))
    finally:
        raw.close()
    return entries, size
