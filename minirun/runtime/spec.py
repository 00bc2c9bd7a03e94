"""config.json, the description of a container for the runtime (OCI runtime-spec, config.md): read and validate it.

Docker's daemon, Podman, containerd and our own engine all write it, and nothing below them understands another. It
stays the dictionary that it is. What cannot be carried out is refused before anything is made: a setting that is
silently dropped is a container less confined than its owner believes.
"""

from __future__ import annotations

import os

from minirun import store
from minirun.errors import MinirunError
from minirun.kernel.namespaces import NAMESPACES


def load(bundle: str) -> dict:
    """Read and check BUNDLE/config.json; `root.path` is made absolute.

    Errors: MinirunError that names the key.
    """
    path = os.path.join(bundle, "config.json")
    try:
        spec = store.read(path)
    except FileNotFoundError:
        raise MinirunError(f"{path}: no such file", hint="a bundle is a directory with config.json in it") from None
    check(spec)
    # Relative to the bundle, not to our working directory (config.md, "Root").
    spec["root"]["path"] = os.path.join(os.path.abspath(bundle), spec["root"]["path"])
    return spec


def check(spec: dict) -> None:
    """Refuse a spec that cannot be carried out. Errors: MinirunError that names the key."""
    process = spec.get("process") or {}
    if not process.get("args"):
        raise MinirunError("config.json: process.args is missing")
    if not str(process.get("cwd", "")).startswith("/"):
        raise MinirunError("config.json: process.cwd is not an absolute path")
    if not (spec.get("root") or {}).get("path"):
        raise MinirunError("config.json: root.path is missing")
    linux = spec.get("linux") or {}
    # A namespace of a kind that this version does not know would leave the container in the host's.
    for entry in linux.get("namespaces") or []:
        if entry.get("type") not in NAMESPACES:
            raise MinirunError(f"config.json: linux.namespaces has an unknown type {entry.get('type')}")
    if "user" in namespaces(spec):
        raise MinirunError("config.json: minirun cannot make a user namespace yet")
    # Without one, pivot_root would change the root of the host's processes.
    if "mount" not in namespaces(spec):
        raise MinirunError("config.json: minirun needs a mount namespace for the container")
    # Confinement that was asked for and is not there is worse than an error.
    for key in ("seccomp", "intelRdt", "personality"):
        if linux.get(key):
            raise MinirunError(f"config.json: minirun cannot do linux.{key} yet")
    if spec.get("hooks"):
        raise MinirunError("config.json: minirun cannot run hooks yet")


def namespaces(spec: dict) -> dict[str, str]:
    """The namespaces of the container: OCI type → path of the one to join, or "" for a new one (linux.namespaces)."""
    return {entry["type"]: entry.get("path") or "" for entry in (spec.get("linux") or {}).get("namespaces") or []}
