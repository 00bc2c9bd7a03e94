"""The name server in a container's network namespace: real sockets, real rules, name servers of the tests' own."""

from __future__ import annotations

import itertools
import os
import queue
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from select import POLLIN, poll

import pytest

from harness import dns_server
from harness.dns_server import SO_RCVBUFFORCE, Answer, query, received
from harness.network_host import RUN, NetworkHost
from minirun import store
from minirun.engine.network import dns_service
from minirun.kernel import namespaces, syscalls
from minirun.network.dns import listen_in_netns

NETWORK = "7" * 64
U1 = "1" * 64
PLACE = f"{RUN}/containers/{U1}"
SERVERS = [["127.0.0.1", True], ["203.0.113.2", False]]
DNS_SERVER = dns_server.__file__


def write_names(servers, ndots):
    """u1 and u2 on a network, as files."""
    store.make_directory(f"{RUN}/networks/{NETWORK}")
    for owner, address, names in ((U1, "172.18.0.2", ["u1", "db"]), ("2" * 64, "172.18.0.3", ["u2", "db"])):
        store.make_directory(f"{RUN}/containers/{owner}")
        store.reserve(f"{RUN}/networks/{NETWORK}/{address}", f"{owner} veth\n")
        store.write(
            f"{RUN}/containers/{owner}/cable.json",
            {
                "Endpoints": {"foo": {"Network": "foo", "NetworkID": NETWORK, "DNSNames": names, "Links": None}},
                "Resolver": {"Servers": servers, "Ndots": ndots},
            },
        )


def serve(pid, servers, ndots):
    """What a monitor does: serve, and once start afresh from what a service says it needs."""
    write_names(servers, ndots)
    sockets = listen_in_netns.open_sockets(f"/proc/{pid}/ns/net")
    service = dns_service.NameService(sockets, PLACE, pid)
    copies = [os.dup(fd) for fd in service.descriptors()]
    words = [*map(str, copies), *service.restore_args()[2:]]
    service.stop()
    service = dns_service.restore(words)
    assert service.idle()
    store.write_text("/run/serving", "")
    for turn in itertools.count():
        poller = poll()
        poller.register(service.fd, POLLIN)
        deadline = service.deadline
        poller.poll(None if deadline is None else 1000 * max(0, deadline - time.monotonic()) + 1)
        service.serve()
        store.write_text("/run/turns", f"{turn} {'idle' if service.idle() else 'busy'}")


