"""What the first start lays under the default network: the kernel's own tools against Docker's listing."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys

import pytest

import minirun
from harness.network_host import DATA, RUN, Failed, NetworkHost
from minirun import trace
from minirun.errors import KernelError
from minirun.kernel import process
from minirun.kernel.netlink import socket
from minirun.network.controller import Controller

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and iptables need root")

FILTER = """\
-P INPUT ACCEPT
-P FORWARD DROP
-P OUTPUT ACCEPT
-N MINIRUN
-N MINIRUN-ISOLATION-STAGE-1
-N MINIRUN-ISOLATION-STAGE-2
-N MINIRUN-USER
-A FORWARD -j MINIRUN-USER
-A FORWARD -j MINIRUN-ISOLATION-STAGE-1
-A FORWARD -o minirun0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o minirun0 -j MINIRUN
-A FORWARD -i minirun0 ! -o minirun0 -j ACCEPT
-A FORWARD -i minirun0 -o minirun0 -j ACCEPT
-A MINIRUN-ISOLATION-STAGE-1 -i minirun0 ! -o minirun0 -j MINIRUN-ISOLATION-STAGE-2
-A MINIRUN-ISOLATION-STAGE-1 -j RETURN
-A MINIRUN-ISOLATION-STAGE-2 -o minirun0 -j DROP
-A MINIRUN-ISOLATION-STAGE-2 -j RETURN
-A MINIRUN-USER -j RETURN
"""
NAT = """\
-P PREROUTING ACCEPT
-P INPUT ACCEPT
-P OUTPUT ACCEPT
-P POSTROUTING ACCEPT
-N MINIRUN
-A PREROUTING -m addrtype --dst-type LOCAL -j MINIRUN
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j MINIRUN
-A POSTROUTING -s 172.17.0.0/16 ! -o minirun0 -j MASQUERADE
-A MINIRUN -i minirun0 -j RETURN
"""


@pytest.fixture
def host():
    with NetworkHost() as made:
        yield made


def ensure() -> tuple[str, str]:
    """(subnet, id) of the default network."""
    network = Controller(DATA, RUN).ensure_default()
    return str(network.bridge.subnet), network.id


def forget() -> None:
    """What a lost /run leaves: everything in the kernel, nothing written down."""
    os.unlink(f"{RUN}/networks/bridge/network.json")


def sysctls(host) -> dict[str, str]:
    done = host.run("sh", "-c", "cd /proc/sys/net && grep -r . ipv4 ipv6 bridge 2>/dev/null")
    return dict(line.split(":", 1) for line in done.stdout.splitlines())


# ---- the bridge ------------------------------------------------------------------------------------------------


def test_the_bridge_is_docker0s_twin(host):
    host.call(ensure)
    link = host.links()["minirun0"]
    assert re.fullmatch("02:42(:[0-9a-f]{2}){4}", link["address"])
    assert set(link["flags"]) == {"NO-CARRIER", "BROADCAST", "MULTICAST", "UP"}
    assert (link["ifindex"], link["mtu"], link["qdisc"], link.get("txqlen", 0)) == (2, 1500, "noqueue", 0)
    assert link["linkinfo"]["info_kind"] == "bridge"
    data = link["linkinfo"]["info_data"]
    assert (data["stp_state"], data["vlan_filtering"], data["forward_delay"]) == (0, 0, 1500)
    assert [(a["family"], a["local"], a["prefixlen"], a["broadcast"], a["scope"]) for a in link["addr_info"]] == [
        ("inet", "172.17.0.1", 16, "172.17.255.255", "global")
    ]
    assert (
        host.text("ip", "route").split()
        == "172.17.0.0/16 dev minirun0 proto kernel scope link src 172.17.0.1 linkdown".split()
    )
    assert host.sysctl("ipv6/conf/minirun0/accept_ra") == "0"


def test_only_dockers_sysctls_change(host):
    before = sysctls(host)
    host.call(ensure)
    after = sysctls(host)
    changed = {name for name in before if before[name] != after.get(name)}
    forwarding = {f"ipv4/conf/{where}/forwarding" for where in ("all", "default", "lo")}
    assert changed == {"ipv4/ip_forward", "ipv4/conf/all/accept_redirects"} | forwarding
    new = {name: value for name, value in after.items() if name not in before}
    assert {name.split("/")[2] for name in new if "/conf/" in name} == {"minirun0"}


def test_the_order_of_events_is_dockerds(host):
    with host.popen("ip", "monitor", "link", "address", stdout=subprocess.PIPE) as monitor:
        host.text("sleep", "0.2")
        host.call(ensure)
        host.text("sleep", "0.2")
        monitor.terminate()
        lines = [line for line in monitor.stdout.read().splitlines() if line[0].isdigit()]
    made = next(place for place, line in enumerate(lines) if "minirun0: <BROADCAST,MULTICAST> " in line)
    addressed = next(place for place, line in enumerate(lines) if "inet 172.17.0.1/16 brd 172.17.255.255" in line)
    started = next(place for place, line in enumerate(lines) if "minirun0: <" in line and "UP>" in line)
    assert made < addressed < started, lines


# ---- the rules -------------------------------------------------------------------------------------------------


def test_the_rules_are_dockers_in_dockers_order(host):
    host.call(ensure)
    assert host.text("iptables", "-S") == FILTER
    assert host.text("iptables", "-t", "nat", "-S") == NAT
    for table in ("mangle", "raw"):
        assert "-A" not in host.text("iptables", "-t", table, "-S")
    assert host.text("ip6tables", "-S") == "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT\n"


def test_a_second_run_over_existing_rules_changes_nothing(host):
    subnet, identity = host.call(ensure)
    nft = host.run("sh", "-c", "nft -a list ruleset")  # with the rules' handles, if the machine has nft
    before = nft.stdout, host.rules(), host.links(), host.text("ip", "route")
    host.call(forget)
    assert host.call(ensure) != (subnet, identity)  # it was built anew, under a new id
    nft = host.run("sh", "-c", "nft -a list ruleset")
    assert (nft.stdout, host.rules(), host.links(), host.text("ip", "route")) == before


def test_the_hot_path_runs_no_program(host):
    known = host.call(ensure)

    def ensure_without_programs():
        process.PATH = "/nonexistent"
        return ensure()

    assert host.call(ensure_without_programs) == known


def test_what_the_administrator_added_stays(host):
    host.call(ensure)
    host.text("iptables", "-I", "MINIRUN-USER", "-s", "198.51.100.7", "-j", "DROP")
    host.text("iptables", "-I", "FORWARD", "-i", "br9", "-j", "ACCEPT")
    host.text("iptables", "-A", "FORWARD", "-o", "br9", "-j", "LOG")
    host.text("iptables", "-t", "nat", "-I", "POSTROUTING", "-o", "br9", "-j", "ACCEPT")
    host.call(forget)
    host.call(ensure)
    forward = [line for line in host.text("iptables", "-S").splitlines() if line.startswith("-A FORWARD")]
    assert forward[:3] == [
        "-A FORWARD -j MINIRUN-USER",
        "-A FORWARD -j MINIRUN-ISOLATION-STAGE-1",
        "-A FORWARD -i br9 -j ACCEPT",
    ]
    assert forward[-1] == "-A FORWARD -o br9 -j LOG"
    assert len(forward) == 8
    assert host.text("iptables", "-S", "MINIRUN-USER").splitlines()[1:] == [
        "-A MINIRUN-USER -s 198.51.100.7/32 -j DROP",
        "-A MINIRUN-USER -j RETURN",
    ]
    assert "-A POSTROUTING -o br9 -j ACCEPT" in host.rules()


def test_flushed_rules_come_back(host):
    host.call(ensure)
    for table in ("filter", "nat"):
        host.text("iptables", "-t", table, "-F")
    host.call(forget)
    host.call(ensure)
    assert host.text("iptables", "-S") == FILTER
    assert host.text("iptables", "-t", "nat", "-S") == NAT


def test_the_forward_policy_of_a_host_that_forwards_already_is_its_own_affair(host):
    host.text("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    host.call(ensure)
    assert "-P FORWARD ACCEPT" in host.rules()


def test_a_start_that_was_killed_after_it_turned_forwarding_on_leaves_the_debt_to_the_next(host):
    def be_killed():
        def die(*_: object, **__: object) -> None:
            os._exit(0)

        from minirun.network.iptables import apply

        apply.apply = die
        ensure()

    pid, file = host.start(be_killed)
    os.waitpid(pid, 0)
    file.close()
    assert host.sysctl("ipv4/ip_forward") == "1"
    host.call(ensure)
    assert host.text("iptables", "-S") == FILTER


# ---- the subnet ------------------------------------------------------------------------------------------------


def test_a_pool_that_the_host_uses_is_skipped(host):
    host.text("sh", "-c", "ip link add d0 type bridge && ip addr add 172.17.9.9/24 dev d0 && ip link set d0 up")
    host.text("sh", "-c", "ip link add docker0 type bridge && ip addr add 172.18.0.1/16 dev docker0")  # down: no route
    host.text("sh", "-c", "ip route add 172.20.0.0/16 via 172.17.9.1")  # through a gateway: does not count
    assert host.call(ensure)[0] == "172.19.0.0/16"
    assert "-A POSTROUTING -s 172.19.0.0/16 ! -o minirun0 -j MASQUERADE" in host.rules()
    assert host.links()["minirun0"]["addr_info"][0]["local"] == "172.19.0.1"


def test_no_pool_left_and_nothing_done(host):
    host.text(
        "sh",
        "-c",
        "ip link add d0 type bridge && ip addr add 172.16.0.1/12 dev d0 && "
        "ip addr add 192.168.0.1/16 dev d0 && ip link set d0 up",
    )
    with pytest.raises(Failed, match="could not find an available, non-overlapping IPv4 address pool"):
        host.call(ensure)
    assert "minirun0" not in host.links()
    assert "MINIRUN" not in host.rules()


def test_a_bridge_that_is_there_keeps_its_address(host):
    host.text("sh", "-c", "ip link add minirun0 type bridge && ip addr add 10.9.9.1/24 dev minirun0")
    assert host.call(ensure)[0] == "10.9.9.0/24"
    assert [a["local"] for a in host.links()["minirun0"]["addr_info"] if a["family"] == "inet"] == ["10.9.9.1"]


# ---- when things change, and when they fail --------------------------------------------------------------------


def test_a_deleted_bridge_is_noticed(host):
    subnet, identity = host.call(ensure)
    host.text("ip", "link", "del", "minirun0")
    assert host.call(ensure) == (subnet, identity)  # the network is the same, its bridge is a new one
    assert host.links()["minirun0"]["ifindex"] == 3
    assert host.text("iptables", "-S") == FILTER


def test_a_damaged_record_is_made_anew(host):
    host.call(ensure)
    host.text("sh", "-c", f"echo '{{' > {RUN}/networks/bridge/network.json")
    host.call(ensure)
    assert host.rules() == FILTER + NAT


def test_another_namespace_is_noticed(host):
    host.call(ensure)
    other = host.namespace()
    tested = os.path.dirname(os.path.dirname(minirun.__file__))
    script = (
        f"import sys; sys.path.insert(0, {tested!r}); from minirun.network.controller import Controller; "
        f"Controller({DATA!r}, {RUN!r}).ensure_default()"
    )
    host.within(other, sys.executable, "-c", script)
    assert host.within(other, "iptables", "-S") == FILTER


def state(host) -> tuple:
    return host.rules(), host.links().keys(), host.sysctl("ipv4/ip_forward"), host.sysctl("ipv4/conf/all/forwarding")


def test_a_missing_iptables_is_one_clear_error_and_nothing_is_left(host):
    before = state(host)

    def without_iptables():
        process.PATH = "/nonexistent"
        ensure()

    with pytest.raises(Failed, match="^iptables: program not found$") as caught:
        host.call(without_iptables)
    assert caught.value.hint == "apt-get install iptables"
    assert state(host) == before


def test_a_kernel_without_bridges_is_one_clear_error_and_nothing_is_left(host):
    """No kernel here is so poor: its answer to such a request is given in its place."""
    before = state(host)

    def without_bridges():
        ask = socket.Socket.do

        def do(self, *messages):
            for message in messages:
                if message.call == "RTM_NEWLINK" and b"bridge" in message.body:
                    raise KernelError(
                        "RTM_NEWLINK minirun0", errno.EOPNOTSUPP, hint=socket.HINTS["RTM_NEWLINK", errno.EOPNOTSUPP]
                    )
            return ask(self, *messages)

        socket.Socket.do = do
        ensure()

    with pytest.raises(Failed, match="RTM_NEWLINK minirun0: operation not supported") as caught:
        host.call(without_bridges)
    assert "modprobe bridge" in caught.value.hint
    assert state(host) == before
    host.call(ensure)
    assert host.rules() == FILTER + NAT


@pytest.mark.parametrize(
    "word", ["-N MINIRUN-ISOLATION-STAGE-2", "-P FORWARD", "-j MASQUERADE", "--ctstate", "-N MINIRUN-USER"]
)
def test_an_iptables_that_fails_half_way_leaves_nothing(host, word):
    before = state(host)
    host.text(
        "sh",
        "-c",
        f"""mkdir /run/bin; cat > /run/bin/iptables <<'END'
