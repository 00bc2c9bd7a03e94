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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Change = tuple[str, "Rule"]

#: How our chains are called, or begin.
OURS = "MINIRUN"
#: Actions and how they are taken back; "" when there is nothing to take back.
_BACK = {"-A": "-D", "-I": "-D", "-N": "-X", "-D": "", "-F": "", "-X": "", "-P": "-P"}


class Rule:
    """A rule: `.table` ("filter" or "nat"), `.chain` (str), `.words` (tuple of str, what follows the chain's name).

    The words are as `iptables -S` prints them (`! -d` before `-i`, `-p tcp -m tcp`), so that a rule and a line of the
    listing can be compared as they are. A chain is a rule without words, a policy one with the policy's name.
    """

    __slots__ = ("chain", "table", "words")

    def __init__(self, table: str, chain: str, words: str) -> None:
        self.table, self.chain, self.words = table, chain, tuple(words.split())

    def __str__(self) -> str:
        return " ".join(["-t", self.table, self.chain, *self.words])

    def argv(self, action: str) -> list[str]:
        """The command; `action` is -A (append), -I (insert at the top), -C (check), -D (delete), -N, -X, -F or -P."""
        return command("-t", self.table, action, self.chain, *self.words)


def command(*words: str) -> list[str]:
    """An iptables command. --wait: another program may be at the tables at this moment, and it would fail at once."""
    return ["iptables", "--wait", *words]


# ---- what there is, and what is to be ---------------------------------------------------------------------------


class Plan:
    """The rules of the kernel as they will be, and `.changes`, the way there.

    Arguments: listing (str), what iptables-save prints.
    """

    def __init__(self, listing: str) -> None:
        self.chains: dict[tuple[str, str], list[tuple[str, ...]]] = {}
        self.policies: dict[tuple[str, str], str] = {}
        self.changes: list[Change] = []
        table = ""
        for line in listing.splitlines():
            if line.startswith("*"):
                table = line[1:]
            elif line.startswith(":"):
                chain, policy, *_ = line[1:].split()
                self.chains[table, chain], self.policies[table, chain] = [], policy
            elif line.startswith("-A "):
                _, chain, *words = line.split()
                self.chains[table, chain].append(tuple(words))

    def ours(self) -> list[tuple[str, str]]:
        """The (table, chain) of each chain of ours."""
        return [(table, chain) for table, chain in self.policies if chain == OURS or chain.startswith(f"{OURS}-")]

    def chain(self, table: str, chain: str) -> list[tuple[str, ...]]:
        """The words of a chain's rules, in order."""
        return self.chains.setdefault((table, chain), [])

    def has(self, rule: Rule) -> bool:
        """True when the rule is there."""
        return rule.words in self.chain(rule.table, rule.chain)

    def add(self, action: str, rule: Rule) -> None:
        """Note a change: -A, -I or -D of a rule."""
        present = self.chain(rule.table, rule.chain)
        if action == "-A":
            present.append(rule.words)
        elif action == "-I":
            present.insert(0, rule.words)
        else:
            present.remove(rule.words)
        self.changes.append((action, rule))

    def ensure(self, action: str, rule: Rule) -> None:
        """Append or insert the rule unless it is there."""
        if not self.has(rule):
            self.add(action, rule)

    def ensure_gone(self, rule: Rule) -> None:
        """Delete the rule as often as it is there."""
        while self.has(rule):
            self.add("-D", rule)

    def ensure_chain(self, table: str, chain: str) -> None:
        """Make the chain unless it is there."""
        if (table, chain) not in self.policies:
            self.policies[table, chain] = "-"
            self.changes.append(("-N", Rule(table, chain, "")))

    def flush(self, table: str, chain: str) -> None:
        """Empty a chain, if there is anything in it."""
        if self.chain(table, chain):
            self.chain(table, chain).clear()
            self.changes.append(("-F", Rule(table, chain, "")))

    def remove_chain(self, table: str, chain: str) -> None:
        """Empty a chain and delete it, if it is there; nothing may jump into it any more."""
        if (table, chain) in self.policies:
            self.flush(table, chain)
            del self.policies[table, chain], self.chains[table, chain]
            self.changes.append(("-X", Rule(table, chain, "")))

    def set_policy(self, table: str, chain: str, policy: str) -> None:
        """What becomes of a packet that no rule wants. -P is told in any case, as Docker does it."""
        self.policies[table, chain] = policy
        self.changes.append(("-P", Rule(table, chain, policy)))


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
