"""The ruleset generation: how a start knows, by reading one number, that all firewall rules are still in place.

The kernel counts the generations of its nf_tables ruleset (NFT_MSG_GETGEN, `kernel.netlink.nftables`): every commit by
any program increments the number. Saved is the number under which all rules were last known to be in place, with the
boot and the network namespace that it belongs to. After changes of our own, what is saved is the old number plus our
commits: the kernel has that one only if no other program has committed in between. So a change that another program
makes at the same time is not missed.
"""

from __future__ import annotations

from minirun import store
from minirun.kernel import procfs
from minirun.kernel.netlink import nftables
from minirun.light import os

#: Commits to the ruleset that this process has made.
commits = 0
_boot_id = ""


def host() -> str:
    """The identity of this boot and this network namespace."""
    global _boot_id
    _boot_id = _boot_id or procfs.boot_id()
    return f"{_boot_id} {os.stat('/proc/self/ns/net').st_ino}"


class Mark:
    """The ruleset generation at a moment: `.number`; `.legacy`, the sizes of the legacy tables; `.commits`, ours until
    then. `str()` is what is saved."""

    __slots__ = ("commits", "legacy", "number")

    def __init__(self) -> None:
        self.number, self.legacy, self.commits = nftables.ruleset_generation(), nftables.legacy_sizes(), commits

    def __str__(self) -> str:
        return f"{host()} {self.number} {self.legacy}".rstrip()

    def expected(self) -> str:
        """What `str(Mark())` is now if no other program has changed a rule since."""
        now = Mark()
        if not now.legacy:  # legacy tables have no generation: then only what is there now can be compared
            now.number = None if self.number is None else self.number + commits - self.commits
        return str(now)


def is_unchanged(run: str) -> bool:
    """Whether no program has changed the rules since all of them were last known to be in place."""
    try:
        with open(f"{run}/networks/rules", encoding="utf-8") as file:
            return file.read() == str(Mark())
    except FileNotFoundError:
        return False


def renew(run: str, since: Mark) -> None:
    """Save that all rules are in place. Arguments: since, the generation when they were listed, or last known to be."""
    store.write_text(f"{run}/networks/rules", since.expected())
