"""The firewall's own socket (nfnetlink): one question only, how often the rules have been changed.

nf_tables counts the generations of its rules in each network namespace: every change that is committed, by whomever,
makes it one more. So whoever remembers the number under which he last saw the rules knows, without reading them, that
they are still the same.
"""

from __future__ import annotations

import struct

from minirun.errors import KernelError
from minirun.kernel.netlink import NLM_F_REQUEST, Message, Socket, attributes

# linux/netlink.h, linux/netfilter/nfnetlink.h, nf_tables.h
NETLINK_NETFILTER = 12
NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN, NFTA_GEN_ID = 10, 16, 1
_NFGENMSG = struct.Struct("=BBH")  # family, version, resource


def ruleset_generation() -> int | None:
    """The generation of the nf_tables rules of this network namespace; None when the kernel has no nf_tables."""
    question = Message("NFT_MSG_GETGEN", NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, NLM_F_REQUEST,
                       _NFGENMSG.pack(0, 0, 0))
    try:
        with Socket("nft", NETLINK_NETFILTER) as netlink:
            body = netlink.ask(question)[0]
    except (KernelError, LookupError):
        return None
    return int(struct.unpack(">I", attributes(body, _NFGENMSG.size)[NFTA_GEN_ID])[0])