class Names:
    """A host with a container's namespace in which a name server answers, and two servers outside of it."""

    def __init__(self, host):
        self.host, self.server = host, 0
        self.pid = host.namespace()
        self.run(
            f"ip link add v0 type veth peer name eth0 netns {self.pid}; ip addr add 172.18.0.1/16 dev v0; "
            "ip link set v0 up; echo 1 > /proc/sys/net/ipv4/ip_forward; "
            "iptables -t nat -A POSTROUTING -s 172.18.0.0/16 -o wan0 -j MASQUERADE"
        )
        self.within(
            "ip link set lo up; ip addr add 172.18.0.2/16 dev eth0; ip link set eth0 up; "
            "ip route add default via 172.18.0.1"
        )
        outside = host.run("cat", "/run/outside.pid").stdout
        self.questions = {}
        self.upstream = [
            self.begin("127.0.0.1", 1),
            self.begin("203.0.113.2", 2, "nsenter", f"--net=/proc/{outside}/ns/net"),
        ]

    def run(self, script):
        self.host.run("sh", "-ec", script, check=True)

    def within(self, script):
        return self.host.within(self.pid, "sh", "-ec", script)

    def begin(self, address, number, *wrapper):
        server = self.host.popen(*wrapper, sys.executable, DNS_SERVER, address, str(number), stdout=subprocess.PIPE)
        assert server.stdout.readline() == "ready\n"
        questions = self.questions[number] = queue.Queue()
        threading.Thread(target=lambda: [questions.put(line) for line in server.stdout], daemon=True).start()
        return server

    def serve(self, servers=SERVERS, ndots=False):
        """Begin anew, with these servers."""
        self.stop()
        self.run("rm -rf /run/serving /run/minirun")
        self.server = self.host.start(serve, self.pid, servers, ndots)[0]
        self.host.wait_for(lambda: self.host.run("test", "-e", "/run/serving").returncode == 0, "the server")

    def stop(self):
        if self.server:
            os.kill(self.server, signal.SIGKILL)
            os.waitpid(self.server, 0)
            self.server = 0
            self.within("iptables -t nat -F")

    def socket(self, kind=socket.SOCK_DGRAM, port=53, timeout=3):
        """A socket of the container's, connected to the name server."""
        with namespaces.Namespace(f"/proc/{self.pid}/ns/net") as space, namespaces.inside(space, syscalls.CLONE_NEWNET):
            made = socket.socket(socket.AF_INET, kind)
        made.settimeout(timeout)
        made.connect(("127.0.0.11", port))
        return made

    def ask(self, name, kind="A", *, tcp=False, timeout=3, **words):
        """The answer to a question, or None when there is none in time."""
        message = query(name, kind, **words)
        try:
            with self.socket(socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM, timeout=timeout) as sock:
                if tcp:
                    sock.sendall(struct.pack(">H", len(message)) + message)
                    return Answer(received(sock))
                sock.send(message)
                return Answer(sock.recv(65535))
        except TimeoutError:
            return None

    def turns(self):
        """How often the name server has had something to do."""
        return int(self.host.run("cat", "/run/turns").stdout.split()[0])

    def wait_until_idle(self):
        """Wait until nobody waits for anything."""
        self.host.wait_for(lambda: self.host.run("cat", "/run/turns").stdout.endswith("idle"), "an end", 20)

    def asked(self, number, name):
        """The next question for this name that a server was asked."""
        while (question := self.questions[number].get(timeout=3).split())[1] != name:
            pass
        return question


@pytest.fixture(scope="module")
def names():
    if os.geteuid() != 0:
        pytest.skip("needs root: makes network namespaces")
    with NetworkHost(outside=True) as host:
        found = Names(host)
        found.serve()
        yield found
        found.stop()
        for server in found.upstream:
            server.kill()
            server.wait()


@pytest.fixture
def other(names):
    """Servers to be chosen by the test."""
    yield names.serve
    names.serve()


def test_the_rules_are_dockers(names):
    rules = [line for line in names.within("iptables-save -t nat").splitlines() if line[0] in "-:"]
    ports = [line.rpartition(":")[2] for line in rules if "DNAT" in line]
    assert (
        rules
        == f"""\
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:MINIRUN_OUTPUT - [0:0]
:MINIRUN_POSTROUTING - [0:0]
-A OUTPUT -d 127.0.0.11/32 -j MINIRUN_OUTPUT
-A POSTROUTING -d 127.0.0.11/32 -j MINIRUN_POSTROUTING
-A MINIRUN_OUTPUT -d 127.0.0.11/32 -p tcp -m tcp --dport 53 -j DNAT --to-destination 127.0.0.11:{ports[0]}
-A MINIRUN_OUTPUT -d 127.0.0.11/32 -p udp -m udp --dport 53 -j DNAT --to-destination 127.0.0.11:{ports[1]}
-A MINIRUN_POSTROUTING -s 127.0.0.11/32 -p tcp -m tcp --sport {ports[0]} -j SNAT --to-source :53
-A MINIRUN_POSTROUTING -s 127.0.0.11/32 -p udp -m udp --sport {ports[1]} -j SNAT --to-source :53
""".splitlines()
    )
    sockets = names.within("ss -Hlntu")
    assert f"127.0.0.11:{ports[0]} " in sockets
    assert f"127.0.0.11:{ports[1]} " in sockets


@pytest.mark.parametrize("tcp", [False, True])
def test_names_of_the_network(names, tcp):
    for name in ("u2", "U2", "u2.foo"):
        answer = names.ask(name, tcp=tcp)
        assert (answer.flags, answer.question, answer.data, answer.ttl) == (0x8180, name, ["172.18.0.3"], 600)
    assert sorted(names.ask("db", tcp=tcp).data) == ["172.18.0.2", "172.18.0.3"]
    assert (names.ask("u2", "AAAA", tcp=tcp).flags, names.ask("u2", "MX", tcp=tcp).data) == (0x8180, [])
    assert names.ask("3.0.18.172.in-addr.arpa", "PTR", tcp=tcp).data == ["u2.foo"]


