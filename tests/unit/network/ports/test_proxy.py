"""The userland proxy under load: many connections, half-close, slow peers, back-pressure with a bound on memory.

The proxy runs in a process of its own, between two ports of the loopback; its loop is the one of a monitor.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import select
import socket
import threading
import time
from pathlib import Path

import pytest

from minirun.errors import EngineError
from minirun.network.ports import listener, proxy, proxy_udp

MANY = 1000
MEGABYTE = 1 << 20


def mapping(inner: int, proto: str = "tcp", outer: int = 0, hairpin: bool = False) -> dict:
    return {
        "Proto": proto,
        "HostIP": "127.0.0.1",
        "HostPort": outer,
        "ContainerIP": "127.0.0.1",
        "ContainerPort": inner,
        "Hairpin": hairpin,
    }


class Running:
    """A proxy in a process of its own: `.port`, where it listens; `.pid`."""

    def __init__(self, inner: int, proto: str = "tcp", files: int = 0) -> None:
        served = proxy.Proxy()
        door = listener.bind(mapping(inner, proto))
        self.port = door.getsockname()[1]
        self.asked, answer = os.pipe()
        question, self.ask = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.ask)
                os.close(self.asked)
                if files:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
                served.open(door.detach(), mapping(inner, proto, self.port))
                self.loop(served, question, answer)
            finally:
                os._exit(1)
        door.close()
        os.close(answer)
        os.close(question)

    @staticmethod
    def loop(served: proxy.Proxy, question: int, answer: int) -> None:
        poller = select.poll()
        poller.register(served.fd, select.POLLIN)
        poller.register(question, select.POLLIN)
        while True:
            wait = None if served.deadline is None else max(0, served.deadline - time.monotonic()) * 1000
            ready = dict(poller.poll(wait))
            if question in ready:
                if not os.read(question, 1):
                    return
                os.write(answer, b"%d" % served.idle())
            served.serve()

    def idle(self) -> bool:
        """Whether nobody is inside."""
        os.write(self.ask, b"?")
        return os.read(self.asked, 1) == b"1"

    def memory(self) -> int:
        """What it has for itself, in KiB."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:"))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def end(self) -> None:
        os.close(self.ask)
        os.close(self.asked)
        os.waitpid(self.pid, 0)


@pytest.fixture
def started():
    """Proxies: `started(inner port, ...)`."""
    all_of_them = []

    def start(*arguments, **more) -> Running:
        all_of_them.append(Running(*arguments, **more))
        return all_of_them[-1]

    yield start
    for one in all_of_them:
        one.end()


@pytest.fixture
def server():
    """A server: `server(what to do with a connection)` gives its port."""
    with contextlib.ExitStack() as stack:

        def serve(work) -> int:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=4096))

            def accept() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        connection, _ = listener.accept()
                        threading.Thread(target=run, args=(connection,), daemon=True).start()

            def run(connection: socket.socket) -> None:
                with connection, contextlib.suppress(OSError):
                    work(connection)

            threading.Thread(target=accept, daemon=True).start()
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            return listener.getsockname()[1]

        yield serve


