"""Published ports: rules, who is seen by the server, what stands in the way; asked of iptables, ss and the packets."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.host import wait_for

FAILED = "driver failed programming external connectivity on endpoint "

#: On the host: connect, send what stands on the command line, print what comes back.
ASK = """
import socket, sys
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)
sock.sendall(sys.argv[3].encode()); sock.shutdown(socket.SHUT_WR)
while data := sock.recv(65536): sys.stdout.write(data.decode())
"""
#: In a container (busybox has no server that names its client): the peer of the connection, as the kernel lists it.
PEER = "read line; awk '$2 ~ /:0050$/ && $4 ~ /01|08/ {print $3}' /proc/net/tcp /proc/net/tcp6 | head -n 1"


#: A server in a container. (One that does not read what it is told breaks its connections off.)
SAYS_HI = ("nc", "-lk", "-p", "80", "-e", "sh", "-c", "read line; echo hi")


def ask(host, address, port, text="hello\n", *, outside=False):
    run = host.outside_run if outside else host.run
    return run(sys.executable, "-c", ASK, address, str(port), text)


def peer_of(text: str) -> str:
    """An address as /proc/net/tcp has it, as a person writes it."""
    packed = text.strip().rpartition(":")[0][-8:]
    return socket.inet_ntoa(bytes.fromhex(packed)[::-1])


@pytest.fixture
def web(minirun, host):
    """A container that tells who has connected to its port 80, published as 8080."""
    container = minirun.begin("-p", "8080:80", "alpine", "nc", "-lk", "-p", "80", "-e", "sh", "-c", PEER, name="web")
    assert wait_for(lambda: ask(host, "127.0.0.1", 8080).stdout, 5)
    return container


def rules(host, table: str, chain: str) -> list[str]:
    lines = host.run("iptables", "-t", table, "-S", chain, check=True).stdout.splitlines()
    return [line for line in lines if "dport" in line]


def bound(host) -> list[str]:
    """Who holds a port, as ss shows it: "tcp 0.0.0.0:8080"."""
    lines = host.run("ss", "-Hlntu").stdout.splitlines()
    return sorted(f"{line.split()[0]} {line.split()[4]}" for line in lines)


def nothing_is_left(host) -> bool:
    return not (
        host.ports()
        or bound(host)
        or rules(host, "nat", "MINIRUN")
        or rules(host, "filter", "MINIRUN")
        or rules(host, "nat", "POSTROUTING")
    )


# ---- what it looks like ----------------------------------------------------------------------------------------


def test_three_rules_and_two_sockets(minirun, host, web):
    assert rules(host, "filter", "MINIRUN") == [
        "-A MINIRUN -d 172.17.0.2/32 ! -i minirun0 -o minirun0 -p tcp -m tcp --dport 80 -j ACCEPT"
    ]
    assert rules(host, "nat", "MINIRUN") == [
        "-A MINIRUN ! -i minirun0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80"
    ]
    assert rules(host, "nat", "POSTROUTING") == [
        "-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE"
    ]
    assert bound(host) == ["tcp 0.0.0.0:8080", "tcp [::]:8080"]
    assert minirun.ok("ps", "--format", "{{.Ports}}") == "0.0.0.0:8080->80/tcp, :::8080->80/tcp"
    assert minirun.ok("port", "web") == "80/tcp -> 0.0.0.0:8080\n80/tcp -> :::8080"
    assert minirun.ok("port", "web", "80") == "0.0.0.0:8080\n:::8080"
    assert json.loads(minirun.ok("inspect", "-f", "{{json .NetworkSettings.Ports}}", "web")) == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}]
    }
    assert json.loads(minirun.ok("inspect", "-f", "{{json .HostConfig.PortBindings}}", "web")) == {
        "80/tcp": [{"HostIp": "", "HostPort": "8080"}]
    }
    assert minirun.ok("inspect", "-f", "{{json .Config.ExposedPorts}}", "web") == '{"80/tcp":{}}'
    minirun.ok("stop", "-t", "0", "web")
    assert nothing_is_left(host)
    assert minirun.ok("inspect", "-f", "{{json .NetworkSettings.Ports}}", "web") == "{}"
    assert minirun.ok("port", "web") == ""


SHOWN = [  # flags, ps, `iptables -t nat -S MINIRUN`, sockets; table 2.3 of the facts, and what a real Docker showed
    (
        ["-p", "127.0.0.1:8080:80"],
        "127.0.0.1:8080->80/tcp",
        ["-d 127.0.0.1/32 ! -i minirun0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80"],
        ["tcp 127.0.0.1:8080"],
    ),
    (
        ["-p", "203.0.113.1:8080:80"],
        "203.0.113.1:8080->80/tcp",
        ["-d 203.0.113.1/32 ! -i minirun0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80"],
        ["tcp 203.0.113.1:8080"],
    ),
    (
        ["-p", "8080:80/udp"],
        "0.0.0.0:8080->80/udp, :::8080->80/udp",
        ["! -i minirun0 -p udp -m udp --dport 8080 -j DNAT --to-destination 172.17.0.2:80"],
        ["udp 0.0.0.0:8080", "udp [::]:8080"],
    ),
    (["-p", "[::1]:8080:80"], "::1:8080->80/tcp", [], ["tcp [::1]:8080"]),
    (
        ["-p", "8080-8082:80-82"],
        "0.0.0.0:8080->80/tcp, :::8080->80/tcp, 0.0.0.0:8081->81/tcp, :::8081->81/tcp, 0.0.0.0:8082->82/tcp, "
        ":::8082->82/tcp",
        [
            f"! -i minirun0 -p tcp -m tcp --dport {8080 + n} -j DNAT --to-destination 172.17.0.2:{80 + n}"
            for n in (2, 1, 0)
        ],
        [f"tcp {address}:{8080 + n}" for address in ("0.0.0.0", "[::]") for n in range(3)],
    ),
    (
        ["-p", "8080:80", "-p", "8081:80", "-p", "127.0.0.1:70:70"],
        "127.0.0.1:70->70/tcp, 0.0.0.0:8080->80/tcp, 0.0.0.0:8081->80/tcp, :::8080->80/tcp, :::8081->80/tcp",
        [
            "! -i minirun0 -p tcp -m tcp --dport 8081 -j DNAT --to-destination 172.17.0.2:80",
            "! -i minirun0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80",
            "-d 127.0.0.1/32 ! -i minirun0 -p tcp -m tcp --dport 70 -j DNAT --to-destination 172.17.0.2:70",
        ],
        ["tcp 0.0.0.0:8080", "tcp 0.0.0.0:8081", "tcp 127.0.0.1:70", "tcp [::]:8080", "tcp [::]:8081"],
    ),
    (["--expose", "80"], "80/tcp", [], []),
    (["--network", "none", "-p", "8080:80"], "", [], []),
]


@pytest.mark.parametrize(("flags", "ps", "nat", "sockets"), SHOWN, ids=lambda value: " ".join(value[:2]))
def test_every_form(minirun, host, flags, ps, nat, sockets):
    minirun.begin(*flags, "alpine", "sleep", "100")
    assert minirun.ok("ps", "--format", "{{.Ports}}") == ps
    assert rules(host, "nat", "MINIRUN") == [f"-A MINIRUN {rule}" for rule in nat]
    assert bound(host) == sockets
    minirun.ok("rm", "-f", "c1")
    assert nothing_is_left(host)


def test_any_port_of_the_host(new_host):
    """The counters go up and are not reset by a port that is free again; TCP and UDP, and each address, have theirs."""
    minirun = new_host.minirun

    def shown(*flags):
        minirun.begin(*flags, "alpine", "sleep", "100")
        text = minirun.ok("ps", "--format", "{{.Ports}}")
        minirun.ok("rm", "-f", "c1")
        return text

    assert shown("-p", "80") == "0.0.0.0:32768->80/tcp, :::32768->80/tcp"
    assert shown("-p", "80") == "0.0.0.0:32769->80/tcp, :::32769->80/tcp"
    assert shown("-P", "--expose", "80", "--expose", "53/udp") == (
        "0.0.0.0:32768->53/udp, :::32768->53/udp, 0.0.0.0:32770->80/tcp, :::32770->80/tcp"
    )
    assert shown("-p", "[::]::80") == ":::32771->80/tcp"
    assert shown("-p", "80") == "0.0.0.0:32771->80/tcp, :::32772->80/tcp"
    assert shown("-p", "9000-9005:80") == "0.0.0.0:9000->80/tcp, :::9000->80/tcp"
    assert shown("-p", "9000-9005:80") == "0.0.0.0:9001->80/tcp, :::9001->80/tcp"
    assert nothing_is_left(new_host)


def test_a_busy_port_is_passed_over_when_any_would_do(new_host):
    with listening(new_host, "0.0.0.0", 32768):
        new_host.minirun.begin("-p", "80", "alpine", "sleep", "100")
        assert new_host.minirun.ok("port", "c1", "80") == "0.0.0.0:32769\n:::32768"


def test_it_comes_back_with_a_start(minirun, host, web):
    minirun.ok("restart", "-t", "0", "web")
    assert wait_for(lambda: ask(host, "127.0.0.1", 8080).stdout, 5)
    minirun.ok("stop", "-t", "0", "web")
    other = minirun.begin("alpine", "sleep", "100", name="other")  # takes 172.17.0.2
    assert other.running()
    minirun.ok("start", "web")
    assert rules(host, "nat", "MINIRUN") == [
        "-A MINIRUN ! -i minirun0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.3:80"
    ]


def test_host_network(minirun, host):
    result = minirun("run", "--rm", "--network", "host", "-p", "80:80", "alpine", "true")
    assert (result.code, result.err) == (0, "WARNING: Published ports are discarded when using host network mode\n")


def test_filters(minirun, web):
    minirun.begin("--expose", "90", "alpine", "sleep", "100", name="other")

    def found(condition):
        return minirun.ok("ps", "--filter", condition, "--format", "{{.Names}}").split()

    assert [found(f"publish={value}") for value in ("8080", "8080/tcp", "8080/udp", "80", "8070-8090", "90")] == [
        ["web"],
        ["web"],
        [],
        [],
        ["web"],
        [],
    ]
    assert [found(f"expose={value}") for value in ("80", "80/udp", "70-95/tcp")] == [["web"], [], ["other", "web"]]
    result = minirun("ps", "--filter", "publish=abc")
    assert (result.code, result.err) == (
        1,
        "Error response from daemon: error while looking up for publish abc: "
        'strconv.ParseUint: parsing "abc": invalid syntax\n',
    )


# ---- who is seen by the server (table 2.4 of the facts) ------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "port", "seen"),
    [
        ("127.0.0.1", 8080, "172.17.0.1"),
        ("::1", 8080, "172.17.0.1"),
        ("172.17.0.1", 8080, "172.17.0.1"),
        ("203.0.113.1", 8080, "203.0.113.1"),
        ("172.17.0.2", 80, "172.17.0.1"),
    ],
)
def test_from_the_host(host, web, address, port, seen):
    assert peer_of(ask(host, address, port).stdout) == seen


def test_from_outside(host, web):
    assert peer_of(ask(host, "203.0.113.1", 8080, outside=True).stdout) == "203.0.113.2"
    tracked = host.run("conntrack", "-L", "-p", "tcp", "--orig-src", "203.0.113.2").stdout
    assert "src=203.0.113.2 dst=203.0.113.1" in tracked
    assert re.search(r"dport=8080 src=172\.17\.0\.2 dst=203\.0\.113\.2 sport=80", tracked)


def test_from_containers(minirun, web):
    for name in ("web", "other"):
        if name == "other":
            minirun.begin("alpine", "sleep", "100", name="other")
        for address in ("172.17.0.1", "203.0.113.1"):
            text = minirun.ok("exec", name, "sh", "-c", f"echo hello | nc -w 3 {address} 8080")
            assert peer_of(text) == "172.17.0.1"
    assert peer_of(minirun.ok("exec", "other", "sh", "-c", "echo hello | nc -w 3 172.17.0.2 80")) == "172.17.0.3"


def test_udp(minirun, host):
    minirun.begin("-p", "5353:53/udp", "alpine", "nc", "-u", "-lk", "-p", "53", "-e", "cat", name="echo")
    script = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
sock = socket.socket(family, socket.SOCK_DGRAM); sock.settimeout(0.3)
for _ in range(20):
    try:
        sock.sendto(b"ping", (sys.argv[1], 5353)); print(sock.recv(100).decode()); break
    except OSError: pass
"""
    for address in ("127.0.0.1", "::1"):
        assert host.run(sys.executable, "-c", script, address).stdout == "ping\n"
        minirun.ok("restart", "-t", "0", "echo")  # busybox's nc -u speaks with its first client only
    assert host.outside_run(sys.executable, "-c", script, "203.0.113.1").stdout == "ping\n"


