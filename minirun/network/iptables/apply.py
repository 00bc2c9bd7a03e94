"""Reading and changing the kernel's firewall rules: iptables-save(8) and iptables-restore(8), undo, and the lock.

The rules are listed once (`iptables-save`), a `Plan` finds the changes, and one `iptables-restore --noflush` makes
them: where Docker runs some forty programs, we run two. --explain shows the forty commands, because they are what a
person would type.

Rules are changed inside `writing`, which holds the lock on the networks. The kernel counts the generations of its
ruleset; the one under which all rules were last known to be in place is saved, so that a start reads only a number
(see `generation`).
"""

from __future__ import annotations

from minirun import store
from minirun.errors import MinirunError
from minirun.kernel import process
from minirun.kernel.netlink import nftables
from minirun.light import TYPE_CHECKING
from minirun.network.iptables import generation
from minirun.network.iptables.plan import Plan
from minirun.network.iptables.rule import Rule, command

if TYPE_CHECKING:
    from collections.abc import Iterable

    from minirun.network.iptables.rule import Change

#: Action → the one that undoes it; "" when nothing does.
_UNDO = {"-A": "-D", "-I": "-D", "-N": "-X", "-D": "", "-F": "", "-X": "", "-P": "-P"}


def read() -> Plan:
    """The plan that begins with the kernel's rules. Errors: MinirunError with iptables' message."""
    return Plan(process.run(["iptables-save"]).out)


# ---- changes ----------------------------------------------------------------------------------------------------


def apply(changes: Iterable[Change]) -> None:
    """Make changes, all in one iptables-restore, which is atomic for each table.

    When that fails, the changes are made one by one, so that the error names the rule; and a system without
    iptables-restore still works. Errors: MinirunError with iptables' own message; the changes are undone then.
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
            if action in ("-A", "-I", "-D") and succeeds(rule.argv("-C")) == (action != "-D"):
                continue  # the failed iptables-restore had made this change
            if action == "-N" and succeeds(command("-t", rule.table, "-n", "-L", rule.chain)):
                continue
            process.run(rule.argv(action))
    except BaseException:
        undo(changes)
        raise


def undo(changes: Iterable[Change]) -> None:
    """Undo changes, as far as that is possible: a rule that was moved stays where it is."""
    changes = list(changes)
    moved = {rule.words for action, rule in changes if action == "-D"}
    for action, rule in reversed(changes):
        inverse = _UNDO[action]
        if action == "-P":
            rule = Rule(rule.table, rule.chain, "ACCEPT")
        if inverse and rule.words not in moved:
            process.run(rule.argv(inverse), check=False)


def succeeds(argv: list[str]) -> bool:
    """Run a query of iptables. Returns: False for exit code 1, "no". Errors: MinirunError for a greater one."""
    result = process.run(argv, check=False)
    if result.code > 1:
        raise MinirunError(f"{' '.join(argv)}: {result.err.strip().partition(chr(10))[0]}")
    return result.code == 0


def ensure_usable() -> None:
    """Check that iptables is there and works, before anything is changed.

    Errors: MinirunError with its message; or when rules of ours are in the tables of the other iptables. There are two
    variants, nf_tables and legacy; the kernel evaluates the rules of both, and an administrator can switch which one
    is `iptables`.
    """
    argv = command("-t", "nat", "-S", "POSTROUTING")
    result = process.run(argv, check=False)
    if result.code:
        message = result.err.strip().partition("\n")[0]
        hint = "the kernel cannot translate addresses yet: modprobe iptable_nat" if "insmod" in message else ""
        raise MinirunError(f"{' '.join(argv)}: {message}", hint=hint)
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
    """Change rules: `with writing(run): plan = read(); ...; apply(plan.changes)`. Holds the lock on the networks.

    `.known` (bool): no other program has changed a rule since all were known to be in place. If so, the saved ruleset
    generation is renewed after our own changes; if not, it stays as it is, does not match any more, and the next start
    checks all rules.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self.lock = store.lock(f"{run}/networks/ifindex")

    def __enter__(self) -> writing:
        self.lock.acquire()
        self.known, self.mark = generation.is_unchanged(self.run), generation.Mark()
        return self

    @property
    def fd(self) -> int:
        """The locked file, which holds the next interface index."""
        return self.lock.fd

    def __exit__(self, *error: object) -> None:
        if self.known and generation.commits != self.mark.commits:
            generation.renew(self.run, self.mark)
        self.lock.release()
