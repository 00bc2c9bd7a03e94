"""Names: the name service at 127.0.0.11, aliases, links, and /etc/hosts."""

from __future__ import annotations

from harness.twin.scenario import Scenario

SCENARIOS = (
    Scenario(
        "names on a network of one's own",
        """
        network create --subnet 172.28.0.0/16 foo
        run -d --name u1 --network foo --network-alias db --hostname hoho alpine sleep 600
        run -d --name u2 --network foo --link u1:lnk alpine sleep 600
        inspect -f '{{json .NetworkSettings.Networks.foo.Aliases}} {{json .NetworkSettings.Networks.foo.Links}}' u1 u2
        exec u2 nslookup -type=a u1
        exec u2 nslookup -type=a db
        exec u2 nslookup -type=a u1.foo
        exec u2 nslookup -type=a lnk
        exec u2 nslookup -type=aaaa u1
        exec u2 nslookup -type=ptr 2.0.28.172.in-addr.arpa
        exec u2 sh -c 'ping -c 1 -W 2 db >/dev/null'
        """,
    ),
    Scenario(
        "the search list, --dns and options on a network of one's own",
        """
        network create foo
        run -d --name c1 --network foo --dns 192.0.2.53 --dns-search example.org --dns-option ndots:2 alpine sleep 600
        run -d --name c2 --network foo --dns-search . alpine sleep 600
        run -d --name c3 --network foo --add-host h:192.0.2.1 --hostname box --domainname example.org alpine sleep 600
        exec c1 cat /etc/resolv.conf
        """,
    ),
    Scenario(
        "--network-alias and --ip on the default bridge",
        """
        run -d --name c1 --network-alias db --ip 172.17.0.77 alpine sleep 600
        """,
    ),
    Scenario(
        "--link on the default bridge",
        """
        run -d --name srv --expose 80 --expose 53/udp -e FOO=bar alpine sleep 600
        run -d --name c1 --link srv:alias --link srv alpine sleep 600
        # Docker tells of several links in any order: it keeps them in a map of Go's.
        exec c1 sh -c 'env | sort'
        look
        restart -t 0 srv
        look
        """,
    ),
    Scenario(
        "the host's resolv.conf, on a network of one's own",
        r"""
        network create foo
        host $ printf '# c\ndomain d.example\nnameserver 127.0.0.1\nnameserver 192.0.2.1\noptions timeout:1\n' \
            > /etc/resolv.conf
        run -d --name c1 --network foo alpine sleep 600
        host $ : > /etc/resolv.conf
        run -d --name c2 --network foo alpine sleep 600
        """,
    ),
)
