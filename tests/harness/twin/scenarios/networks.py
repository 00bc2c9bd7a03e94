"""Networks of one's own: create, connect, disconnect, rm; their options; who reaches whom."""

from __future__ import annotations

from harness.twin.differences import Difference
from harness.twin.scenario import Scenario

ADDRESSES = (
    "'{{range $name, $one := .NetworkSettings.Networks}}{{$name}} {{$one.IPAddress}} {{$one.MacAddress}}|{{end}}'"
)

SCENARIOS = (
    Scenario(
        "create, ls, inspect, rm",
        """
        network create na
        look
        network create nb
        network ls --format '{{.Name}} {{.Driver}} {{.Scope}}'
        network inspect na
        look
        network rm na
        look
        network rm nb
        """,
    ),
    Scenario(
        "bridge, host and none as they are shown",
        """
        network ls --format '{{.Name}} {{.Driver}} {{.Scope}}'
        network inspect -f '{{json .IPAM}} {{json .Containers}} {{json .Labels}} {{.EnableIPv6}}' bridge
        network inspect host none
        """,
    ),
    Scenario(
        "containers on two networks: who reaches whom",
        """
        network create --subnet 172.28.0.0/16 na
        network create --subnet 172.29.0.0/16 nb
        run -d --name c1 --network na alpine sleep 600
        run -d --name c2 --network na alpine sleep 600
        run -d --name c3 --network nb alpine sleep 600
        run -d --name c4 alpine sleep 600
        c1 $ ping -q -c 1 -W 1 172.28.0.3 >/dev/null
        c1 $ ping -q -c 1 -W 1 172.29.0.2 >/dev/null
        c1 $ ping -q -c 1 -W 1 172.29.0.1 >/dev/null
        c1 $ ping -q -c 1 -W 1 172.17.0.2 >/dev/null
        c4 $ ping -q -c 1 -W 1 172.28.0.2 >/dev/null
        c3 $ ping -q -c 1 -W 2 198.51.100.1 >/dev/null
        look
        rm -f c1
        """,
    ),
    Scenario(
        "connect and disconnect: interfaces, hosts, the default route",
        f"""
        network create mm
        network create zz
        network create aa
        run -d --name c1 --network mm alpine sleep 600
        network connect zz c1
        look
        network connect aa c1
        c1 $ ip route
        network connect bridge c1
        inspect -f {ADDRESSES} c1
        look
        network disconnect aa c1
        c1 $ ip route
        network disconnect bridge c1
        look
        network disconnect mm c1
        c1 $ ip route
        network disconnect zz c1
        look
        network connect zz c1
        inspect -f {ADDRESSES} c1
        look
        restart -t 0 c1
        """,
    ),
    Scenario(
        "a container of the default bridge joins another network",
        """
        network create na
        run -d --name c1 alpine sleep 600
        network connect na c1
        look
        network disconnect na c1
        look
        network connect na c1
        stop -t 0 c1
        start c1
        """,
    ),
    Scenario(
        "a stopped container is connected",
        """
        network create na
        run -d --name c1 alpine sleep 600
        stop -t 0 c1
        network connect na c1
        start c1
        look
        stop -t 0 c1
        network disconnect na c1
        start c1
        """,
    ),
    Scenario(
        "custom subnet, gateway, ip-range",
        """
        network create --subnet 10.5.0.0/16 --gateway 10.5.0.254 --ip-range 10.5.1.0/24 na
        network inspect -f '{{json .IPAM}}' na
        run -d --name c1 --network na alpine sleep 600
        run -d --name c2 --network na --ip 10.5.0.77 alpine sleep 600
        run -d --name c3 --network na alpine sleep 600
        """,
    ),
    Scenario(
        "an address and a MAC of one's own",
        f"""
        network create --subnet 10.6.0.0/24 na
        run -d --name c1 --network na --ip 10.6.0.77 alpine sleep 600
        run -d --name c2 --network na --mac-address 02:11:22:33:44:55 alpine sleep 600
        run -d --name c3 --ip 172.17.0.77 alpine sleep 600
        inspect -f {ADDRESSES} c1 c2 c3
        look
        stop -t 0 c1
        start c1
        network connect --ip 10.6.0.99 na c3
        """,
    ),
    Scenario(
        "--internal",
        """
        network create --internal na
        run -d --name c1 --network na alpine sleep 600
        run -d --name c2 --network na alpine sleep 600
        c1 $ ping -q -c 1 -W 1 198.51.100.1 >/dev/null
        c1 $ talk 198.51.100.1 9
        look
        rm -f c1 c2
        network rm na
        """,
    ),
    Scenario(
        "options of a bridge: name, icc, masquerade, MTU",
        """
        network create -o com.docker.network.bridge.name=mybr0 na
        network create -o com.docker.network.bridge.enable_icc=false nb
        network create -o com.docker.network.bridge.enable_ip_masquerade=false nc
        network create -o com.docker.network.driver.mtu=1400 nd
        network create -o com.docker.network.bridge.host_binding_ipv4=127.0.0.1 ne
        look
        network inspect -f '{{json .Options}}' na nb nc nd ne
        run -d --name c1 --network nd alpine sleep 600
        run -d --name c2 --network ne -p 8080:80 alpine sleep 600
        look
        network rm na nb nc
        """,
    ),
    Scenario(
        "IPv6",
        """
        network create --ipv6 --subnet 2001:db8:1::/64 na
        network inspect -f '{{json .IPAM}} {{.EnableIPv6}}' na
        run -d --name c1 --network na alpine sleep 600
        run -d --name c2 --network na --ip6 2001:db8:1::77 alpine sleep 600
        c1 $ ping -q -c 1 -W 2 2001:db8:1::77 >/dev/null
        look
        network connect bridge c1
        rm -f c2
        """,
    ),
    Scenario(
        "pools: the next one, and none is used again at once",
        """
        network create n1
        network rm n1
        network create n2
        network create --subnet 172.20.0.0/16 n3
        network create n4
        network inspect -f '{{(index .IPAM.Config 0).Subnet}}' n2 n3 n4
        """,
    ),
    Scenario(
        "all pools are taken",
        """
        """
        + "".join(f"network create n{number}\n" for number in range(18, 49))
        + """
        network inspect -f '{{(index .IPAM.Config 0).Subnet}}' n30 n31 n32 n33 n47
        """,
    ),
    Scenario(
        "prune",
        """
        network create na
        network create nb
        run -d --name c1 --network nb alpine sleep 600
        network prune -f
        network ls --format '{{.Name}}'
        """,
    ),
    Scenario(
        "a second start over networks, ports and rules of others",
        """
        network create na
        network create --internal nb
        network create -o com.docker.network.bridge.enable_icc=false nc
        run -d --name c1 --network na -p 8080:80 alpine sleep 600
        run -d --name c2 -p 8081:80 alpine sleep 600
        run -d --name c3 --network nb alpine sleep 600
        host $ iptables -I DOCKER-USER -s 198.51.100.7 -j DROP; iptables -I FORWARD -s 198.51.100.8 -j DROP
        look
        restart the engine
        look at rules in any order
        network rm nc
        rm -f c1 c2
        look at rules in any order
        """,
        (
            Difference(
                r"look 1[03], c[13]: (iptables -t nat -S|ss .*)$",
                r".*<dns port [34]>.*",
                r".*<dns port [12]>.*",
                "dockerd's name service ends with it and has other ports afterwards; ours is in each container's "
                "monitor, which goes on",
            ),
        ),
    ),
)