def test_the_proxy_follows_again_and_again(minirun, host, web):
    """Each time the way out moves, and back, within the same life of the monitor."""
    minirun.ok("network", "create", "aa")  # before "bridge", so the way out goes there
    for verb in ("connect", "disconnect") * 4:
        minirun.ok("network", verb, "aa", "web")
        assert wait_for(lambda: ask(host, "127.0.0.1", 8080).stdout, 5)
    assert web.running()
    minirun.ok("rm", "-f", "web")
    minirun.ok("network", "rm", "aa")
    assert nothing_is_left(host)


def test_tracked_connections_are_forgotten_at_the_end(minirun, host, web):
    ask(host, "203.0.113.1", 8080, outside=True)
    ask(host, "203.0.113.1", 8080)

    def answers_of(address):
        return host.run("conntrack", "-L", "--reply-src", address).stdout

    assert answers_of("172.17.0.2")
    minirun.ok("stop", "-t", "0", "web")
    assert answers_of("172.17.0.2") == ""


# ---- with networks of one's own ---------------------------------------------------------------------------------


def test_they_follow_the_way_out(new_host):
    """The network whose name comes first has the way out, and with it the ports; one that may be any is another then.

    The numbers are those that a real Docker gave in this order.
    """
    minirun = new_host.minirun
    minirun.ok("network", "create", "aa")
    minirun.begin("-p", "80", "-p", "8091:80", "alpine", *SAYS_HI, name="web")

    def leads_to(address: str, port: int) -> None:
        assert rules(new_host, "nat", "MINIRUN")[0].endswith(f"--dport 8091 -j DNAT --to-destination {address}:80")
        assert minirun.ok("port", "web", "80") == f"0.0.0.0:8091\n:::8091\n0.0.0.0:{port}\n:::{port}"
        assert len(rules(new_host, "nat", "MINIRUN")) == 2
        assert len(rules(new_host, "filter", "MINIRUN")) == 1
        for number in (port, 8091):
            assert wait_for(lambda number=number: ask(new_host, "127.0.0.1", number).stdout, 5) == "hi\n"
            assert ask(new_host, "203.0.113.1", number, outside=True).stdout == "hi\n"

    leads_to("172.17.0.2", 32768)
    minirun.ok("network", "connect", "aa", "web")
    leads_to("172.18.0.2", 32769)
    minirun.ok("network", "disconnect", "aa", "web")
    leads_to("172.17.0.2", 32770)
    minirun.ok("network", "disconnect", "bridge", "web")
    assert minirun.ok("port", "web") == ""
    assert minirun.ok("inspect", "-f", "{{json .NetworkSettings.Ports}}", "web") == "{}"
    assert nothing_is_left(new_host)
    minirun.ok("network", "connect", "aa", "web")
    leads_to("172.18.0.2", 32771)
    minirun.ok("rm", "-f", "web")
    assert nothing_is_left(new_host)


