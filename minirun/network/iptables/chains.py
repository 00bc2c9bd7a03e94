"""Docker's chains and the rules of a network in them, in Docker's order (iptables(8)).

    container to the outside       FORWARD -i minirun0 ! -o minirun0 ACCEPT, then nat POSTROUTING MASQUERADE
    its replies                    FORWARD -o minirun0 ctstate RELATED,ESTABLISHED ACCEPT
    new connections from outside   FORWARD -o minirun0 -j MINIRUN (published ports), else the policy: DROP
    one network to another         MINIRUN-ISOLATION-STAGE-1 (leaves a bridge), -2 (enters another one): DROP
    the administrator's rules      MINIRUN-USER, always first, never flushed by us

Chains and order are those of Docker 20.10 to 27 with DOCKER renamed to MINIRUN, so that both can live on one host: the
profile `docker-20`. Nearly all rules are inserted at the top, so the newest network comes first and, within it, the
last rule made. Each function here takes a `Plan` (the simulated rule set) and adds the changes to it.
"""

from __future__ import annotations

from minirun.light import TYPE_CHECKING
from minirun.network.iptables.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.network.bridge.device import Bridge
    from minirun.network.iptables.plan import Plan
    from minirun.network.iptables.rule import Change

MINIRUN, USER = "MINIRUN", "MINIRUN-USER"
STAGE_1, STAGE_2 = "MINIRUN-ISOLATION-STAGE-1", "MINIRUN-ISOLATION-STAGE-2"
CHAINS = (("nat", MINIRUN), ("filter", MINIRUN), ("filter", STAGE_1), ("filter", STAGE_2))
_LOCAL = "-m addrtype --dst-type LOCAL"


def nat_jumps(hairpin: bool) -> list[Change]:
    """The two jumps to nat's MINIRUN; connections to 127.0.0.1 go to the userland proxy, unless hairpin replaces it."""
    loopback = "" if hairpin else "! -d 127.0.0.0/8 "
    return [
        ("-A", Rule("nat", "PREROUTING", f"{_LOCAL} -j {MINIRUN}")),
        ("-A", Rule("nat", "OUTPUT", f"{loopback}{_LOCAL} -j {MINIRUN}")),
    ]


def bridge_rules(bridge: Bridge) -> list[Change]:
    """The rules of a bridge, (action, rule), in the order in which Docker makes them; "top" see `ensure_on_top`."""
    return _internal_rules(bridge) if bridge.internal else _external_rules(bridge)


def _external_rules(bridge: Bridge) -> list[Change]:
    name = bridge.name
    changes: list[Change] = []
    if bridge.masquerade:
        changes.append(("-I", Rule("nat", "POSTROUTING", f"-s {bridge.subnet} ! -o {name} -j MASQUERADE")))
    if bridge.hairpin:
        changes.append(("-I", _hairpin_masquerade(bridge)))
    elif bridge.masquerade:
        changes.append(("-I", Rule("nat", MINIRUN, f"-i {name} -j RETURN")))
    return (
        changes
        + _icc_rules(bridge)
        + [
            ("-I", Rule("filter", "FORWARD", f"-i {name} ! -o {name} -j ACCEPT")),
            *nat_jumps(bridge.hairpin),
            ("-I", Rule("filter", "FORWARD", f"-o {name} -j {MINIRUN}")),
            ("-I", Rule("filter", "FORWARD", f"-o {name} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")),
            ("top", Rule("filter", "FORWARD", f"-j {STAGE_1}")),
            ("-I", Rule("filter", STAGE_1, f"-i {name} ! -o {name} -j {STAGE_2}")),
            ("-I", Rule("filter", STAGE_2, f"-o {name} -j DROP")),
        ]
    )


def _hairpin_masquerade(bridge: Bridge) -> Rule:
    """Masquerade what the host's own addresses send to a container: a packet from 127.0.0.1 could not be answered."""
    return Rule("nat", "POSTROUTING", f"-o {bridge.name} -m addrtype --src-type LOCAL -j MASQUERADE")


def _internal_rules(bridge: Bridge) -> list[Change]:
    """The rules of an internal network: what comes from outside its subnet, or goes there, is dropped."""
    return [
        ("-I", Rule("filter", STAGE_1, f"! -d {bridge.subnet} -i {bridge.name} -j DROP")),
        ("-I", Rule("filter", STAGE_1, f"! -s {bridge.subnet} -o {bridge.name} -j DROP")),
        *_icc_rules(bridge),
        ("top", Rule("filter", "FORWARD", f"-j {STAGE_1}")),
    ]