@pytest.mark.parametrize(("tcp", "word"), [(False, "udp"), (True, "tcp")])
def test_what_is_not_known_goes_on_over_the_same_protocol(names, tcp, word):
    answer = names.ask(f"ok.{word}", tcp=tcp, number=0x4321)
    assert (answer.number, answer.flags, answer.data) == (0x4321, 0x8180, ["192.0.2.1"])
    assert names.asked(1, f"ok.{word}") == [word, f"ok.{word}", "1", "0"]


def test_an_answer_that_was_cut_is_asked_for_again_over_tcp(names):
    assert names.ask("trunc.x").truncated
    assert len(names.ask("trunc.x", tcp=True).data) == 60
    assert [names.asked(1, "trunc.x")[0] for _ in range(2)] == ["udp", "tcp"]


def test_how_long_an_answer_may_be(names):
    """The server does not care, so we do."""
    short = names.ask("many.x")
    assert (short.truncated, short.data) == (True, [])
    assert len(names.ask("many.x", size=4096).data) == 60
    assert [names.asked(1, "many.x")[3] for _ in range(2)] == ["0", "1"]  # what was said of it has been passed on


@pytest.mark.parametrize(
    ("name", "flags", "data", "asked"),
    [
        ("servfail1.x", 0x8180, ["192.0.2.2"], 2),
        ("refused1.x", 0x8180, ["192.0.2.2"], 2),
        ("nx1.x", 0x8180, ["192.0.2.2"], 2),
        ("notimp1.x", 0x8180, ["192.0.2.2"], 2),
        ("formerr1.x", 0x8180, ["192.0.2.2"], 2),
        ("nxaa.x", 0x8583, [], 1),  # an authority has spoken
        ("servfail.x", 0x8182, [], 2),
        ("refused.x", 0x8185, [], 2),
        ("nx.x", 0x8183, [], 2),
    ],
)
def test_the_next_server_is_asked_when_one_complains(names, name, flags, data, asked):
    answer = names.ask(name)
    assert (answer.flags, answer.question, answer.data) == (flags, name, data)
    for number in range(1, asked + 1):
        assert names.asked(number, name)


@pytest.mark.timing("the second server must be asked after 4 s, not 5")
def test_the_next_server_is_asked_when_one_is_silent(names):
    begun = time.monotonic()
    assert names.ask("silent1.x", timeout=6).data == ["192.0.2.2"]
    assert 3.9 < time.monotonic() - begun < 5
    assert names.asked(1, "silent1.x")
    assert names.asked(2, "silent1.x")


def test_a_server_that_is_not_there_costs_no_time(names, other):
    other([["127.0.0.9", True], ["127.0.0.9", False], ["203.0.113.2", False]])
    for tcp in (False, True):
        assert names.ask("there.x", tcp=tcp, timeout=1).data == ["192.0.2.2"]
        assert names.asked(2, "there.x")[0] == ("tcp" if tcp else "udp")


def test_silence_when_no_server_answers(names, other):
    other([["127.0.0.9", True]])
    assert names.ask("ok.x", timeout=0.5) is None
    assert names.ask("u2").data == ["172.18.0.3"]
    other([])
    assert names.ask("ok.x", timeout=0.5) is None


def test_three_servers_at_most(names, other):
    other([["127.0.0.9", True]] * 3 + [["127.0.0.1", True]])
    assert names.ask("ok.x", timeout=0.5) is None


def test_a_forged_answer_is_none(names):
    assert names.ask("forged.x").data == ["192.0.2.1"]


def test_ndots(names, other):
    other(ndots=True)
    for kind in ("A", "AAAA"):
        answer = names.ask("nosuch", kind)
        assert (answer.flags, answer.data) == (0x8180, [])
    assert names.ask("nosuch.x").data == names.ask("nosuch", "TXT").data == ["192.0.2.1"]
    assert names.asked(1, "nosuch")[2] == "16"  # and not for its address


