"""By which way a registry is reached: mirrors, proxies, certificates, insecure ones, names that nobody knows."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.host import ROOT
from harness.registry.images import Image, layers
from harness.registry.servers import DockerRegistry, FakeRegistry, certificate, forget_images, own_etc, tls

pytestmark = pytest.mark.usefixtures("forgets")


PROXY = ROOT / "tests/harness/http_proxy.py"
#: A name server on port 53 that knows nobody, and that is out of order when it is asked for "broken".
NAMELESS = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
print("ready", flush=True)
while True:
    query, client = server.recvfrom(512)
    code = b"\\x81\\x82" if b"broken" in query else b"\\x81\\x83"
    server.sendto(query[:2] + code + query[4:6] + bytes(6) + query[12:], client)
"""


@contextlib.contextmanager
def begun(host, *words: str):
    """A program that says "ready" when it is."""
    with host.popen(*words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as program:
        try:
            assert program.stdout.readline() == "ready\n"
            yield program
        finally:
            program.kill()


@pytest.fixture
def etc(host):
    with own_etc(host) as etc:
        yield Path(etc)


@pytest.fixture
def authority(host, tmp_path) -> Path:
    """A certificate authority of our own."""
    certificate(host, tmp_path / "ca", "DNS:authority.lan")
    return tmp_path / "ca"


def settings(tmp_path, **words: object) -> tuple[str, str]:
    (tmp_path / "config.json").write_text(json.dumps({name.replace("_", "-"): value for name, value in words.items()}))
    return "--config-file", str(tmp_path / "config.json")


# ---- mirrors ----


def test_one_mirror_is_asked_after_the_other(minirun, host, fake, tmp_path):
    image = Image(*layers("a"))
    with FakeRegistry(host, tmp_path / "empty", 5002).running() as empty:
        fake.put(image)
        mirrors = ["http://127.0.0.1:9", f"http://{empty.name}/", f"http://{fake.name}"]
        words = settings(tmp_path, registry_mirrors=mirrors)
        assert minirun.ok(*words, "pull", "-q", "nobody/has-it") == "docker.io/nobody/has-it:latest"
        assert empty.log("nobody/has-it/manifests")
    assert {line["path"].split("/")[2:4] == ["nobody", "has-it"] for line in fake.log("blobs")} == {True}
    assert {line["authorization"] for line in fake.log()} == {None}
    result = minirun(*settings(tmp_path, registry_mirrors=["ftp://x"]), "pull", "x")
    assert result.code == 1 and "invalid mirror: 'ftp://x'" in result.err


# ---- certificates ----


def test_a_certificate_that_nobody_vouches_for(minirun, host, tmp_path):
    certificate(host, tmp_path / "own", "IP:203.0.113.1")
    registry = DockerRegistry(host, tmp_path, 5004, address="203.0.113.1", tls=tls(tmp_path / "own"))
    with registry.running():
        registry.put(Image(*layers("a")), "x")
        result = minirun("pull", "-q", f"{registry.name}/x")
        assert (result.code, result.err) == (
            1,
            f'Error response from daemon: Get "https://{registry.name}/v2/": x509: '
            "certificate signed by unknown authority\n",
        )
        words = settings(tmp_path, insecure_registries=["203.0.113.0/24"])
        assert minirun.ok(*words, "pull", "-q", f"{registry.name}/x")
        forget_images(minirun)
        result = minirun("pull", "-q", f"{registry.name}/x", SSL_CERT_FILE=f"{tmp_path}/own/crt")
        assert (result.code, result.err) == (0, "")


def test_an_authority_of_ones_own(minirun, host, etc, authority, tmp_path):
    certificate(host, tmp_path / "good", "IP:203.0.113.1", issuer=str(authority))
    certificate(host, tmp_path / "bad", "IP:203.0.113.9", issuer=str(authority))
    good = DockerRegistry(host, tmp_path, 5004, address="203.0.113.1", tls=tls(tmp_path / "good"))
    bad = DockerRegistry(host, tmp_path, 5005, address="203.0.113.1", tls=tls(tmp_path / "bad"))
    with good.running(), bad.running():
        good.put(Image(*layers("a")), "x")
        for registry in (good, bad):
            place = etc / "docker/certs.d" / registry.name
            place.mkdir(parents=True)
            shutil.copy(authority / "crt", place / "ca.crt")
        minirun.ok("pull", "-q", f"{good.name}/x")
        result = minirun("pull", "-q", f"{bad.name}/x")
        assert (result.code, result.err) == (
            1,
            f'Error response from daemon: Get "https://{bad.name}/v2/": x509: '
            "certificate is not valid for 203.0.113.1\n",
        )


def test_a_registry_that_wants_to_see_our_certificate(minirun, host, etc, authority, tmp_path):
    certificate(host, tmp_path / "server", "IP:203.0.113.1", issuer=str(authority))
    certificate(host, tmp_path / "client", "DNS:me", issuer=str(authority))
    registry = DockerRegistry(
        host, tmp_path, 5004, address="203.0.113.1", tls=tls(tmp_path / "server", f"{authority}/crt")
    )
    place = etc / "minirun/certs.d" / registry.name
    place.mkdir(parents=True)
    shutil.copy(authority / "crt", place / "ca.crt")

    def refused() -> str:
        result = minirun("pull", "-q", f"{registry.name}/x")
        assert result.code == 1
        return result.err.removeprefix("Error response from daemon: ").removesuffix("\n")

    with registry.running():
        assert "remote error: tls: " in refused()
        shutil.copy(tmp_path / "client/crt", place / "client.cert")
        assert refused() == (
            "missing key client.key for client certificate client.cert. Note that CA certificates "
            "should use the extension .crt"
        )
        shutil.copy(tmp_path / "client/key", place / "client.key")
        assert "manifest unknown" in refused()  # in, and looked around
        (place / "client.cert").unlink()
        assert refused() == "Missing client certificate client.cert for key client.key"


def test_plain_text_where_tls_is_wanted(minirun, host, tmp_path):
    with DockerRegistry(host, tmp_path, 5004, address="203.0.113.1").running() as registry:
        registry.put(Image(*layers("a")), "x")
        result = minirun("pull", "-q", f"{registry.name}/x")
        assert (result.code, result.err) == (
            1,
            f'Error response from daemon: Get "https://{registry.name}/v2/": http: '
            "server gave HTTP response to HTTPS client\n",
        )
        for insecure in ("203.0.113.1:5004", "203.0.113.1", "203.0.113.0/24"):
            minirun.ok(*settings(tmp_path, insecure_registries=[insecure]), "pull", "-q", f"{registry.name}/x")
            forget_images(minirun)


# ---- names ----


@pytest.mark.timing("a refusal must come sooner than a resolver's timeout")
def test_a_name_that_nobody_knows(minirun, host, etc):
    (etc / "resolv.conf").unlink()
    (etc / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    with begun(host, sys.executable, "-c", NAMELESS):
        begin = time.monotonic()
        result = minirun("pull", "-q", "nosuch.example/x")
        assert (result.code, result.err) == (
            1,
            'Error response from daemon: Get "https://nosuch.example/v2/": dial '
            "tcp: lookup nosuch.example on 127.0.0.1:53: no such host\n",
        )
        assert time.monotonic() - begin < 5  # a resolver that gets no answer waits for ten
        assert minirun("pull", "-q", "broken.example/x").err.endswith(
            "lookup broken.example on 127.0.0.1:53: Temporary failure in name resolution\n"
        )
        result = minirun("run", "--rm", "debian:12", "true")
        assert result.err.endswith(
            "hint: no registry can be reached; rootfs/debian makes the image 'debian' without one\n"
        )


@pytest.mark.timing("the lookup must give up within 9 s")
def test_a_name_server_that_does_not_answer(minirun, host, etc):
    (etc / "resolv.conf").unlink()
    (etc / "resolv.conf").write_text("nameserver 203.0.113.77\n")
    begin = time.monotonic()
    result = minirun("run", "--rm", "busybox", "true")
    assert "lookup registry-1.docker.io on 203.0.113.77:53: Temporary failure" in result.err
    assert "hint: no registry can be reached; rootfs/busybox makes the image 'busybox' without one\n" in result.err
    assert time.monotonic() - begin < 9


# ---- proxies ----


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_password(minirun, host, authority, tmp_path, scheme):
    certificate(host, tmp_path / "server", "IP:203.0.113.1", issuer=str(authority))
    registry = DockerRegistry(
        host, tmp_path, 5004, address="203.0.113.1", tls=tls(tmp_path / "server") * (scheme == "https")
    )
    words = settings(tmp_path, insecure_registries=[registry.name] * (scheme == "http"))
    minirun.machine.environment["SSL_CERT_FILE"] = str(authority / "crt")
    log, variable = tmp_path / "proxy.log", f"{scheme}_proxy"
    with registry.running(), begun(host, sys.executable, str(PROXY), "3128", "me:p@ss", str(log)):
        registry.put(Image(*layers("a")), "x")
        minirun.ok(*words, "pull", "-q", f"{registry.name}/x", **{variable: "http://me:p%40ss@127.0.0.1:3128"})
        begin = f"CONNECT {registry.name}" if scheme == "https" else f"GET http://{registry.name}/v2/"
        assert begin in log.read_text()
        forget_images(minirun)
        before = log.read_text()
        minirun.ok(
            *words, "pull", "-q", f"{registry.name}/x", **{variable: "http://127.0.0.1:3128"}, no_proxy="203.0.113.0/24"
        )
        assert log.read_text() == before
        result = minirun(*words, "pull", "-q", f"{registry.name}/y", **{variable: "http://me:bad@127.0.0.1:3128"})
        assert result.code == 1 and "Proxy Authentication Required" in result.err
    result = minirun(*words, "pull", "-q", f"{registry.name}/y", **{variable: "http://127.0.0.1:9"})
    assert (result.code, result.err) == (
        1,
        (
            f'Error response from daemon: Get "{scheme}://{registry.name}/v2/": proxyconnect tcp: dial tcp 127.0.0.1:9: '
            "connect: connection refused\n"
        ),
    )
    del minirun.machine.environment["SSL_CERT_FILE"]
