"""A rule is a value; the list of a bridge's rules is Docker's list; a plan asks Docker's questions of a listing."""

from __future__ import annotations

import pytest

from minirun.network.bridge.device import Bridge
from minirun.network.ipam.address_pool import Pool
from minirun.network.ipam.subnet import Subnet
from minirun.network.iptables import apply, chains
from minirun.network.iptables.plan import Plan
from minirun.network.iptables.rule import Rule


def bridge(**words):
    made = Bridge("minirun0", Pool(Subnet("172.17.0.0/16"), "172.17.0.1"))
    for name, value in words.items():
        setattr(made, name, value)
    return made


#: Docker's calls for docker0 that change something, in its order and with its words, but for our names and the order
#: of words in a rule, which is that of the listing.
PLAIN = """\
-t nat -I POSTROUTING -s 172.17.0.0/16 ! -o minirun0 -j MASQUERADE
-t nat -I MINIRUN -i minirun0 -j RETURN
-t filter -D FORWARD -i minirun0 -o minirun0 -j DROP
-t filter -I FORWARD -i minirun0 -o minirun0 -j ACCEPT
-t filter -I FORWARD -i minirun0 ! -o minirun0 -j ACCEPT
-t nat -A PREROUTING -m addrtype --dst-type LOCAL -j MINIRUN
-t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j MINIRUN
-t filter -I FORWARD -o minirun0 -j MINIRUN
-t filter -I FORWARD -o minirun0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-t filter -I FORWARD -j MINIRUN-ISOLATION-STAGE-1
-t filter -I MINIRUN-ISOLATION-STAGE-1 -i minirun0 ! -o minirun0 -j MINIRUN-ISOLATION-STAGE-2
-t filter -I MINIRUN-ISOLATION-STAGE-2 -o minirun0 -j DROP
""".splitlines()
INTERNAL = """\
-t filter -I MINIRUN-ISOLATION-STAGE-1 ! -d 172.17.0.0/16 -i minirun0 -j DROP
-t filter -I MINIRUN-ISOLATION-STAGE-1 ! -s 172.17.0.0/16 -o minirun0 -j DROP
-t filter -D FORWARD -i minirun0 -o minirun0 -j DROP
-t filter -I FORWARD -i minirun0 -o minirun0 -j ACCEPT
-t filter -I FORWARD -j MINIRUN-ISOLATION-STAGE-1
""".splitlines()
NO_ICC = [
    "-t filter -D FORWARD -i minirun0 -o minirun0 -j ACCEPT",
    "-t filter -A FORWARD -i minirun0 -o minirun0 -j DROP",
]
NO_PROXY = ["-t nat -I POSTROUTING -o minirun0 -m addrtype --src-type LOCAL -j MASQUERADE"]


def test_all_commands_come_from_one_value():
    rule = Rule("nat", "POSTROUTING", "-s 172.17.0.0/16 ! -o minirun0 -j MASQUERADE")
    words = "POSTROUTING -s 172.17.0.0/16 ! -o minirun0 -j MASQUERADE"
    for action in ("-A", "-I", "-C", "-D"):
        assert " ".join(rule.argv(action)) == f"iptables --wait -t nat {action} {words}"
    assert Rule("filter", "MINIRUN", "").argv("-N") == ["iptables", "--wait", "-t", "filter", "-N", "MINIRUN"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({}, PLAIN),
        ({"icc": False}, PLAIN[:2] + NO_ICC + PLAIN[4:]),
        ({"masquerade": False}, PLAIN[2:]),
        (
            {"hairpin": True},
            PLAIN[:1] + NO_PROXY + PLAIN[2:6] + [PLAIN[6].replace("! -d 127.0.0.0/8 ", "")] + PLAIN[7:],
        ),
        (
            {"hairpin": True, "masquerade": False},
            NO_PROXY + PLAIN[2:6] + [PLAIN[6].replace("! -d 127.0.0.0/8 ", "")] + PLAIN[7:],
        ),
        ({"internal": True}, INTERNAL),
        ({"internal": True, "icc": False}, INTERNAL[:2] + NO_ICC + INTERNAL[4:]),
        ({"internal": True, "masquerade": False}, INTERNAL),
    ],
    ids=str,
)
def test_the_rules_of_a_bridge_in_dockers_order(words, expected):
    calls = [rule.argv("-I" if action == "top" else action) for action, rule in chains.bridge_rules(bridge(**words))]
    assert [" ".join(call[2:]) for call in calls] == expected


