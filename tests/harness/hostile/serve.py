"""How a hostile image gets into a registry: as it is."""

from __future__ import annotations

from harness.hostile.archives import sha256
from harness.registry.servers import FakeRegistry


def serve(fake: FakeRegistry, document: bytes, *blobs: bytes) -> str:
    """Have a manifest or an index, and blobs, in the registry. Returns: the image's name."""
    for name in ("latest", f"sha256:{sha256(document)}"):
        (fake.directory / "manifests" / name).write_bytes(document)
    for blob in blobs:
        (fake.directory / f"blobs/sha256:{sha256(blob)}").write_bytes(blob)
    return f"{fake.name}/x"
