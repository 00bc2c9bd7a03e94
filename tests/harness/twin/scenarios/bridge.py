"""Containers on the default bridge, and beside it; the host that the engine finds."""

from __future__ import annotations

from harness.twin.differences import Difference
from harness.twin.scenario import Scenario

NO_NAME_FOR_THE_HOST = (
    "Docker gives the host's own namespace the file `default`; `ip netns` needs no name for where one is"
)


def host_network(name: str) -> Difference:
    """A container on the host's network has no file of its own below /run/netns."""
    return Difference(
        r"netns files$",
        f"{name}: mode 100444, size 0, its namespace",
        f"{name}: No such file or directory",
        NO_NAME_FOR_THE_HOST,
    )


SCENARIOS = (
    Scenario(
        "the first start ever",
        """
        run -d --name c1 alpine sleep 600
        look
        rm -f c1
        """,
        first=True,
    ),
    Scenario(
        "one, two, three containers",
        """
        run -d --name c1 alpine sleep 600
        look
        run -d --name c2 alpine sleep 600
        run -d --name c3 alpine sleep 600
        c1 $ ping -q -c 1 -W 2 172.17.0.3 >/dev/null
        c3 $ ping -q -c 1 -W 2 172.17.0.1 >/dev/null
        c2 $ ping -q -c 1 -W 2 198.51.100.1 >/dev/null
        host $ ping -q -c 1 -W 2 172.17.0.2 >/dev/null
        """,
    ),
    Scenario(
        "stop, start, restart, rm: who gets which address",
        """
        run -d --name xa alpine sleep 600
        run -d --name xb alpine sleep 600
        run -d --name xc alpine sleep 600
        rm -f xa
        run -d --name xd alpine sleep 600
        stop -t 0 xb
        inspect -f '{{.NetworkSettings.IPAddress}}|{{.NetworkSettings.MacAddress}}|{{.NetworkSettings.Gateway}}' xb
        run -d --name xe alpine sleep 600
        look
        start xb
        restart -t 0 xc
        look
        kill xe
        rm -f xb xc xd
        """,
    ),
    Scenario(
        "what inspect says of the network",
        """
        run -d --name c1 alpine sleep 600
        inspect -f '{{json .NetworkSettings.Networks}}' c1
        inspect -f '{{.NetworkSettings.IPAddress}} {{.NetworkSettings.IPPrefixLen}} {{.NetworkSettings.Gateway}}' c1
        inspect -f '{{.NetworkSettings.MacAddress}} {{.HostConfig.NetworkMode}} {{json .NetworkSettings.Ports}}' c1
        stop -t 0 c1
        inspect -f '{{json .NetworkSettings.Networks}} {{json .NetworkSettings.Ports}}' c1
        """,
    ),
    Scenario(
        "--network none",
        """
        run -d --name c1 --network none alpine sleep 600
        inspect -f '{{json .NetworkSettings.Networks}}' c1
        look
        stop -t 0 c1
        """,
    ),
    Scenario(
        "--network host",
        """
        run -d --name c1 --network host alpine sleep 600
        run --network host --hostname hh alpine hostname
        inspect -f '{{json .NetworkSettings.Networks}}' c1
        exec c1 hostname
        """,
        (host_network("c1"),),
    ),
    Scenario(
        "--mac-address",
        """
        run -d --name c1 --mac-address 02:11:22:33:44:55 alpine sleep 600
        c1 $ ping -q -c 1 -W 2 172.17.0.1 >/dev/null
        """,
    ),
    Scenario(
        "--hostname and --domainname",
        """
        run -d --name c1 --hostname box.example.org alpine sleep 600
        run -d --name c2 --hostname box --domainname example.org alpine sleep 600
        exec c2 cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname
        run -d --name c3 --hostname 'a b' alpine sleep 600
        """,
    ),
    Scenario(
        "--dns, --dns-search, --dns-option",
        """
        run -d --name c1 --dns 192.0.2.53 --dns 192.0.2.54 --dns-search example.org --dns-option ndots:2 \
            alpine sleep 600
        run -d --name c2 --dns-search . alpine sleep 600
        run -d --name c3 --dns-opt rotate alpine sleep 600
        """,
    ),
    Scenario(
        "--add-host",
        """
        run -d --name c1 --add-host foo.example:192.0.2.1 --add-host host.docker.internal:host-gateway \
            alpine sleep 600
        run -d --name c2 --network none --add-host foo:192.0.2.1 alpine sleep 600
        run -d --name c3 --network host --add-host foo:192.0.2.1 alpine sleep 600
        """,
        (host_network("c3"),),
    ),
    Scenario(
        "the host's resolv.conf: a server on the loopback",
        r"""
        host $ printf 'search lab.example\nnameserver 127.0.0.1\noptions edns0\n' > /etc/resolv.conf
        run -d --name c1 alpine sleep 600
        host $ printf '# c\ndomain d.example\nnameserver 127.0.0.1\nnameserver 192.0.2.1\noptions timeout:1\n' \
            > /etc/resolv.conf
        run -d --name c2 alpine sleep 600
        host $ : > /etc/resolv.conf
        run -d --name c3 alpine sleep 600
        run -d --name c4 --network none alpine sleep 600
        """,
    ),
    Scenario(
        "a host that forwards already: FORWARD's policy stays",
        """
        run -d --name c1 alpine sleep 600
        """,
        before="sysctl -q -w net.ipv4.ip_forward=1",
    ),
    Scenario(
        "a host where some pools are taken",
        """
        run -d --name c1 alpine sleep 600
        """,
        before="ip link add d0 address 02:00:00:00:00:d0 type bridge; ip link set d0 up; "
        "ip addr add 172.17.5.1/24 dev d0; ip addr add 172.18.0.1/20 dev d0; "
        "ip route add 172.19.0.0/16 via 203.0.113.2",
    ),
    Scenario(
        "a host with rules of its own",
        """
        run -d --name c1 alpine sleep 600
        """,
        before="iptables -A FORWARD -s 192.0.2.1 -j DROP; iptables -t nat -A POSTROUTING -s 192.0.2.2 -j ACCEPT; "
        "iptables -N ZZ; iptables -A INPUT -j ZZ; ip6tables -A FORWARD -j DROP",
    ),
    Scenario(
        "--network container:NAME",
        """
        run -d --name base --hostname base.example alpine sleep 600
        run -d --name c1 --network container:base alpine sleep 600
        exec c1 hostname
        exec c1 cat /etc/hosts /etc/resolv.conf /etc/hostname
        inspect -f '{{json .NetworkSettings.Networks}}|{{.HostConfig.NetworkMode}}' c1
        exec base sh -c 'echo 192.0.2.1 new >> /etc/hosts'
        look
        stop -t 0 c1
        """,
    ),
    Scenario(
        "the engine is started a second time",
        """
        run -d --name c1 alpine sleep 600
        host $ iptables -I DOCKER-USER -s 198.51.100.7 -j DROP; iptables -I FORWARD -s 198.51.100.8 -j DROP
        host $ iptables -A FORWARD -s 198.51.100.9 -j DROP; iptables -P FORWARD ACCEPT
        look
        stop -t 0 c1
        restart the engine
        look
        start c1
        """,
    ),
    Scenario(
        "the rules were flushed by hand: a second start makes them anew",
        """
        run -d --name c1 alpine sleep 600
        stop -t 0 c1
        host $ iptables -F FORWARD; iptables -t nat -F
        restart the engine
        start c1
        c1 $ ping -q -c 1 -W 2 198.51.100.1 >/dev/null
        """,
    ),
)