def everything(sock: socket.socket) -> bytes:
    """What comes until the end."""
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def eventually(what, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found  # asked once more, it may be no longer so: somebody who still stood at the door has come in


@pytest.fixture(scope="module", autouse=True)
def _room():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4 * MANY + 200:
        pytest.skip("too few open files are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ---- TCP -------------------------------------------------------------------------------------------------------


def test_a_thousand_connections_at_once(started, server):
    one = started(server(echo))
    clients = [one.connect() for _ in range(MANY)]
    for number, client in enumerate(clients):
        client.sendall(b"hello %04d" % number)
    for number, client in enumerate(clients):
        assert client.recv(100, socket.MSG_WAITALL if number % 2 else 0)[:10] == b"hello %04d" % number
    assert not one.idle()
    for client in clients:
        client.close()
    assert eventually(one.idle)
    assert len(os.listdir(f"/proc/{one.pid}/fd")) < 64


def test_the_client_closes_his_half(started, server):
    """He sends all he has and waits for the answer, which begins when the server has seen the end."""
    sent = os.urandom(3 * MEGABYTE)

    def answer(connection: socket.socket) -> None:
        connection.sendall(hashlib.sha256(everything(connection)).digest())

    client = started(server(answer)).connect()
    client.sendall(sent)
    client.shutdown(socket.SHUT_WR)
    assert everything(client) == hashlib.sha256(sent).digest()


def test_the_server_closes_its_half(started, server):
    sent, arrived, done = os.urandom(3 * MEGABYTE), [], threading.Event()

    def speak_first(connection: socket.socket) -> None:
        connection.sendall(b"go on")
        connection.shutdown(socket.SHUT_WR)
        arrived.append(everything(connection))
        done.set()

    one = started(server(speak_first))
    client = one.connect()
    assert everything(client) == b"go on"
    client.sendall(sent)
    client.close()
    assert done.wait(20)
    assert arrived == [sent]
    assert eventually(one.idle)


def test_a_fast_sender_waits_for_a_slow_receiver(started, server):
    """Back-pressure: what nobody takes is not taken in, and costs the proxy no memory; and not a byte is lost."""
    go, digest, taken = threading.Event(), hashlib.sha256(), []

    def wait_then_read(connection: socket.socket) -> None:
        connection.recv(1)
        go.wait(60)
        count = 1
        while data := connection.recv(65536):
            digest.update(data)
            count += len(data)
        taken.append(count)

    one = started(server(wait_then_read))
    before = one.memory()
    clients = [one.connect() for _ in range(8)]
    block, sent = os.urandom(65536), 0
    for client in clients:
        client.settimeout(0.5)
        client.sendall(b"!")
        with contextlib.suppress(TimeoutError):
            while True:
                sent += client.send(block)
    assert sent < len(clients) * 32 * MEGABYTE, "nobody reads, and all of it was taken"
    assert one.memory() - before < 2048
    total = sent + len(clients)
    go.set()
    for client in clients:
        client.settimeout(20)
        client.shutdown(socket.SHUT_WR)
        assert everything(client) == b""
    assert eventually(lambda: len(taken) == len(clients))
    assert sum(taken) == total


@pytest.mark.timing("the second connection must be served within 2 s")
def test_who_does_not_read_keeps_nobody_waiting(started, server):
    one = started(server(echo))
    stuck = one.connect()
    stuck.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        while True:
            stuck.send(b"x" * 65536)
    began = time.monotonic()
    with one.connect() as other:
        other.sendall(b"hello")
        assert other.recv(5) == b"hello"
    assert time.monotonic() - began < 2


def test_much_both_ways(started, server):
    one = started(server(echo))
    sent = os.urandom(32 * MEGABYTE)
    with one.connect() as client:
        writer = threading.Thread(target=lambda: (client.sendall(sent), client.shutdown(socket.SHUT_WR)))
        writer.start()
        assert hashlib.sha256(everything(client)).digest() == hashlib.sha256(sent).digest()
        writer.join()


def test_nobody_listens_in_the_container(started):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    one = started(port)
    with one.connect() as client:
        assert client.recv(1) == b""
    assert eventually(one.idle)


def test_the_server_breaks_off(started, server):
    def break_off(connection: socket.socket) -> None:
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, not an end

    one = started(server(break_off))
    with one.connect() as client:
        client.sendall(b"!")
        with contextlib.suppress(ConnectionError):
            assert client.recv(1) == b""
    assert eventually(one.idle)


def test_the_client_breaks_off(started, server):
    one = started(server(echo))
    for _ in range(50):
        client = one.connect()
        client.sendall(b"hello")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    assert eventually(one.idle)
    with one.connect() as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"


def test_too_many_open_files(started, server):
    """Who finds no room waits at the door, and is let in when somebody leaves."""
    one = started(server(echo), files=64)
    clients = [one.connect() for _ in range(60)]
    for client in clients:
        client.sendall(b"hello")
    for client in clients:
        assert client.recv(5) == b"hello"
        client.close()
    assert eventually(one.idle)


# ---- UDP -------------------------------------------------------------------------------------------------------


@pytest.fixture
def udp_echo():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def work() -> None:
            with contextlib.suppress(OSError):
                while True:
                    data, address = sock.recvfrom(65535)
                    if data == b"stop":
                        return
                    sock.sendto(data, address)

        thread = threading.Thread(target=work)
        thread.start()
        port = sock.getsockname()[1]
        yield port
        sock.sendto(b"stop", ("127.0.0.1", port))
        thread.join()


def udp_client(one: Running) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(5)
    sock.connect(("127.0.0.1", one.port))
    return sock


def test_each_client_gets_its_own_answers(started, udp_echo):
    one = started(udp_echo, "udp")
    clients = [udp_client(one) for _ in range(50)]
    for round_ in range(3):
        for number, client in enumerate(clients):
            client.send(b"%d of %d" % (number, round_))
        for number, client in enumerate(clients):
            assert client.recv(100) == b"%d of %d" % (number, round_)
    assert not one.idle()
    for client in clients:
        client.close()


def test_the_longest_datagram(started, udp_echo):
    with udp_client(started(udp_echo, "udp")) as client:
        data = os.urandom(65507)
        client.send(data)
        assert client.recv(65535) == data


def test_a_silent_client_is_forgotten(started, udp_echo, monkeypatch):
    monkeypatch.setattr(proxy_udp, "TIMEOUT", 0.3)
    one = started(udp_echo, "udp")
    with udp_client(one) as client:
        client.send(b"hello")
        assert client.recv(100) == b"hello"
        assert not one.idle()
        assert eventually(one.idle, 3)
        client.send(b"again")
        assert client.recv(100) == b"again"


def test_a_server_that_comes_late(started):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
        late.bind(("127.0.0.1", 0))
        port = late.getsockname()[1]
    one = started(port, "udp")
    with udp_client(one) as client:
        client.send(b"lost")
        time.sleep(0.1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
            late.bind(("127.0.0.1", port))
            late.settimeout(5)
            client.send(b"arrives")
            assert late.recv(100) == b"arrives"


# ---- doors -----------------------------------------------------------------------------------------------------


def door(one: proxy.Proxy, inner: int = 7, **more) -> dict:
    sock = listener.bind(mapping(inner, **more))
    described = mapping(inner, outer=sock.getsockname()[1], **more)
    one.open(sock.detach(), described)
    return described


def test_it_goes_on_in_another_program():
    one = proxy.Proxy()
    door(one)
    door(one, proto="udp")
    door(one, 8, hairpin=True)
    assert one.idle()
    again = proxy.restore(one.restore_args())
    assert again.restore_args() == one.restore_args()
    assert again.descriptors() == one.descriptors()
    assert [known.served for known in again.listeners.values()] == [True, True, False]
    for known in list(one.listeners.values()):
        one.close(known)


def test_it_follows():
    """A mapping that stays keeps its socket, one with another target a socket for the same port; others come and go."""
    one = proxy.Proxy()
    stays, moves, goes = door(one), door(one), door(one)
    before = one.listeners.copy()
    moved = {**moves, "ContainerIP": "127.0.0.2"}
    with socket.create_server(("127.0.0.1", 0)) as busy:
        comes = mapping(9, outer=busy.getsockname()[1])
        with pytest.raises(EngineError, match="address already in use$"):
            one.update([stays, moved, comes])
    one.update([stays, moved, comes])
    now = {known.key(): known.target for known in one.listeners.values()}
    assert now == {
        ("tcp", "127.0.0.1", stays["HostPort"]): ("127.0.0.1", 7),
        ("tcp", "127.0.0.1", moves["HostPort"]): ("127.0.0.2", 7),
        ("tcp", "127.0.0.1", comes["HostPort"]): ("127.0.0.1", 9),
    }
    assert any(known is before.get(fd) for fd, known in one.listeners.items())
    socket.create_server(("127.0.0.1", goes["HostPort"])).close()
    one.update([])
    assert one.listeners == {}
