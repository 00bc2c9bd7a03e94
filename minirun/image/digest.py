"""Digests, which identify blobs, layers and images (OCI image-spec, descriptor.md and config.md)."""

from __future__ import annotations

from minirun.image import reference


def chain_ids(diff_ids: list[str]) -> list[str]:
    """The chain id of each layer: it identifies the layer with all layers below it (OCI image-spec, config.md).

    Arguments: diff_ids (list of str), lowest layer first. Returns: chain ids in the same order.
    Errors: ClientError for an invalid digest.
    """
    chain: list[str] = []
    for diff_id in diff_ids:
        reference.check_digest(diff_id)
        chain.append(sha256(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain


def sha256(data: bytes) -> str:
    """The digest of a small blob: "sha256:...".

    From CPython's built-in module: `import hashlib` loads OpenSSL, which is worth its milliseconds only where whole
    layers are digested.
    """
    try:
        from _sha256 import sha256 as digest  # type: ignore[import-not-found]  # Python 3.11
    except ImportError:
        try:
            from _sha2 import sha256 as digest  # type: ignore[import-not-found]  # Python 3.12 and later
        except ImportError:
            from hashlib import sha256 as digest
    return f"sha256:{digest(data).hexdigest()}"
