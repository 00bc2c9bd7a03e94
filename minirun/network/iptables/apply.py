"""iptables(8), read and written: a rule is a value, and all changes of one errand go to the kernel in one call.

What the kernel has is read once (`iptables-save`). On that listing a `Plan` is played through, in Docker's order and
with Docker's questions ("is the rule there already?"), and what is left to do is handed to one
`iptables-restore --noflush`: where Docker runs some forty programs, we run two. Told are the forty lines, because they
are what a person would type.

Whoever writes rules does it within `writing`. The kernel counts the generations of its rules; the one under which all
was last known to be in place is written down, so that a start only needs to ask for a number.
"""

from __future__ import annotations

from minirun import store
from minirun.errors import MinirunError
from minirun.kernel import process
from minirun.kernel.netlink import nftables
from minirun.network.iptables import generation
from minirun.network.iptables.plan import Plan
from minirun.network.iptables.rule import Rule, command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from minirun.network.iptables.rule import Change

#: Actions and how they are taken back; "" when there is nothing to take back.
_BACK = {"-A": "-D", "-I": "-D", "-N": "-X", "-D": "", "-F": "", "-X": "", "-P": "-P"}


def read() -> Plan:
    """A plan that begins with what the kernel has. Errors: MinirunError with iptables' complaint."""
    return Plan(process.run(["iptables-save"]).out)


# ---- changes ----------------------------------------------------------------------------------------------------


def apply(changes: Iterable[Change]) -> None:
    """Make changes, all in one call. Errors: MinirunError with iptables' own complaint; nothing is left then.

    When that call fails, single ones say which rule it was; and a system without iptables-restore still works.
    """
    changes = list(changes)
    if not changes:
        return
    tables = list(dict.fromkeys(rule.table for _, rule in changes))
    lines = []
    for table in tables:
        lines += [
            f"*{table}",
            *(" ".join([action, rule.chain, *rule.words]) for action, rule in changes if rule.table == table),
            "COMMIT",
        ]
    told = [" ".join(rule.argv(action)) for action, rule in changes]
    done = process.run_script(["iptables-restore", "--noflush", "--wait"], "\n".join(lines) + "\n", told)
    if done.code == 0:
        generation.commits += len(tables)
    else:
        _one_by_one(changes)


def _one_by_one(changes: list[Change]) -> None:
    try:
        for action, rule in changes:
            if action in ("-A", "-I", "-D") and says_yes(rule.argv("-C")) == (action != "-D"):
                continue  # the failed call had come as far as this
            if action == "-N" and says_yes(command("-t", rule.table, "-n", "-L", rule.chain)):
                continue
            process.run(rule.argv(action))
    except BaseException:
        undo(changes)
        raise


def undo(changes: Iterable[Change]) -> None:
    """Take changes back, as far as they can be: a rule that was moved stays where it is."""
    changes = list(changes)
    moved = {rule.words for action, rule in changes if action == "-D"}
    for action, rule in reversed(changes):
        back = _BACK[action]
        if action == "-P":
            rule = Rule(rule.table, rule.chain, "ACCEPT")
        if back and rule.words not in moved:
            process.run(rule.argv(back), check=False)


def says_yes(argv: list[str]) -> bool:
    """Ask iptables something. It says no with exit code 1; a greater one means that it could not look."""
    result = process.run(argv, check=False)
    if result.code > 1:
        raise MinirunError(f"{' '.join(argv)}: {result.err.strip().partition(chr(10))[0]}")
    return result.code == 0


def ensure_usable() -> None:
    """See that iptables is there and works, before anything is changed.

    Errors: MinirunError with its complaint; or when rules of ours are in the tables of the other iptables. There are
    two, nf_tables and legacy, the kernel goes through the rules of both, and which one is `iptables` can be changed.
    """
    argv = command("-t", "nat", "-S", "POSTROUTING")
    result = process.run(argv, check=False)
    if result.code:
        complaint = result.err.strip().partition("\n")[0]
        hint = "the kernel cannot translate addresses yet: modprobe iptable_nat" if "insmod" in complaint else ""
        raise MinirunError(f"{' '.join(argv)}: {complaint}", hint=hint)
    version = process.run(["iptables", "--version"]).out
    other = "legacy" if "nf_tables" in version else "nft"
    if other == "legacy" and not nftables.legacy_sizes() or not process.exists(f"iptables-{other}-save"):
        return
    if Plan(process.run([f"iptables-{other}-save"], check=False).out).ours():
        raise MinirunError(
            f"iptables is {version.strip()}, but there are rules of ours in iptables-{other}",
            hint=f"take them away: iptables-{other}-save | grep -v MINIRUN | iptables-{other}-restore",
        )


# ---- the lock ---------------------------------------------------------------------------------------------------


class writing:
    """Change rules: `with writing(run): plan = read(); ...; apply(plan.changes)`. Holds the networks' lock.

    The stamp moves on with our own changes. When somebody else has been at the rules it does not fit any more, and the
    next start looks at all of them.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self.lock = store.lock(f"{run}/networks/ifindex")

    def __enter__(self) -> writing:
        self.lock.__enter__()
        self.known, self.mark = generation.is_unchanged(self.run), generation.Mark()
        return self

    @property
    def fd(self) -> int:
        """The locked file, which holds the next device number."""
        return self.lock.fd

    def __exit__(self, *error: object) -> None:
        if self.known and generation.commits != self.mark.commits:
            generation.renew(self.run, self.mark)
        self.lock.__exit__(*error)