def _icc_rules(bridge: Bridge) -> list[Change]:
    """Inter-container communication: ACCEPT at the top, or DROP at the end; never both."""
    accept, drop = (
        Rule("filter", "FORWARD", f"-i {bridge.name} -o {bridge.name} -j {word}") for word in ("ACCEPT", "DROP")
    )
    return [("-D", drop), ("-I", accept)] if bridge.icc else [("-D", accept), ("-A", drop)]


def link_rules(bridge: Bridge, client: str, server: str, ports: Sequence[tuple[str, int]]) -> list[Change]:
    """The rules of a legacy link on a bridge without inter-container communication: ACCEPT for the exposed ports.

    Arguments: client, server (addresses); ports, (protocol, number) of each port that the server exposes; Docker begins
    with the highest.
    """
    changes: list[Change] = []
    for protocol, port in sorted(ports, key=lambda one: (-one[1], one[0])):
        for source, target, word in ((client, server, "dport"), (server, client, "sport")):
            words = f"-s {source}/32 -d {target}/32 -i {bridge.name} -o {bridge.name} -p {protocol} -m {protocol}"
            changes.append(("-A", Rule("filter", MINIRUN, f"{words} --{word} {port} -j ACCEPT")))
    return changes


def ensure_chains(plan: Plan) -> None:
    """Create our chains, which are there before any network."""
    for table, chain in CHAINS:
        plan.ensure_chain(table, chain)
    for chain in (STAGE_1, STAGE_2):
        plan.ensure("-A", Rule("filter", chain, "-j RETURN"))


def ensure_bridge(plan: Plan, bridge: Bridge) -> None:
    """Have the rules of one bridge, and the jump to the administrator's chain on top of all."""
    if not bridge.hairpin:
        plan.ensure_gone(_hairpin_masquerade(bridge))  # from a time without the userland proxy
    for action, rule in bridge_rules(bridge):
        if action == "-D":
            plan.ensure_gone(rule)
        elif action == "top":
            ensure_on_top(plan, rule)
        else:
            plan.ensure(action, rule)
    ensure_user_chain(plan)


def ensure_user_chain(plan: Plan) -> None:
    """Have MINIRUN-USER, with one RETURN, and the jump to it first in FORWARD; its other rules are not ours."""
    plan.ensure_chain("filter", USER)
    plan.ensure("-A", Rule("filter", USER, "-j RETURN"))
    ensure_on_top(plan, Rule("filter", "FORWARD", f"-j {USER}"))


def ensure_on_top(plan: Plan, rule: Rule) -> None:
    """Have a rule first in its chain, after the jump to MINIRUN-USER only.

    Docker deletes and inserts it each time. We look first: a rule that is in its place stays there, and there is no
    moment without it.
    """
    user = Rule("filter", "FORWARD", f"-j {USER}")
    present = [words for words in plan.chain(rule.table, rule.chain) if words != user.words or rule.words == user.words]
    if present[:1] == [rule.words]:
        return
    plan.ensure_gone(rule)
    plan.add("-I", rule)


def remove_bridge(plan: Plan, bridge: Bridge) -> None:
    """Delete the rules of one bridge; our chains, the jumps to them and the policy stay, as Docker leaves them."""
    for action, rule in bridge_rules(bridge):
        if action in ("-I", "-A") and (bridge.name in rule.words):
            plan.ensure_gone(rule)


def flush_chains(plan: Plan) -> None:
    """Flush our chains, and delete the jumps to nat's, as dockerd does first when it starts. MINIRUN-USER stays."""
    for hairpin in (False, True):
        for _, rule in nat_jumps(hairpin):
            plan.ensure_gone(rule)
    plan.remove_chain("nat", MINIRUN)
    for chain in (MINIRUN, STAGE_1, STAGE_2):
        plan.flush("filter", chain)


def remove_chains(plan: Plan) -> list[str]:
    """Delete our chains, with all rules that jump to them. Returns: what had to stay, and why."""
    left = []
    ours = [chain for chain in plan.ours() if chain != ("filter", USER)]
    own = plan.chain("filter", USER)
    if [words for words in own if words != ("-j", "RETURN")]:
        left.append(f"chain {USER}: it has rules that are not ours")
    elif ("filter", USER) in plan.policies:
        ours.append(("filter", USER))
    names = {chain for _, chain in ours}
    for (table, chain), present in list(plan.chains.items()):
        for words in list(present):
            if words[-2:][:1] == ("-j",) and words[-1] in names:
                plan.ensure_gone(Rule(table, chain, " ".join(words)))
    for table, chain in ours:
        plan.flush(table, chain)
    for table, chain in ours:
        plan.remove_chain(table, chain)
    return left
