"""-p and -P: the rules of each form, who is seen by the server on each way to it, what is left when it stops.

Docker sorts the ports of one container by "greater on the host, or greater in the container". Where the two disagree it
comes to the one order or the other, from run to run; so here they agree.
"""

from __future__ import annotations

from harness.twin.scenario import Scenario

#: A server that answers with the address of its client.
SERVER = """alpine nc -lk -p 80 -e sh -c "netstat -tn | sed -n 's/.*:80 *\\([0-9.]*\\):.* ESTABLISHED.*/\\1/p'" """
LISTENS = "c1 $ until ss -Hlnt | grep -q :80; do sleep 0.1; done"
BINDINGS = "'{{json .NetworkSettings.Ports}} {{json .HostConfig.PortBindings}} {{json .Config.ExposedPorts}}'"

SCENARIOS = (
    Scenario(
        "-p 8080:80: start, stop, start, restart, rm",
        f"""
        run -d --name c1 -p 8080:80 alpine sleep 600
        ps --format '{{{{.Names}}}} {{{{.Ports}}}}'
        port c1 80
        inspect -f {BINDINGS} c1
        look
        stop -t 0 c1
        port c1
        ps -a --format '{{{{.Names}}}} {{{{.Ports}}}}'
        inspect -f {BINDINGS} c1
        look
        run -d --name c2 alpine sleep 600
        start c1
        look
        restart -t 0 c1
        kill c1
        look
        rm c1
        """,
    ),
    Scenario(
        "-p 8080:80: whom the server sees, on every way to it",
        f"""
        run -d --name c1 -p 8080:80 {SERVER}
        run -d --name c2 alpine sleep 600
        {LISTENS}
        outside $ talk -f 20001 203.0.113.1 8080
        outside $ talk -f 20002 172.17.0.2 80
        host $ talk -f 20003 127.0.0.1 8080
        host $ talk -f 20004 ::1 8080
        host $ talk -f 20005 172.17.0.1 8080
        host $ talk -f 20006 203.0.113.1 8080
        host $ talk -f 20007 172.17.0.2 80
        c2 $ talk -f 20008 172.17.0.1 8080
        c2 $ talk -f 20009 203.0.113.1 8080
        c2 $ talk -f 20010 172.17.0.2 80
        c1 $ talk -f 20011 203.0.113.1 8080
        c1 $ talk -f 20012 127.0.0.1 80
        host $ talk 127.0.0.1 8081
        """,
    ),
    Scenario(
        "-p with a host address",
        """
        run -d --name c1 -p 127.0.0.1:8080:80 -p 203.0.113.1:8081:81 -p 0.0.0.0:8082:82 -p 127.0.0.1::79 \
            alpine sleep 600
        ps --format '{{.Names}} {{.Ports}}'
        look
        run -d --name c2 -p 203.0.113.1:8080:80 alpine sleep 600
        """,
    ),
    Scenario(
        "-p 80: ports that the engine chooses",
        """
        run -d --name c1 -p 80 alpine sleep 600
        run -d --name c2 -p 80 -p 53/udp alpine sleep 600
        rm -f c1
        run -d --name c3 -p 80 alpine sleep 600
        restart -t 0 c2
        ps --format '{{.Names}} {{.Ports}}'
        inspect -f '{{json .NetworkSettings.Ports}} {{json .HostConfig.PortBindings}}' c2
        """,
    ),
    Scenario(
        "-p 8080:80/udp",
        """
        run -d --name c1 -p 8080:80/udp -p 8080:80 alpine nc -u -l -p 80 -e cat
        ps --format '{{.Names}} {{.Ports}}'
        c1 $ until ss -Hlnu | grep -q :80; do sleep 0.1; done
        outside $ talk -u -f 20001 203.0.113.1 8080
        """,
    ),
    Scenario(
        "ranges",
        """
        run -d --name c1 -p 8080-8082:80-82 alpine sleep 600
        run -d --name c2 -p 9000-9005:80 alpine sleep 600
        run -d --name c3 -p 9000-9005:80 -p 7000-7001:90-91/udp alpine sleep 600
        ps --format '{{.Names}} {{.Ports}}'
        inspect -f '{{json .NetworkSettings.Ports}} {{json .HostConfig.PortBindings}}' c3
        # Docker sorts c3's ports, out of a map of Go's, by a rule that puts some pairs in neither order.
        look at rules in any order
        rm -f c1
        look at rules in any order
        """,
    ),
    Scenario(
        "-P and --expose",
        """
        run -d --name c1 -P --expose 80 --expose 53/udp alpine sleep 600
        run -d --name c2 --expose 80 --expose 90-92 alpine sleep 600
        run -d --name c3 -P --expose 22 -p 8080:80 alpine sleep 600
        ps --format '{{.Names}} {{.Ports}}'
        inspect -f '{{json .NetworkSettings.Ports}} {{json .HostConfig.PortBindings}} {{json .Config.ExposedPorts}}' c1
        inspect -f '{{json .NetworkSettings.Ports}} {{json .HostConfig.PortBindings}} {{json .Config.ExposedPorts}}' c2
        """,
    ),
    Scenario(
        "several ports in one run",
        """
        run -d --name c1 -p 443:443 -p 80:80 -p 8443:443 -p 22:22/udp alpine sleep 600
        ps --format '{{.Names}} {{.Ports}}'
        """,
    ),
    Scenario(
        "a port on a network of one's own",
        f"""
        network create --subnet 172.28.0.0/16 na
        network create nb
        run -d --name c1 --network na -p 8080:80 {SERVER}
        run -d --name c2 --network nb alpine sleep 600
        {LISTENS}
        outside $ talk -f 20001 203.0.113.1 8080
        c2 $ talk -f 20002 203.0.113.1 8080
        c2 $ talk -f 20003 172.28.0.2 80
        look
        network connect nb c1
        look
        network connect bridge c1
        network disconnect na c1
        look
        stop -t 0 c1
        """,
    ),
    Scenario(
        "ports and other modes of the network",
        """
        run --name c1 --network host -p 8080:80 alpine true
        run --name c2 --network none -p 8080:80 alpine true
        run -d --name c3 alpine sleep 600
        run --name c4 --network container:c3 -p 80:80 alpine true
        """,
    ),
)