#!/bin/sh
case "$*" in *" -C "*) ;; *"{word}"*) echo "iptables v1: no chain/target/match by that name." >&2; exit 1;; esac
exec /usr/sbin/iptables "$@"
END
chmod +x /run/bin/iptables
cat > /run/bin/iptables-restore <<'END'
#!/bin/sh
cat > /run/bin/stdin
grep -q -e "{word}" /run/bin/stdin && {{ echo "iptables-restore: line 1 failed" >&2; exit 1; }}
exec /usr/sbin/iptables-restore "$@" < /run/bin/stdin
END
chmod +x /run/bin/iptables-restore""",
    )

    def with_that_iptables():
        process.PATH = f"/run/bin:{process.PATH}"
        ensure()

    with pytest.raises(Failed, match="no chain/target/match by that name"):
        host.call(with_that_iptables)
    assert state(host) == before
    assert not host.run("ls", f"{RUN}/networks/forward-drop").stdout
    host.call(ensure)
    assert host.rules() == FILTER + NAT


def test_the_told_shell_lines_make_the_same_host(host):
    def told():
        lines: list[str] = []
        trace.listen(lambda kind, _call, line: lines.append(line) if kind == "action" else None)
        ensure()
        return lines

    lines = host.call(told)
    with NetworkHost() as twin:
        for line in lines:
            done = twin.run("sh", "-c", line)
            assert done.returncode == 0 or " -C " in line or " -L " in line, f"{line}: {done.stderr}"
        assert twin.rules() == host.rules() == FILTER + NAT
        assert sysctls(twin) == sysctls(host)
        assert twin.links() == host.links()
