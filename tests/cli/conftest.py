"""Registries for the tests of pull and push."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from registries import Fake, Real, forget_images


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
