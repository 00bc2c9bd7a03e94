"""Registries for the tests of pull and push, and terminals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.registry.servers import LOCKED, PASSWORDS, DockerRegistry, FakeRegistry, forget_images
from harness.terminal import TerminalSession


@pytest.fixture
def forgets(minirun, host) -> Iterator[None]:
    """The next test gets the host without the images of this one, and without what a pull of it has left."""
    yield
    forget_images(minirun)
    for download in (host.data / "images/tmp").glob("download-*"):
        download.unlink()


@pytest.fixture
def registry(host, tmp_path) -> Iterator[DockerRegistry]:
    """Debian's docker-registry, in plain text."""
    with DockerRegistry(host, tmp_path).running() as registry:
        yield registry


@pytest.fixture
def fake(host, tmp_path) -> Iterator[FakeRegistry]:
    """One that misbehaves as it is told."""
    with FakeRegistry(host, tmp_path / "fake").running() as fake:
        yield fake


@pytest.fixture
def locked(host, tmp_path) -> Iterator[DockerRegistry]:
    """A registry that wants a password; the client's files are in a directory of the test's own."""
    (tmp_path / "htpasswd").write_text(PASSWORDS)
    host.environment["DOCKER_CONFIG"] = str(tmp_path / "docker")
    with DockerRegistry(host, tmp_path, 5003, LOCKED % (tmp_path / "htpasswd")).running() as registry:
        yield registry
    del host.environment["DOCKER_CONFIG"]


@pytest.fixture
def terminal(minirun):
    """Begin a command at a new terminal."""
    sessions = []

    def begin(*words, **options):
        sessions.append(TerminalSession(minirun, words, **options))
        return sessions[-1]

    yield begin
    for one in sessions:
        one.close()
