"""A firewall rule as a value (libnetwork's iptables.Rule): append, insert, check and delete are derived from it."""

from __future__ import annotations


class Rule:
    """A rule: `.table` ("filter", "nat" or "mangle"), `.chain` (str), `.words` (tuple of str, matches and target).

    The words are in the order in which `iptables -S` prints them (`! -d` before `-i`, `-p tcp -m tcp`), so that a rule
    and a line of the listing can be compared as they are. A chain is a rule without words, a policy one with the
    policy's name.
    """

    __slots__ = ("chain", "table", "words")

    def __init__(self, table: str, chain: str, words: str) -> None:
        self.table, self.chain, self.words = table, chain, tuple(words.split())

    def __str__(self) -> str:
        return " ".join(["-t", self.table, self.chain, *self.words])

    def argv(self, action: str) -> list[str]:
        """The iptables command. `action`: -A (append), -I (insert first), -C (check), -D (delete), -N, -X, -F or -P."""
        return command("-t", self.table, action, self.chain, *self.words)


def command(*words: str) -> list[str]:
    """An iptables command. --wait: while another program holds the xtables lock it would fail at once."""
    return ["iptables", "--wait", *words]


#: What is done with a rule: (action, rule); see `Rule.argv` for the actions.
Change = tuple[str, Rule]