def test_many_at_once(names):
    """Questions for slow servers do not hold up others, and none is mistaken for another."""
    with names.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 20)
        for number in range(300):
            sock.send(query(f"slow.x{number}", number=number))
        assert names.ask("u2").data == ["172.18.0.3"]  # in three seconds, and one after the other they would take 150
        answers = [Answer(sock.recv(512)) for _ in range(300)]
    assert {answer.number: answer.question for answer in answers} == {n: f"slow.x{n}" for n in range(300)}
    names.wait_until_idle()


def test_hostile_packets(names):
    chance = random.Random(3)
    with names.socket() as sock:
        for _ in range(2000):
            message = bytearray(query("u2", size=512) + bytes(chance.randrange(20)))
            for _ in range(chance.randrange(8)):
                message[chance.randrange(len(message))] = chance.choice((0, 0xC0, 0xFF, 0x3F, chance.randrange(256)))
            message[2] |= 0x80 if chance.random() < 0.5 else 0  # half of them as answers, so that few are sent on
            sock.send(message[: chance.randrange(len(message) + 1)])
    for _ in range(20):
        with names.socket(socket.SOCK_STREAM) as sock:
            sock.sendall(chance.randbytes(chance.randrange(3000)))
    assert names.ask("u2").data == names.ask("u2", tcp=True).data == ["172.18.0.3"]


# ---- over TCP --------------------------------------------------------------------------------------------------


def framed(*words, **options):
    message = query(*words, **options)
    return struct.pack(">H", len(message)) + message


def test_one_question_after_the_other(names):
    with names.socket(socket.SOCK_STREAM) as sock:
        sock.sendall(framed("slow.x", number=1) + framed("u2", number=2) + framed("u2", number=3)[:7])
        assert [Answer(received(sock)).number for _ in range(2)] == [1, 2]
        sock.sendall(framed("u2", number=3)[7:])
        sock.shutdown(socket.SHUT_WR)
        assert Answer(received(sock)).number == 3
        assert sock.recv(1) == b""


def test_thousands_of_questions_in_one_go(names):
    with names.socket(socket.SOCK_STREAM) as sock:
        sock.sendall(framed("u2") * 3000)
        for _ in range(3000):
            assert Answer(received(sock)).data == ["172.18.0.3"]


def test_who_does_not_take_his_answers_is_let_go(names):
    with names.socket(socket.SOCK_STREAM, timeout=6) as sock, pytest.raises(ConnectionError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(200):
            sock.sendall(framed("u2") * 5000)
    assert names.ask("u2").data == ["172.18.0.3"]


@pytest.mark.timing("idle connections must end after 2 s and after 8 s, within a second")
def test_who_says_nothing_is_let_go(names):
    begun = time.monotonic()
    with names.socket(socket.SOCK_STREAM) as silent, names.socket(socket.SOCK_STREAM, timeout=9) as asker:
        asker.sendall(framed("u2"))
        assert received(asker)
        silent.sendall(b"\0")
        assert silent.recv(1) == b""
        assert 1.9 < time.monotonic() - begun < 3
        assert asker.recv(1) == b""
        assert 7.9 < time.monotonic() - begun < 9


@pytest.mark.parametrize("reset", [False, True])
def test_who_goes_away_while_he_waits(names, reset):
    names.wait_until_idle()
    sock = names.socket(socket.SOCK_STREAM)
    sock.sendall(framed("silent.x"))
    assert names.asked(1, "silent.x")
    if reset:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    before = names.turns()
    assert names.ask("u2").data == ["172.18.0.3"]
    time.sleep(1)
    assert names.turns() - before < 10  # nobody runs in circles
    names.wait_until_idle()


def test_a_crowd(names):
    """More than there is room for, and those who come later are not lost."""
    crowd = []
    for _ in range(300):
        crowd.append(names.socket(socket.SOCK_STREAM, timeout=9))
        crowd[-1].sendall(framed("u2"))
    for sock in crowd:
        assert Answer(received(sock)).data == ["172.18.0.3"]
        sock.close()
