"""The generation of the nf_tables ruleset: whether firewall rules have changed since they were last read.

nf_tables counts the generations of the ruleset in each network namespace: every committed transaction of any program
adds one. So a program that has saved the number with which it last read the rules knows, without reading them, that
they are the same. The older x_tables ("legacy") have no such number, but tell how many entries a table has and its size
in bytes, which shows every change but the exchange of a rule for one of the same form.
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

#: The legacy tables of this network namespace; the file does not exist while no module of them is loaded.
LEGACY_TABLES = "/proc/self/net/ip_tables_names"


def ruleset_generation() -> int | None:
    """The generation (int) of this network namespace's nf_tables ruleset; None when the kernel has no nf_tables."""
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
    """Entries and bytes of each legacy table, "nat 6/936 filter 4/672"; "" when there is none."""
    try:
        with open(LEGACY_TABLES, encoding="ascii") as file:
            names = file.read().split()
    except OSError:  # the kernel has no legacy tables, or none is in use
        return ""
    return " ".join(f"{name} {'/'.join(map(str, _sizes(name)))}" for name in names)


def _sizes(table: str) -> tuple[int, int]:
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)
    try:
        # The table's name is read from the buffer that the answer is written to.
        question = _IPT_GETINFO.pack(table.encode(), *[0] * 13)
        *_, entries, size = _IPT_GETINFO.unpack(syscalls.getsockopt(raw.fileno(), 0, IPT_SO_GET_INFO, question))
    finally:
        raw.close()
    return entries, size
