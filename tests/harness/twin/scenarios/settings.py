"""Settings of the engine itself: the same keys in Docker's daemon.json and in our config.json."""

from __future__ import annotations

from harness.twin.scenario import Scenario

SCENARIOS = (
    Scenario(
        "icc off, with --link through it; ip, dns, dns-search, dns-opts",
        """
        run -d --name srv --expose 80 alpine sleep 600
        run -d --name c1 --link srv:s alpine sleep 600
        c1 $ ping -q -c 1 -W 1 172.17.0.2 >/dev/null
        run -d --name c2 --dns 192.0.2.1 -p 8080:80 -p 79 alpine sleep 600
        ps --format '{{.Names}} {{.Ports}}'
        look
        stop -t 0 c1
        """,
        settings={
            "icc": False,
            "ip": "127.0.0.1",
            "dns": ["192.0.2.53"],
            "dns-search": ["example.org"],
            "dns-opts": ["ndots:3"],
        },
    ),
    Scenario(
        "bip, fixed-cidr, default-gateway, mtu, default-address-pools",
        """
        run -d --name c1 alpine sleep 600
        look
        network create na
        run -d --name c2 --network na alpine sleep 600
        network inspect -f '{{json .IPAM}} {{json .Options}}' bridge na
        """,
        settings={
            "bip": "10.9.9.1/24",
            "fixed-cidr": "10.9.9.128/25",
            "default-gateway": "10.9.9.254",
            "mtu": 1400,
            "default-address-pools": [{"base": "10.10.0.0/16", "size": 24}],
        },
    ),
    Scenario(
        "userland-proxy off",
        """
        run -d --name c1 -p 8080:80 alpine nc -lk -p 80 -e echo hi
        ps --format '{{.Ports}}'
        network create na
        run -d --name c2 --network na -p 8081:80 alpine sleep 600
        c1 $ until ss -Hlnt | grep -q :80; do sleep 0.1; done
        outside $ talk -f 20001 203.0.113.1 8080
        host $ talk -f 20002 127.0.0.1 8080
        c1 $ talk -f 20003 203.0.113.1 8080
        look
        stop -t 0 c1
        """,
        settings={"userland-proxy": False},
    ),
    Scenario(
        "ipv6, fixed-cidr-v6",
        """
        run -d --name c1 alpine sleep 600
        network inspect -f '{{json .IPAM}} {{.EnableIPv6}}' bridge
        """,
        settings={"ipv6": True, "fixed-cidr-v6": "2001:db8:1::/64"},
    ),
    Scenario(
        "iptables off",
        """
        run -d --name c1 -p 8080:80 alpine sleep 600
        network create na
        """,
        settings={"iptables": False},
    ),
    Scenario(
        "ip-forward off, ip-masq off",
        """
        run -d --name c1 alpine sleep 600
        """,
        settings={"ip-forward": False, "ip-masq": False},
    ),
)
