"""The short way of a second `pull`: what it takes for an answer, and what it leaves to the long way."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.tarball import make_tar
from minirun.image import reference
from minirun.image.archive import import_tar
from minirun.image.images import Images
from minirun.image.transfer import up_to_date

OTHER = "sha256:" + "0" * 64


class Server:
    """A registry that answers each request with what `says` sends. Attributes: port, asked (list of bytes)."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.says: Callable[[socket.socket], None] = lambda _: None
        self.asked: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:  # closed
                return
            with connection:
                self.asked.append(connection.recv(65536))
                try:
                    self.says(connection)
                except OSError:  # he has heard enough
                    continue


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.socket.shutdown(socket.SHUT_RDWR)
    server.socket.close()


@pytest.fixture
def images(tmp_path: Path, server: Server) -> Images:
    images = Images(str(tmp_path / "images"))
    import_tar.import_tar(images, make_tar(tmp_path / "a.tar", "a"), f"127.0.0.1:{server.port}/some/x:1")
    return images


def ask(images: Images, server: Server, name: str = "some/x:1") -> str:
    return up_to_date.digest_of(images, reference.parse(f"127.0.0.1:{server.port}/{name}"), [])


def test_it_has_not_changed(images: Images, server: Server) -> None:
    [digest] = [entry["digest"] for entry in images.layout.index()]
    server.says = lambda to: to.sendall(
        f"HTTP/1.1 200 OK\r\nContent-Length: 3\r\ndocker-Content-DIGEST: {digest}\r\n\r\n".encode()
    )
    assert ask(images, server) == digest
    line, *headers = server.asked[0].decode().split("\r\n")
    assert line == "HEAD /v2/some/x/manifests/1 HTTP/1.1"
    assert f"Host: 127.0.0.1:{server.port}" in headers
    assert headers[-2:] == ["", ""]


def test_pieces_of_an_answer_are_put_together(images: Images, server: Server) -> None:
    [digest] = [entry["digest"] for entry in images.layout.index()]

    def say(to: socket.socket) -> None:
        for byte in f"HTTP/1.1 200\r\nDocker-Content-Digest: {digest}\r\n\r\n".encode():
            to.sendall(bytes([byte]))

    server.says = say
    assert ask(images, server) == digest


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDocker-Content-Digest: %(digest)s\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nDocker-Content-Digest: %(digest)s\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\nDocker-Content-Digest: %(digest)s\r\n\r\n",
        b"SPDY/1.1 200 OK\r\nDocker-Content-Digest: %(digest)s\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDocker-Content-Digest: %(other)s\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDocker-Content-Digest: %(digest)s\r\nDocker-Content-Digest: %(digest)s\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDocker-Content-Digest: \xff\xfe\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x02\x46",  # TLS: a fatal alert
        *(
            b"HTTP/1.1 %d X\r\nDocker-Content-Digest: %%(digest)s\r\n\r\n" % status
            for status in (100, 204, 301, 307, 401, 403, 404, 429, 500)
        ),
    ],
)
def test_everything_else_is_for_the_long_way(images: Images, server: Server, answer: bytes) -> None:
    [digest] = [entry["digest"] for entry in images.layout.index()]
    server.says = lambda to: to.sendall(
        answer.replace(b"%(digest)s", digest.encode()).replace(b"%(other)s", OTHER.encode())
    )
    assert ask(images, server) == ""
    assert len(server.asked) == 1


def test_headers_without_an_end(images: Images, server: Server) -> None:
    sent = []

    def say(to: socket.socket) -> None:
        while True:
            to.sendall(b"HTTP/1.1 200 OK\r\n" if not sent else b"X-More: %d\r\n" % len(sent))
            sent.append(1)

    server.says = say
    assert ask(images, server) == ""
    assert sent


@pytest.mark.timing("it must give up within 5 s")
def test_an_answer_that_drips(images: Images, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def say(to: socket.socket) -> None:
        while True:
            to.sendall(b"X")
            time.sleep(0.01)

    server.says = say
    monkeypatch.setattr(up_to_date, "TIMEOUT", 0.2)
    begun = time.monotonic()
    assert ask(images, server) == ""
    assert time.monotonic() - begun < 5


def test_who_says_nothing(images: Images, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.says = lambda to: time.sleep(2)
    monkeypatch.setattr(up_to_date, "TIMEOUT", 0.1)
    assert ask(images, server) == ""


def test_nobody_is_asked_for_what_is_not_here(images: Images, server: Server) -> None:
    assert ask(images, server, "some/x:2") == ask(images, server, "x@" + OTHER) == ""
    assert server.asked == []


def test_nobody_listens(images: Images, server: Server) -> None:
    server.socket.shutdown(socket.SHUT_RDWR)
    server.socket.close()
    assert ask(images, server) == ""
    server.socket = socket.create_server(("127.0.0.1", 0))  # for the fixture to close


@pytest.mark.parametrize(
    ("domain", "insecure", "address"),
    [
        ("127.0.0.1:5000", [], ("127.0.0.1", "5000")),
        ("localhost:80", [], ("localhost", "80")),
        ("[::1]:5000", [], ("::1", "5000")),
        ("lan:5000", ["lan:5000"], ("lan", "5000")),
        ("lan:5000", ["lan"], ("lan", "5000")),
        ("10.1.1.1:5000", ["10.1.1.1"], ("10.1.1.1", "5000")),
        ("127.0.0.1", [], None),
        ("localhost", [], None),
        ("[::1]", [], None),
        ("docker.io", [], None),
        ("docker.io", ["docker.io"], None),
        ("lan:5000", [], None),
        ("127.example.com:5000", [], None),
        ("10.1.1.1:5000", ["10.0.0.0/8"], None),
    ],
)
def test_to_whom_one_speaks_in_plain_text(
    domain: str, insecure: list[str], address: tuple | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    assert up_to_date._address(domain, insecure) == address
    monkeypatch.setenv("Http_Proxy", "http://proxy.lan:3128")
    assert up_to_date._address(domain, insecure) == (None if insecure else address)
