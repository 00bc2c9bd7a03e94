"""A rule is a value: all commands are derived from it; and the list of a bridge's rules is Docker's list."""

from __future__ import annotations

from minirun.network import firewall
from minirun.network.bridge import Bridge
from minirun.network.firewall import Rule
from minirun.network.ipam import Subnet

BRIDGE = Bridge("minirun0", Subnet("172.17.0.0/16"), "172.17.0.1")

#: Docker's calls for docker0 that change something, in its order, with its names changed to ours.
DOCKERS_CALLS = """\
iptables --wait -t nat -I POSTROUTING -s 172.17.0.0/16 ! -o minirun0 -j MASQUERADE
iptables --wait -t nat -I MINIRUN -i minirun0 -j RETURN
iptables --wait -t filter -D FORWARD -i minirun0 -o minirun0 -j DROP
iptables --wait -t filter -I FORWARD -i minirun0 -o minirun0 -j ACCEPT
iptables --wait -t filter -I FORWARD -i minirun0 ! -o minirun0 -j ACCEPT
iptables --wait -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j MINIRUN
iptables --wait -t nat -A OUTPUT -m addrtype --dst-type LOCAL -j MINIRUN ! --dst 127.0.0.0/8
iptables --wait -t filter -I FORWARD -o minirun0 -j MINIRUN
iptables --wait -t filter -I FORWARD -o minirun0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables --wait -t filter -I FORWARD -j MINIRUN-ISOLATION-STAGE-1
iptables --wait -t filter -I MINIRUN-ISOLATION-STAGE-1 -i minirun0 ! -o minirun0 -j MINIRUN-ISOLATION-STAGE-2
iptables --wait -t filter -I MINIRUN-ISOLATION-STAGE-2 -o minirun0 -j DROP
"""


def test_all_commands_come_from_one_value():
    rule = Rule("nat", "POSTROUTING", "-s 172.17.0.0/16 ! -o minirun0 -j MASQUERADE")
    words = "POSTROUTING -s 172.17.0.0/16 ! -o minirun0 -j MASQUERADE"
    for action in ("-A", "-I", "-C", "-D"):
        assert " ".join(rule.argv(action)) == f"iptables --wait -t nat {action} {words}"


def test_the_rules_of_a_bridge_in_dockers_order():
    calls = [" ".join(rule.argv("-I" if action == "top" else action)) for action, rule in firewall.rules_of(BRIDGE)]
    assert calls == DOCKERS_CALLS.splitlines()


class Tables:
    """An iptables that remembers one chain, FORWARD; it answers -S, -C, -I, -D as the real one does."""

    def __init__(self, *targets):
        self.rules = [f"-j {target}" for target in targets]
        self.changes = []

    def __call__(self, argv, *, stdin="", check=True):
        action, words = argv[4], " ".join(argv[6:])
        result = type("Result", (), {"code": 0, "out": "", "err": ""})()
        if action == "-S":
            result.out = "\n".join(["-P FORWARD DROP", *(f"-A FORWARD {rule}" for rule in self.rules)])
        elif action == "-C":
            result.code = 0 if words in self.rules else 1
        else:
            self.changes.append(action)
            self.rules.remove(words) if action == "-D" else self.rules.insert(0, words)
        return result


def targets_after(monkeypatch, tables):
    monkeypatch.setattr(firewall.process, "run", tables)
    for target in (firewall.STAGE_1, firewall.USER):
        firewall._ensure_on_top(Rule("filter", "FORWARD", f"-j {target}"), [])
    return [rule.removeprefix("-j ") for rule in tables.rules]


def test_jumps_that_are_on_top_are_left_alone(monkeypatch):
    tables = Tables("MINIRUN-USER", "MINIRUN-ISOLATION-STAGE-1", "ACCEPT")
    assert targets_after(monkeypatch, tables) == ["MINIRUN-USER", "MINIRUN-ISOLATION-STAGE-1", "ACCEPT"]
    assert tables.changes == []


def test_jumps_that_others_pushed_down_come_back_to_the_top(monkeypatch):
    tables = Tables("LOG", "MINIRUN-USER", "ACCEPT", "MINIRUN-ISOLATION-STAGE-1")
    assert targets_after(monkeypatch, tables) == ["MINIRUN-USER", "MINIRUN-ISOLATION-STAGE-1", "LOG", "ACCEPT"]


def test_jumps_are_made_where_there_are_none(monkeypatch):
    assert targets_after(monkeypatch, Tables()) == ["MINIRUN-USER", "MINIRUN-ISOLATION-STAGE-1"]
