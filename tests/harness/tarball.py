"""A tar file of small regular files."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path


def make_tar(path: Path, *names: str, mode: str = "w", content: bytes = b"x") -> str:
    """Write a tar with a file for each name, all with the same content. Returns: its path."""
    with tarfile.open(path, mode) as file:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return str(path)