def test_a_network_without_a_way_out(minirun, host):
    minirun.ok("network", "create", "--internal", "inside")
    minirun.begin("--network", "inside", "-p", "8080:80", "alpine", "sleep", "100")
    assert minirun.ok("ps", "--format", "{{.Ports}}") == ""
    assert nothing_is_left(host)


def test_without_a_userland_proxy(new_host, tmp_path):
    """The rules do its work: a container reaches itself through its published port, and so does the host's loopback."""
    config = tmp_path / "config.json"
    config.write_text('{"userland-proxy": false}')
    new_host.environment["MINIRUN_CONFIG"] = str(config)
    minirun = new_host.minirun
    minirun.begin("-p", "8080:80", "alpine", *SAYS_HI, name="web")
    assert rules(new_host, "nat", "MINIRUN") == [
        "-A MINIRUN -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80"
    ]
    assert bound(new_host) == ["tcp 0.0.0.0:8080"]
    assert minirun.ok("port", "web") == "80/tcp -> 0.0.0.0:8080"
    assert wait_for(lambda: ask(new_host, "127.0.0.1", 8080).stdout, 5) == "hi\n"
    assert minirun.ok("exec", "web", "sh", "-c", "echo hello | nc -w 3 203.0.113.1 8080") == "hi"
    with listening(new_host, "127.0.0.1", 7070):
        assert refused(minirun, new_host, "-p", "7070:80") == "listen tcp4 0.0.0.0:7070: bind: address already in use"
    minirun.ok("rm", "-f", "web")
    assert bound(new_host) == []


