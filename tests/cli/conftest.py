"""Registries for the tests of pull and push, and people at terminals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.registry.servers import LOCKED, PASSWORDS, Fake, Real, forget_images
from harness.terminal import Person


@pytest.fixture
def forgets(minirun, host) -> Iterator[None]:
    """The next test gets the host without the images of this one, and without what a pull of it has left."""
    yield
    forget_images(minirun)
    for download in (host.data / "images/tmp").glob("download-*"):
        download.unlink()


@pytest.fixture
def registry(host, tmp_path) -> Iterator[Real]:
    """Debian's docker-registry, in plain text."""
    with Real(host, tmp_path).running() as registry:
        yield registry


@pytest.fixture
def fake(host, tmp_path) -> Iterator[Fake]:
    """One that misbehaves as it is told."""
    with Fake(host, tmp_path / "fake").running() as fake:
        yield fake


@pytest.fixture
def locked(host, tmp_path) -> Iterator[Real]:
    """A registry that wants a password; the client's files are in a directory of the test's own."""
    (tmp_path / "htpasswd").write_text(PASSWORDS)
    host.environment["DOCKER_CONFIG"] = str(tmp_path / "docker")
    with Real(host, tmp_path, 5003, LOCKED % (tmp_path / "htpasswd")).running() as registry:
        yield registry
    del host.environment["DOCKER_CONFIG"]


@pytest.fixture
def person(minirun):
    """Begin a command at a new terminal."""
    people = []

    def begin(*words, **options):
        people.append(Person(minirun, words, **options))
        return people[-1]

    yield begin
    for one in people:
        one.close()
