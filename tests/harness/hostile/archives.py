"""Archives of images, as `docker save` and skopeo write them, wrong in one place."""

from __future__ import annotations

import hashlib
import json
import tarfile

from harness.hostile.tars import entry, tar

OCI = "application/vnd.oci.image"
LAYER = tar(entry("etc/os-release", data=b"NAME=x\n"))
UPPER = tar(entry("etc/motd", data=b"hello\n"))


def sha256(data: bytes) -> str:
    """A digest without its algorithm."""
    return hashlib.sha256(data).hexdigest()


def tarred(*members: tuple[str, bytes | tarfile.TarInfo]) -> bytes:
    """A tar of (name, content or a header of another kind)."""
    out = b""
    for name, data in members:
        info = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
        info.name = name
        content = data if isinstance(data, bytes) else b""
        info.size = len(content)
        out += info.tobuf(tarfile.GNU_FORMAT) + content + b"\0" * (-len(content) % 512)
    return out + b"\0" * 1024


def pointer(target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    """A member that is a link."""
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def config(*layers: bytes, **more: object) -> bytes:
    """The image config for these (plain) layers; `more` replaces keys."""
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer)}" for layer in layers]},
            **more,
        }
    ).encode()


def docker(
    *layers: bytes, tags: object = ("a:1",), settings: bytes = b"", members: list | None = None, **more: object
) -> bytes:
    """A docker-archive; `more` replaces keys of its manifest.json, `members` what comes before it."""
    settings = settings or config(*layers)
    name = f"{sha256(settings)}.json"
    if members is None:
        members = [(f"{number}/layer.tar", layer) for number, layer in enumerate(layers)]
    item = {
        "Config": name,
        "RepoTags": tags and list(tags),
        "Layers": [f"{number}/layer.tar" for number, _ in enumerate(layers)],
        **more,
    }
    return tarred(*members, (name, settings), ("manifest.json", json.dumps([item]).encode()))


def descriptor(data: bytes, kind: str, **more: object) -> dict:
    """An OCI descriptor of some bytes."""
    return {"mediaType": f"{OCI}.{kind}", "digest": f"sha256:{sha256(data)}", "size": len(data), **more}


def blob(data: bytes) -> tuple[str, bytes]:
    """The path of a blob in an image layout, and its content."""
    return f"blobs/sha256/{sha256(data)}", data


def manifest(settings: bytes, layers: tuple[bytes, ...], kind: str = "layer.v1.tar", /, **more: object) -> bytes:
    """An OCI manifest; `more` replaces keys."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": descriptor(settings, "config.v1+json"),
            "layers": [descriptor(layer, kind) for layer in layers],
            **more,
        }
    ).encode()


def oci(
    *layers: bytes, plain: tuple[bytes, ...] = (), index: dict | None = None, kind: str = "layer.v1.tar", **more: object
) -> bytes:
    """An oci-archive; `more` replaces keys of its manifest, `index` those of its index.json."""
    settings = config(*(plain or layers))
    document = manifest(settings, layers, kind, **more)
    top = {
        "schemaVersion": 2,
        "manifests": [
            descriptor(document, "manifest.v1+json", annotations={"org.opencontainers.image.ref.name": "a:1"})
        ],
        **(index or {}),
    }
    return tarred(
        ("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'),
        ("index.json", json.dumps(top).encode()),
        *map(blob, (settings, document, *layers)),
    )