# ---- a plan ----------------------------------------------------------------------------------------------------


def listing(*forward):
    lines = [
        "*filter",
        ":FORWARD DROP [0:0]",
        ":MINIRUN-USER - [0:0]",
        *(f"-A FORWARD {words}" for words in forward),
        "-A MINIRUN-USER -j RETURN",
        "COMMIT",
    ]
    return "\n".join(lines)


def forward_of(plan):
    return [" ".join(words) for words in plan.chain("filter", "FORWARD")]


def on_top(*forward):
    plan = Plan(listing(*forward))
    for target in (chains.STAGE_1, chains.USER):
        chains.ensure_on_top(plan, Rule("filter", "FORWARD", f"-j {target}"))
    return plan


def test_jumps_that_are_on_top_are_left_alone():
    plan = on_top("-j MINIRUN-USER", "-j MINIRUN-ISOLATION-STAGE-1", "-j ACCEPT")
    assert plan.changes == []


def test_jumps_that_others_pushed_down_come_back_to_the_top():
    plan = on_top("-j LOG", "-j MINIRUN-USER", "-j ACCEPT", "-j MINIRUN-ISOLATION-STAGE-1")
    assert forward_of(plan) == ["-j MINIRUN-USER", "-j MINIRUN-ISOLATION-STAGE-1", "-j LOG", "-j ACCEPT"]
    assert [action for action, _ in plan.changes] == ["-D", "-I", "-D", "-I"]


def test_jumps_are_made_where_there_are_none():
    assert forward_of(on_top()) == ["-j MINIRUN-USER", "-j MINIRUN-ISOLATION-STAGE-1"]


def test_what_is_there_already_is_not_made_again():
    plan = Plan("")
    chains.ensure_chains(plan)
    chains.ensure_bridge(plan, bridge())
    made = len(plan.changes)
    plan.changes.clear()
    chains.ensure_chains(plan)
    chains.ensure_bridge(plan, bridge())
    assert (made, plan.changes) == (20, [])


def test_removed_is_what_was_made_for_the_bridge_in_dockers_order():
    plan = Plan("")
    chains.ensure_chains(plan)
    chains.ensure_bridge(plan, bridge())
    plan.changes.clear()
    chains.remove_bridge(plan, bridge())
    assert [" ".join(rule.argv(action)[2:]) for action, rule in plan.changes] == [
        line.replace(" -I ", " -D ") for line in PLAIN if " -I " in line and not line.endswith("STAGE-1")
    ]
    assert forward_of(plan) == ["-j MINIRUN-USER", "-j MINIRUN-ISOLATION-STAGE-1"]


def test_undo_goes_backwards_and_leaves_a_moved_rule_where_it_is(monkeypatch):
    calls = []
    monkeypatch.setattr(apply.process, "run", lambda argv, check: calls.append(" ".join(argv[2:])))
    moved, new = Rule("filter", "FORWARD", "-j MINIRUN-USER"), Rule("nat", "POSTROUTING", "-j MASQUERADE")
    apply.undo(
        [
            ("-N", Rule("nat", "MINIRUN", "")),
            ("-P", Rule("filter", "FORWARD", "DROP")),
            ("-A", new),
            ("-D", moved),
            ("-I", moved),
        ]
    )
    assert calls == ["-t nat -D POSTROUTING -j MASQUERADE", "-t filter -P FORWARD ACCEPT", "-t nat -X MINIRUN"]
