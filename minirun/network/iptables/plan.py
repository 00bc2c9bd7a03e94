"""The simulated rule set: what the kernel has, the changes that are to be made to it, and what it will have then.

`iptables-save` lists what the kernel has. On that listing a `Plan` plays Docker's calls through, in Docker's order and
with Docker's checks ("is the rule there already?"), and collects the changes that are left to make.
"""

from __future__ import annotations

from minirun.light import TYPE_CHECKING
from minirun.network.iptables.rule import Rule

if TYPE_CHECKING:
    from minirun.network.iptables.rule import Change

#: Our chains have this name, or one that begins with it and a hyphen.
OURS = "MINIRUN"


class Plan:
    """The simulated rule set: `.chains`, (table, chain) → rules; `.policies`, (table, chain) → policy, "-" for a chain
    that is not built in; `.changes`, what has to be done in the kernel for it.

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
        """The (table, chain) of each of our chains."""
        return [(table, chain) for table, chain in self.policies if chain == OURS or chain.startswith(f"{OURS}-")]

    def chain(self, table: str, chain: str) -> list[tuple[str, ...]]:
        """The words of a chain's rules, in order."""
        return self.chains.setdefault((table, chain), [])

    def has(self, rule: Rule) -> bool:
        """Whether the rule is there (iptables -C)."""
        return rule.words in self.chain(rule.table, rule.chain)

    def add(self, action: str, rule: Rule) -> None:
        """Add a change: -A, -I or -D of a rule."""
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
        """Create the chain unless it is there."""
        if (table, chain) not in self.policies:
            self.policies[table, chain] = "-"
            self.changes.append(("-N", Rule(table, chain, "")))

    def flush(self, table: str, chain: str) -> None:
        """Flush a chain, if there is a rule in it."""
        if self.chain(table, chain):
            self.chain(table, chain).clear()
            self.changes.append(("-F", Rule(table, chain, "")))

    def remove_chain(self, table: str, chain: str) -> None:
        """Flush a chain and delete it, if it is there; no rule may jump to it any more."""
        if (table, chain) in self.policies:
            self.flush(table, chain)
            del self.policies[table, chain], self.chains[table, chain]
            self.changes.append(("-X", Rule(table, chain, "")))

    def set_policy(self, table: str, chain: str, policy: str) -> None:
        """Set a chain's policy: the verdict on a packet that matches no rule. Docker runs -P in any case, so we do."""
        self.policies[table, chain] = policy
        self.changes.append(("-P", Rule(table, chain, policy)))
