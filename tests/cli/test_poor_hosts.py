"""Hosts that lack something of what a network is made of: one clear line, and nothing left behind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

#: What a legacy iptables says on a kernel without the table.
NO_NAT = r"""#!/bin/sh
case "$(basename $0) $*" in *nat*)
    echo "iptables v1.8.9 (legacy): can't initialize iptables table \`nat': Table does not exist \
(do you need to insmod?)" >&2
    echo "Perhaps iptables or your kernel needs to be upgraded." >&2
    exit 3
esac
exec /usr/sbin/$(basename $0) "$@"
"""
PROGRAMS = ("iptables", "iptables-save", "iptables-restore")


@contextlib.contextmanager
def changed(host, directory: str, script: str) -> Iterator[None]:
    """A directory of the host as a shell script leaves it, which sees it as the directory it is in; and as before."""
    host.run(
        "sh",
        "-euc",
        f"""
        mkdir -p /run/over/upper /run/over/work
        mount -t overlay -o lowerdir={directory},upperdir=/run/over/upper,workdir=/run/over/work over {directory}
        cd {directory}; {script}
    """,
        check=True,
    )
    try:
        yield
    finally:
        host.run("sh", "-euc", f"umount -l {directory}; rm -r /run/over", check=True)


def state(host) -> str:
    """Links, addresses, rules and the switch of a host."""
    rules = "/usr/sbin/iptables-save | grep -v '^#' | sed 's/\\[[0-9]*:[0-9]*\\]//'"
    return host.run(
        "sh", "-euc", f"ip -br addr; cat /proc/sys/net/ipv4/ip_forward; ip netns list; {rules}", check=True
    ).stdout


def refused(host, code: int, *words: str) -> list[str]:
    """The lines of complaint of a command that must fail and leave nothing."""
    before = state(host)
    result = host.minirun(*words)
    assert (result.code, result.out) == (code, ""), result
    assert host.containers() == []
    assert host.addresses() == []
    return [*result.err.splitlines(), *([] if state(host) == before else ["something was left"])]


def works(host) -> bool:
    """Whether a container reaches the outside."""
    return "1 packets received" in host.minirun.sh("ping -c 1 -W 3 198.51.100.1")


def test_without_iptables(new_host):
    before = state(new_host)
    with changed(new_host, "/usr/sbin", "rm iptables* ip6tables*"):
        for code, words in ((125, ("run", "--rm", "alpine", "true")), (1, ("network", "create", "mine"))):
            result = new_host.minirun(*words)
            assert (result.code, result.out) == (code, "")
            line, hint = result.err.splitlines()
            assert line.endswith("see that the firewall can be used: iptables: program not found")
            assert hint == "hint: apt-get install iptables"
        assert new_host.minirun.sh("ls /sys/class/net", "--network", "none") == "lo"
        new_host.minirun.ok("run", "--rm", "--network", "host", "alpine", "true")
        assert new_host.minirun.ok("network", "ls", "--format", "{{.Name}}").split() == ["bridge", "host", "none"]
    assert state(new_host) == before
    assert works(new_host)


def test_without_nat(new_host):
    copies = "; ".join(f"cp /run/fake {program}" for program in PROGRAMS)
    new_host.run("sh", "-c", "cat > /run/fake; chmod 755 /run/fake", input=NO_NAT, check=True)
    with changed(new_host, "/usr/local/sbin", copies):
        line, hint = refused(new_host, 125, "run", "--rm", "alpine", "true")
        assert "can't initialize iptables table `nat': Table does not exist" in line
        assert hint == "hint: the kernel cannot translate addresses yet: modprobe iptable_nat"
    assert works(new_host)


def test_without_iptables_for_a_running_container(new_host):
    """It can be stopped and removed all the same; what needs rules says what is missing."""
    new_host.minirun.begin("alpine", "sleep", "1000")
    new_host.minirun.ok("run", "--rm", "alpine", "true")
    with changed(new_host, "/usr/sbin", "rm iptables* ip6tables*"):
        new_host.minirun.ok("run", "--rm", "alpine", "true")  # the rules are there, and nobody has touched them
        new_host.minirun.ok("restart", "-t", "0", "c1")
        new_host.minirun.ok("rm", "-f", "c1")
    new_host.assert_clean()


def test_the_bridges_name_is_taken(new_host):
    """Docker's words. What has the name is not touched."""
    new_host.spoiled = True
    new_host.run("ip", "link", "add", "minirun0", "type", "veth", "peer", "name", "theirs", check=True)
    assert refused(new_host, 125, "run", "--rm", "alpine", "true") == [
        "minirun: Error response from daemon: existing interface minirun0 is not a bridge."
    ]


@pytest.mark.parametrize("other", ["iptables-legacy", "iptables-nft"])
def test_rules_of_somebody_in_the_other_tables(new_host, other):
    """The kernel goes through both kinds of tables. Ours are made with `iptables`, whichever it is, and there alone."""
    for words in (
        ("-A", "FORWARD", "-s", "192.0.2.1", "-j", "DROP"),
        ("-t", "nat", "-A", "POSTROUTING", "-s", "192.0.2.1", "-j", "MASQUERADE"),
    ):
        new_host.run(other, *words, check=True)
    theirs = new_host.run(other, "-S").stdout
    assert works(new_host)
    ours = new_host.run("iptables", "-S").stdout
    assert works(new_host)
    new_host.minirun.ok("network", "create", "mine")
    new_host.minirun.ok("network", "rm", "mine")
    assert new_host.run("iptables", "-S").stdout == ours
    if other == "iptables-legacy":
        assert new_host.run(other, "-S").stdout == theirs
    assert ours.count("-A MINIRUN-USER -j RETURN") == 1


def test_iptables_becomes_another_one(new_host):
    """`update-alternatives --set iptables`: our rules stay where they are; there is no second set of them."""
    assert works(new_host)
    nft = new_host.run("iptables-nft", "-S").stdout
    links = "; ".join(f"ln -s /usr/sbin/{word.replace('iptables', 'iptables-legacy', 1)} {word}" for word in PROGRAMS)
    with changed(new_host, "/usr/local/sbin", links):
        assert works(new_host)  # nothing has changed: no reason to look at the rules
        new_host.run("ip", "link", "del", "minirun0", check=True)
        line, hint = refused(new_host, 125, "run", "--rm", "alpine", "true")
        assert "there are rules of ours in iptables-nft" in line
        assert hint.startswith("hint: ")
        assert "MINIRUN" not in new_host.run("iptables-legacy", "-S").stdout
    assert works(new_host)
    assert new_host.run("iptables-nft", "-S").stdout == nft


def test_the_filter_of_bridged_packets_is_loaded(new_host):
    """A kernel that has br_netfilter as a module: dockerd loads it, and so do we. Without it a rule of iptables between
    two containers would do nothing."""
    marker = '#!/bin/sh\necho "$*" > /run/modprobe.seen\n'
    new_host.run("sh", "-c", "cat > /run/fake; chmod 755 /run/fake", input=marker, check=True)
    # The directory belongs to a network namespace: seen from one that has none, it is not there.
    new_host.run("sh", "-euc", "mkdir /run/empty; mount --bind /run/empty /proc/sys/net", check=True)
    with changed(new_host, "/usr/local/sbin", "cp /run/fake modprobe"):
        new_host.minirun("run", "--rm", "alpine", "true")
    new_host.run("umount", "/proc/sys/net", check=True)
    assert new_host.run("cat", "/run/modprobe.seen").stdout == "-va bridge br_netfilter\n"
    assert works(new_host)