# ---- what goes wrong ------------------------------------------------------------------------------------------------


class listening:
    """A program of the host that listens: `with listening(host, "0.0.0.0", 7070): ...`."""

    def __init__(self, host, address: str, port: int, kind: str = "SOCK_STREAM") -> None:
        script = (
            f"import socket; s = socket.socket(socket.AF_INET, socket.{kind}); s.bind(({address!r}, {port})); "
            f"{kind == 'SOCK_STREAM'} and s.listen(); print('up', flush=True); input()"
        )
        self.process = host.popen(sys.executable, "-c", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> None:
        assert self.process.stdout.readline() == "up\n"

    def __exit__(self, *_: object) -> None:
        self.process.communicate("\n", timeout=10)


def refused(minirun, host, *flags) -> str:
    """What is wrong with these flags: the engine's sentence. The container stays Created, and nothing else."""
    result = minirun("run", "-d", "--name", "w2", *flags, "alpine", "sleep", "100")
    assert result.code == 125
    assert re.fullmatch(r"[0-9a-f]{64}\n", result.out)
    start, _, rest = result.err.partition(FAILED)
    assert start == "minirun: Error response from daemon: "
    assert re.match(r"w2 \([0-9a-f]{64}\): ", rest)
    assert rest.endswith(".\n")
    assert minirun.ok("ps", "-a", "--filter", "name=w2", "--format", "{{.Status}}|{{.Ports}}") == "Created|"
    assert minirun.ok("inspect", "-f", "{{.State.ExitCode}} {{.State.Error}}", "w2") == f"128 {FAILED}{rest[:-2]}"
    minirun.ok("rm", "w2")
    return rest.partition(": ")[2].removesuffix(".\n")


def test_a_port_that_another_container_has(minirun, host, web):
    before = (host.ports(), bound(host), rules(host, "nat", "MINIRUN"))
    assert refused(minirun, host, "-p", "8080:80") == "Bind for 0.0.0.0:8080 failed: port is already allocated"
    assert refused(minirun, host, "-p", "[::]:8080:80") == "Bind for :::8080 failed: port is already allocated"
    assert refused(minirun, host, "-p", "81:81", "-p", "8080:80") == (
        "Bind for 0.0.0.0:8080 failed: port is already allocated"
    )
    assert (host.ports(), bound(host), rules(host, "nat", "MINIRUN")) == before
    minirun.begin("-p", "203.0.113.1:81:80", "alpine", "sleep", "100", name="w3")


def test_a_port_that_a_program_of_the_host_has(minirun, host):
    with listening(host, "127.0.0.1", 7070), listening(host, "127.0.0.1", 7072, "SOCK_DGRAM"):
        assert refused(minirun, host, "-p", "7070:80") == (
            "Error starting userland proxy: listen tcp4 0.0.0.0:7070: bind: address already in use"
        )
        assert refused(minirun, host, "-p", "7071:81", "-p", "7070:80") == (
            "Error starting userland proxy: listen tcp4 0.0.0.0:7070: bind: address already in use"
        )
        assert refused(minirun, host, "-p", "127.0.0.1:7072:80/udp") == (
            "Error starting userland proxy: listen udp4 127.0.0.1:7072: bind: address already in use"
        )
        minirun.begin("-p", "203.0.113.1:7070:80", "alpine", "sleep", "100")
        minirun.ok("rm", "-f", "c1")
    assert nothing_is_left(host)


def test_addresses_that_are_not_here(minirun, host):
    assert refused(minirun, host, "-p", "192.0.2.9:7071:80") == (
        "Error starting userland proxy: listen tcp4 192.0.2.9:7071: bind: cannot assign requested address"
    )
    assert refused(minirun, host, "-p", "[2001:db8::9]:7071:80") == (
        "Error starting userland proxy: listen tcp6 [2001:db8::9]:7071: bind: cannot assign requested address"
    )
    assert nothing_is_left(host)


def test_more_ports_than_a_program_may_open_files(minirun, host):
    """600 ports are 1200 sockets; what a shell begins may have 1024 files open unless it asks for more."""
    done = host.run(
        "sh",
        "-c",
        'ulimit -Sn 1024; exec "$@"',
        "sh",
        *minirun.words,
        "run",
        "-d",
        "--name",
        "c1",
        "-p",
        "10000-10599:10000-10599",
        "alpine",
        "sleep",
        "1000",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (len(bound(host)), len(rules(host, "nat", "MINIRUN"))) == (1200, 600)
    minirun.ok("rm", "-f", "c1")
    assert nothing_is_left(host)


def test_other_refusals(minirun, host):
    assert refused(minirun, host, "-P", "--expose", "80/foo") == "invalid transport protocol: 0"
    assert refused(minirun, host, "-p", "9000-9001:80", "-p", "9000-9001:81", "-p", "9000-9001:82") == (
        "all ports are allocated"
    )
    assert refused(minirun, host, "-p", "8080:80", "-p", "127.0.0.1:8080:81") == (
        "Error starting userland proxy: listen tcp4 0.0.0.0:8080: bind: address already in use"
    )
    assert nothing_is_left(host)


def test_sctp_where_the_kernel_has_none(minirun, host):
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).close()
        pytest.skip("this kernel has SCTP")
    except OSError:
        assert refused(minirun, host, "-p", "9000:80/sctp") == ("Error starting userland proxy: protocol not supported")


def test_the_start_of_a_stopped_one(minirun, web):
    minirun.ok("create", "--name", "w2", "-p", "8080:80", "alpine", "true")
    result = minirun("start", "w2")
    assert result.code == 1
    assert re.fullmatch(
        rf"Error response from daemon: {FAILED}w2 \([0-9a-f]{{64}}\): Bind for 0\.0\.0\.0:8080 failed: "
        r"port is already allocated\nError: failed to start containers: w2\n",
        result.err,
    )


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("99999:80", "Invalid hostPort: 99999"),
        ("80:80/foo", "Invalid proto: foo"),
        ("", "No port specified: <empty>"),
        ("1-3:1-2", "Invalid ranges specified for container and host Ports: 1-2 and 1-3"),
    ],
)
def test_what_the_client_refuses(minirun, word, text):
    result = minirun("run", "-p", word, "alpine", "true")
    assert (result.code, result.out, result.err) == (125, "", f"minirun: {text}.\nSee 'minirun run --help'.\n")


