"""Bad input: the text, the exit code, and what is left (almost always nothing)."""

from __future__ import annotations

from harness.twin.differences import Difference
from harness.twin.scenario import Scenario
from harness.twin.scenarios.bridge import host_network

SCENARIOS = (
    Scenario(
        "options of the network",
        """
        run -d --mac-address bad alpine true
        run -d --add-host bad alpine true
        run -d --add-host x:notip alpine true
        run -d --dns bad alpine true
        run -d --name c1 --network nosuch alpine true
        run -d --name c2 --network container:nosuch alpine true
        run -d --name c3 --ip 300.1.1.1 alpine true
        run -d --name c4 --link nosuch:x alpine true
        ps -a --format '{{.Names}} {{.Status}}'
        """,
    ),
    Scenario(
        "words of -p",
        """
        run -d --name p1 -p 99999:80 alpine true
        run -d --name p2 -p abc:80 alpine true
        run -d --name p3 -p 80:80/foo alpine true
        run -d --name p4 -p 1-3:1-2 alpine true
        run -d --name p5 -p 300.1.1.1:80:80 alpine true
        run -d --name p6 -p 8080:80:90:100 alpine true
        run -d --name p7 -p '' alpine true
        run -d --name p8 -p 70000 alpine true
        run -d --name p9 -p 80-79:80 alpine true
        run -d --name p10 --expose bad alpine true
        run -d --name p11 --expose 80/foo alpine true
        run -d --name p12 --expose 99999 alpine true
        ps -a --format '{{.Names}}'
        """,
    ),
    Scenario(
        "a port that is taken",
        """
        run -d --name w1 -p 8080:80 alpine sleep 600
        run -d --name w2 -p 8080:80 alpine sleep 600
        run -d --name w3 -p 127.0.0.1:8080:80 alpine sleep 600
        run -d --name w4 -p 9000:90 -p 8080:80 alpine sleep 600
        run -d --name w5 -p 192.0.2.9:7071:80 alpine sleep 600
        host $ listen 127.0.0.1 7070
        run -d --name w6 -p 7070:80 alpine sleep 600
        run -d --name w7 -p 203.0.113.1:7070:80 alpine sleep 600
        port w1 81
        port nosuch
        ps -a --format '{{.Names}} {{.Status}} {{.Ports}}' --filter status=created
        look
        start w2
        rm -f w1
        start w2
        host $ kill $(cat /run/listen.7070)
        """,
    ),
    Scenario(
        "addresses",
        """
        network create --subnet 10.6.0.0/24 na
        network create nb
        run -d --name c1 --network na --ip 10.6.0.5 alpine sleep 600
        run -d --name c2 --network na --ip 10.6.0.5 alpine sleep 600
        run -d --name c3 --network na --ip 10.6.0.1 alpine sleep 600
        run -d --name c4 --network na --ip 10.7.0.1 alpine sleep 600
        run -d --name c5 --network nb --ip 172.18.0.9 alpine sleep 600
        network create --subnet 10.8.0.0/30 tiny
        run -d --name c6 --network tiny alpine sleep 600
        run -d --name c7 --network tiny alpine sleep 600
        ps -a --format '{{.Names}} {{.Status}}' --filter status=created
        """,
    ),
    Scenario(
        "network create",
        """
        network create na
        network create na
        network create --subnet 10.9.0.0 nb
        network create --subnet 172.17.0.0/16 nb
        network create --subnet 10.9.0.0/24 nb
        network create --subnet 10.9.0.128/25 nc
        network create -d nosuch nn
        network create bridge
        network create host
        network create --gateway 1.2.3.4 nc
        network create --subnet 10.10.0.0/24 --gateway 10.11.0.1 nc
        network create --subnet 10.10.0.0/24 --ip-range 10.11.0.0/24 nc
        network create --subnet 10.10.0.0/24 --subnet 10.11.0.0/24 nc
        network create --ipv6 nc
        network create -o com.docker.network.driver.mtu=bad nc
        network create -o com.docker.network.bridge.enable_icc=bad nc
        network create 'bad name'
        network create
        network create a b
        network ls --format '{{.Name}}'
        """,
    ),
    Scenario(
        "network rm, connect, disconnect, inspect",
        """
        network create na
        run -d --name c1 --network na alpine sleep 600
        network rm nosuch
        network rm bridge
        network rm host
        network rm na
        network rm nosuch na
        network inspect nosuch
        network inspect na nosuch -f '{{.Name}}'
        network connect nosuch c1
        network connect na nosuch
        network connect na c1
        network connect host c1
        network connect none c1
        network disconnect bridge c1
        network disconnect nosuch c1
        network disconnect na nosuch
        network connect --ip 10.1.1.1 na c1
        run -d --name c2 --network host alpine sleep 600
        network connect na c2
        network disconnect host c2
        network
        network nosuch
        """,
        (
            host_network("c2"),
            Difference(
                r"\$ network( nosuch)?: (output|errors)$",
                "",
                r"  reload  .*",
                "`network reload` sets all anew, as dockerd does when it is started",
            ),
        ),
    ),
    Scenario(
        "--network container:",
        """
        run -d --name base alpine sleep 600
        run --network container:base --hostname zz alpine true
        run --network container:base --dns 192.0.2.1 alpine true
        run --network container:base --add-host a:192.0.2.1 alpine true
        run --network container:base --mac-address 02:11:22:33:44:55 alpine true
        run --network container:base --link base:b alpine true
        run --network container:base --expose 80 alpine true
        create --name cc --network container:base alpine sleep 600
        stop -t 0 base
        start cc
        run -d --name dd --network container:base alpine sleep 600
        network create na
        ps -a --format '{{.Names}} {{.Status}}' --filter status=created
        """,
    ),
)
