"""How a start knows, almost for nothing, that all is still in place: what was last seen is written down as a number.

A stamp says under which boot and in which network namespace something was seen to be in place. For a bridge it holds
the number of its link: one that was deleted and made again has another. For the firewall rules it is the kernel's own
count of their generations (`kernel.netfilter`): whoever changes a rule, moves it on. Our own changes are so many more
generations; written down is the number that the kernel must have reached if nobody but us was at work. So a change
that somebody else made at the same time is not missed.
"""

from __future__ import annotations

import os

from minirun import store
from minirun.kernel import procfs
from minirun.kernel.netlink import nftables

#: How many changes of the rules this process has committed.
commits = 0


_boot_id = ""


def host() -> str:
    """What tells this boot and this network namespace from any other."""
    global _boot_id
    _boot_id = _boot_id or procfs.boot_id()
    return f"{_boot_id} {os.stat('/proc/self/ns/net').st_ino}"


class Mark:
    """The generation of the rules at a moment, and how many changes had been ours by then."""

    __slots__ = ("commits", "legacy", "number")

    def __init__(self) -> None:
        self.number, self.legacy, self.commits = nftables.ruleset_generation(), nftables.legacy_sizes(), commits

    def __str__(self) -> str:
        return f"{host()} {self.number} {self.legacy}".rstrip()

    def expected(self) -> str:
        """What must be the mark by now if nobody but us has changed a rule since."""
        now = Mark()
        if not now.legacy:  # legacy tables do not count; with them what is seen has to do
            now.number = None if self.number is None else self.number + commits - self.commits
        return str(now)


def is_unchanged(run: str) -> bool:
    """True when nobody has touched the rules since all of them were last known to be in place."""
    try:
        with open(f"{run}/networks/rules", encoding="utf-8") as file:
            return file.read() == str(Mark())
    except FileNotFoundError:
        return False


def renew(run: str, since: Mark) -> None:
    """Write down that all rules are in place. Arguments: since, the mark when they were looked at, or last so."""
    store.write_text(f"{run}/networks/rules", since.expected())