def test_ports_in_the_network_of_another(minirun):
    for flags, what in ((["-p", "80:80"], "publishing"), (["-P"], "publishing"), (["--expose", "80"], "exposing")):
        result = minirun("run", "--rm", "--network", "container:base", *flags, "alpine", "true")
        assert (result.code, result.err) == (
            125,
            (
                f"minirun: Error response from daemon: conflicting options: port {what} and the container type network "
                "mode.\nSee 'minirun run --help'.\n"
            ),
        )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["81"], "Error: No public port '81/tcp' published for web"),
        (["80/udp"], "Error: No public port '80/udp' published for web"),
        (["abc"], 'strconv.ParseUint: parsing "abc": invalid syntax'),
        (["70000"], 'strconv.ParseUint: parsing "70000": value out of range'),
    ],
)
def test_port_that_is_not_published(minirun, web, words, text):
    result = minirun("port", "web", *words)
    assert (result.code, result.out, result.err) == (1, "", f"{text}\n")


def test_port_of_nobody(minirun):
    result = minirun("port", "nosuch")
    assert (result.code, result.err) == (1, "Error: No such container: nosuch\n")


# ---- whatever happens to the monitor -----------------------------------------------------------------------------


def test_the_next_command_clears_up_after_a_killed_monitor(minirun, host, web):
    subprocess.run(["kill", "-9", str(web.monitor())], check=True)
    assert wait_for(lambda: minirun.ok("ps", "-a", "--format", "{{.Status}}").startswith("Exited (137)"), 5)
    minirun.act()
    assert nothing_is_left(host)


