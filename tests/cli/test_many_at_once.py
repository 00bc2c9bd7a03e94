"""Many starts and stops at the same moment, on three networks; then the kernel is asked what there is."""

from __future__ import annotations

import json

import pytest

from harness.host import wait_for

NETWORKS = ("bridge", "one", "two")


@pytest.fixture
def networks(minirun, host):
    """Three networks; the rules that they have when nobody is on them."""
    minirun.ok("run", "--rm", "alpine", "true")
    for name in NETWORKS[1:]:
        minirun.ok("network", "create", name)
    yield rules(host)
    minirun.ok("network", "rm", *NETWORKS[1:])


def network_of(name: str) -> str:
    """The network on which a container of this test is: c0 on the first, c1 on the second, ..."""
    return NETWORKS[int(name[1:]) % 3]


def rules(host) -> str:
    """All rules of the firewall, without counters and remarks."""
    script = "{ iptables-save; ip6tables-save; } | grep -v '^#' | sed 's/\\[[0-9]*:[0-9]*\\]//'"
    return host.run("sh", "-c", script, check=True).stdout


def at_once(minirun, *commands: tuple[str, ...]) -> None:
    """Begin all commands, then wait for them; all must succeed."""
    begun = [minirun.popen(*words) for words in commands]
    for process, words in zip(begun, commands, strict=True):
        _, err = process.communicate(timeout=300)
        assert (process.returncode, err) == (0, ""), f"minirun {' '.join(words)}: {process.returncode} {err}"


def start(name: str) -> tuple[str, ...]:
    """The command that starts a container."""
    return ("run", "-d", "--name", name, "--network", network_of(name), "alpine", "sleep", "1000")


def ip(host, *words: str) -> list[dict]:
    """What `ip -j` says on the host."""
    return json.loads(host.run("ip", "-j", *words, check=True).stdout)


def assert_all_in_place(minirun, host, names: list[str]) -> None:
    """Each of these containers has its own cable to the bridge of its network and an address of its own there; nobody
    else has any."""
    assert sorted(minirun.ok("ps", "--format", "{{.Names}}").split()) == sorted(names)
    assert wait_for(lambda: sum(link.startswith("veth") for link in host.links()) == len(names))
    links = {link["ifindex"]: link for link in ip(host, "link")}
    subnets = {}
    for network in NETWORKS:
        record = json.loads(minirun.ok("network", "inspect", network))[0]
        bridge = record["Options"].get("com.docker.network.bridge.name") or f"br-{record['Id'][:12]}"
        subnets[network] = record["IPAM"]["Config"][0]["Subnet"].removesuffix("0.0/16"), bridge
        assert len(record["Containers"]) == sum(network_of(name) == network for name in names)
    addresses = []
    for name in names:
        prefix, bridge = subnets[network_of(name)]
        inside = ip(host, "-n", name, "-4", "addr", "show")
        (eth0,) = [link for link in inside if link["ifname"] != "lo"]
        address = eth0["addr_info"][0]["local"]
        assert eth0["ifname"] == "eth0"
        assert address.startswith(prefix)
        assert links[eth0["link_index"]]["master"] == bridge
        assert ip(host, "-n", name, "route", "show", "default")[0]["gateway"] == f"{prefix}0.1"
        addresses.append(address)
    assert len(set(addresses)) == len(names)
    assert sorted(host.addresses()) == sorted(addresses)
    for number in range(3):  # and they are on speaking terms
        there = [address for name, address in zip(names, addresses, strict=True) if int(name[1:]) % 3 == number]
        if len(there) > 1:
            first = next(name for name in names if int(name[1:]) % 3 == number)
            assert "1 packets received" in minirun.ok("exec", first, "ping", "-c", "1", "-W", "5", there[-1])


@pytest.mark.slow
@pytest.mark.timing("forty starts at once, and ping has 5 s for an answer")
def test_forty_starts_and_stops_on_three_networks(minirun, host, networks):
    names = [f"c{number}" for number in range(40)]
    at_once(minirun, *map(start, names))
    assert_all_in_place(minirun, host, names)
    assert rules(host) == networks

    early, late, new = names[:20], names[20:], [f"c{number}" for number in range(40, 60)]
    stops = [("stop", "-t", "0", name) if index % 2 else ("rm", "-f", name) for index, name in enumerate(early)]
    at_once(minirun, *[words for pair in zip(stops, map(start, new), strict=True) for words in pair])
    assert_all_in_place(minirun, host, late + new)
    assert rules(host) == networks

    stopped = early[1::2]
    at_once(
        minirun,
        *[("start", name) for name in stopped],
        *[("restart", "-t", "0", name) for name in late],
        *[("rm", "-f", name) for name in new],
    )
    assert_all_in_place(minirun, host, late + stopped)

    at_once(minirun, *[("rm", "-f", name) for name in late + stopped])
    assert_all_in_place(minirun, host, [])
    assert rules(host) == networks
    bridges = {link["ifname"] for link in ip(host, "link", "show", "type", "bridge")}
    assert len(bridges) == 3
