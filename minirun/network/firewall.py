"""Docker's firewall rules, as iptables(8) has them, for the bridge of one network.

    from a container to the world    FORWARD -i minirun0 ! -o minirun0 ACCEPT, then nat POSTROUTING MASQUERADE
    the world's answer               FORWARD -o minirun0 ctstate RELATED,ESTABLISHED ACCEPT
    the world by itself              FORWARD -o minirun0 -j MINIRUN (published ports), else the policy: DROP
    one network to another           MINIRUN-ISOLATION-STAGE-1 (left a bridge?), -2 (enters another?): DROP
    what the administrator wants     MINIRUN-USER, always first, never emptied by us

A rule is a value; append, insert, check and delete are derived from it, so that none can drift from the others.
Chains and order are those of Docker 20.10 to 27 with DOCKER renamed to MINIRUN, so that both can live on one host: the
profile `docker-20`. A rule is looked for before it is made, so a second run changes nothing.
"""

from __future__ import annotations

from minirun.errors import MinirunError
from minirun.kernel import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.network.bridge import Bridge

    Undo = list[Callable[[], object]]

PROFILE = "docker-20"
MINIRUN, USER = "MINIRUN", "MINIRUN-USER"
STAGE_1, STAGE_2 = "MINIRUN-ISOLATION-STAGE-1", "MINIRUN-ISOLATION-STAGE-2"
CHAINS = (("nat", MINIRUN), ("filter", MINIRUN), ("filter", STAGE_1), ("filter", STAGE_2))


class Rule:
    """A rule: `.table` ("filter" or "nat"), `.chain` (str), `.words` (tuple of str, what follows the chain's name)."""

    __slots__ = ("chain", "table", "words")

    def __init__(self, table: str, chain: str, words: str) -> None:
        self.table, self.chain, self.words = table, chain, tuple(words.split())

    def argv(self, action: str) -> list[str]:
        """The command; `action` is -A (append), -I (insert at the top), -C (check) or -D (delete)."""
        return command("-t", self.table, action, self.chain, *self.words)

    def exists(self) -> bool:
        """True when the kernel has this rule."""
        return _says_yes(self.argv("-C"))

    def ensure(self, action: str, undo: Undo) -> None:
        """Append or insert the rule unless it is there; how to undo that is noted in `undo`."""
        if not self.exists():
            process.run(self.argv(action))
            undo.append(lambda: process.run(self.argv("-D"), check=False))

    def ensure_gone(self) -> None:
        """Delete the rule if it is there."""
        if self.exists():
            process.run(self.argv("-D"))


def command(*words: str) -> list[str]:
    """An iptables command. --wait: another program may be at the tables at this moment, and it would fail at once."""
    return ["iptables", "--wait", *words]


def _says_yes(argv: list[str]) -> bool:
    """Ask iptables something. It says no with exit code 1; a greater one means that it could not look."""
    result = process.run(argv, check=False)
    if result.code > 1:
        raise MinirunError(f"{' '.join(argv)}: {result.err.strip().partition(chr(10))[0]}")
    return result.code == 0


def rules_of(bridge: Bridge) -> list[tuple[str, Rule]]:
    """(action, rule) for a bridge, in the order in which Docker makes them; nearly all are inserted at the top, so
    the newest network comes first and, within it, the last rule made."""
    name = bridge.name
    return [
        ("-I", Rule("nat", "POSTROUTING", f"-s {bridge.subnet} ! -o {name} -j MASQUERADE")),
        ("-I", Rule("nat", MINIRUN, f"-i {name} -j RETURN")),
        ("-D", Rule("filter", "FORWARD", f"-i {name} -o {name} -j DROP")),
        ("-I", Rule("filter", "FORWARD", f"-i {name} -o {name} -j ACCEPT")),
        ("-I", Rule("filter", "FORWARD", f"-i {name} ! -o {name} -j ACCEPT")),
        ("-A", Rule("nat", "PREROUTING", f"-m addrtype --dst-type LOCAL -j {MINIRUN}")),
        ("-A", Rule("nat", "OUTPUT", f"-m addrtype --dst-type LOCAL -j {MINIRUN} ! --dst 127.0.0.0/8")),
        ("-I", Rule("filter", "FORWARD", f"-o {name} -j {MINIRUN}")),
        ("-I", Rule("filter", "FORWARD", f"-o {name} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")),
        ("top", Rule("filter", "FORWARD", f"-j {STAGE_1}")),
        ("-I", Rule("filter", STAGE_1, f"-i {name} ! -o {name} -j {STAGE_2}")),
        ("-I", Rule("filter", STAGE_2, f"-o {name} -j DROP")),
    ]


def ensure_usable() -> None:
    """See that iptables is there and works, before anything is changed. Errors: MinirunError with its complaint."""
    process.run(command("-t", "nat", "-S", "POSTROUTING"))


def ensure(bridge: Bridge, *, drop: bool, undo: Undo) -> None:
    """Give the host the chains, and the bridge its rules.

    Arguments: drop (bool), set FORWARD's policy to DROP; undo (list), takes a function for each thing that was made.
    Errors: MinirunError with iptables' complaint.
    """
    for table, chain in CHAINS:
        _ensure_chain(table, chain, undo)
    for chain in (STAGE_1, STAGE_2):
        Rule("filter", chain, "-j RETURN").ensure("-A", undo)
    if drop:
        process.run(command("-t", "filter", "-P", "FORWARD", "DROP"))
        undo.append(lambda: process.run(command("-t", "filter", "-P", "FORWARD", "ACCEPT"), check=False))
    for action, rule in rules_of(bridge):
        if action == "-D":
            rule.ensure_gone()
        elif action == "top":
            _ensure_on_top(rule, undo)
        else:
            rule.ensure(action, undo)
    _ensure_chain("filter", USER, undo)
    Rule("filter", USER, "-j RETURN").ensure("-A", undo)
    _ensure_on_top(Rule("filter", "FORWARD", f"-j {USER}"), undo)


def remove(bridge: Bridge) -> None:
    """Take away the rules of one bridge; the chains, the jumps into them and the policy stay, as Docker leaves them."""
    for _action, rule in rules_of(bridge):
        if bridge.name in rule.words:
            rule.ensure_gone()


def _ensure_chain(table: str, chain: str, undo: Undo) -> None:
    if not _says_yes(command("-t", table, "-n", "-L", chain)):
        process.run(command("-t", table, "-N", chain))
        undo.append(lambda: process.run(command("-t", table, "-X", chain), check=False))


def _ensure_on_top(rule: Rule, undo: Undo) -> None:
    """Have a rule first in its chain, save for the jump to MINIRUN-USER, which is the very first.

    Docker takes it out and inserts it again whenever it passes here. We look first: a rule that is in its place stays
    there, and there is no moment without it.
    """
    wanted, user = (f"-A {rule.chain} -j {target}" for target in (rule.words[-1], USER))
    listed = process.run(command("-t", rule.table, "-S", rule.chain)).out.splitlines()
    present = [line for line in listed if line.startswith("-A") and (line != user or line == wanted)]
    if present[:1] == [wanted]:
        return
    if wanted in present:
        process.run(rule.argv("-D"))
    process.run(rule.argv("-I"))
    undo.append(lambda: process.run(rule.argv("-D"), check=False))