def test_killed_between_reservation_and_note(minirun, host, web):
    """What is reserved and not yet noted is found by its owner."""
    note = host.run_directory / f"minirun/containers/{web.id}/cable.json"
    plugged = json.loads(note.read_text())
    assert plugged["Ports"]
    note.write_text(json.dumps({**plugged, "Ports": None}))
    subprocess.run(["kill", "-9", str(web.monitor())], check=True)
    minirun.act()
    assert nothing_is_left(host)


def test_a_rule_that_somebody_has_deleted_is_not_missed(minirun, host, web):
    host.run("iptables", "-t", "nat", "-F", "MINIRUN", check=True)
    minirun.ok("rm", "-f", "web")
    assert nothing_is_left(host)
    host.run("iptables", "-t", "nat", "-A", "MINIRUN", "-i", "minirun0", "-j", "RETURN", check=True)


def test_flushed_rules_come_back(minirun, host, web):
    """With `network reload`, and with the next start."""
    wanted = [
        rules(host, table, chain)
        for table, chain in (("nat", "MINIRUN"), ("filter", "MINIRUN"), ("nat", "POSTROUTING"))
    ]
    for heal in (("network", "reload"), ("run", "--rm", "alpine", "true")):
        host.run("sh", "-ec", "iptables -F MINIRUN; iptables -t nat -F", check=True)
        minirun.ok(*heal)
        assert [
            rules(host, table, chain)
            for table, chain in (("nat", "MINIRUN"), ("filter", "MINIRUN"), ("nat", "POSTROUTING"))
        ] == wanted
        assert peer_of(ask(host, "203.0.113.1", 8080, outside=True).stdout) == "203.0.113.2"


def test_at_rest_it_goes_on(minirun, host, web):
    pid = web.monitor()
    assert wait_for(lambda: b"reexec" in Path(f"/proc/{pid}/cmdline").read_bytes(), 20)
    assert peer_of(ask(host, "127.0.0.1", 8080).stdout) == "172.17.0.1"
    assert peer_of(ask(host, "::1", 8080).stdout) == "172.17.0.1"
    minirun.ok("stop", "-t", "0", "web")
    assert nothing_is_left(host)


def test_signals_do_not_close_a_door(minirun, host, web):
    import os

    os.kill(web.monitor(), signal.SIGTERM)
    assert peer_of(ask(host, "127.0.0.1", 8080).stdout) == "172.17.0.1"
