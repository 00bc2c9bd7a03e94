"""Tars as nobody's tool would write them: each entry goes in as it is, no name is made better on the way."""

from __future__ import annotations

import tarfile

Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: object) -> Entry:
    """One entry; fields are attributes of TarInfo: mode, uid, linkname, pax_headers ..."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode = kind, len(data), 0o755 if kind == tarfile.DIRTYPE else 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def folder(name: str, **fields: object) -> Entry:
    """An entry for a directory."""
    return entry(name, tarfile.DIRTYPE, **fields)


def link(name: str, target: str, **fields: object) -> Entry:
    """An entry for a symbolic link."""
    return entry(name, tarfile.SYMTYPE, linkname=target, **fields)


def hard(name: str, target: str) -> Entry:
    """An entry for a hard link."""
    return entry(name, tarfile.LNKTYPE, linkname=target)


def tar(*entries: Entry, form: int = tarfile.PAX_FORMAT) -> bytes:
    """The archive. Arguments: form, how what has no room in a ustar header is written."""
    out = b"".join(
        info.tobuf(form, "utf-8", "surrogateescape") + data + b"\0" * (-len(data) % 512) for info, data in entries
    )
    return out + b"\0" * 1024


def mended(data: bytes) -> bytes:
    """A damaged tar whose headers have the right checksums again, so that the damage gets past them."""
    whole = bytearray(data)
    for start in range(0, len(whole) - 511, 512):
        block = whole[start : start + 512]
        if any(block) and block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            whole[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    return bytes(whole)


#: One of each kind of entry and header, for those who damage them.
SAMPLES = [
    tar(
        folder("d"),
        entry("d/a", data=b"x" * 600),
        link("l", "d"),
        hard("h", "d/a"),
        entry(".wh.z"),
        entry("d/.wh..wh..opq"),
    ),
    tar(entry("n" * 200, data=b"y"), entry("p", b"6"), entry("c", b"3"), form=tarfile.GNU_FORMAT),
    tar(
        entry(
            "x",
            data=b"d" * 512,
            pax_headers={
                "GNU.sparse.map": "0,1,100,5",
                "GNU.sparse.size": "600",
                "mtime": "1.5",
                "SCHILY.xattr.user.a": "b",
            },
        )
    ),
    tar(
        entry(
            "x",
            data=b"2\n0\n1\n9\n1\n" + b"\0" * 502 + b"ab",
            pax_headers={
                "GNU.sparse.major": "1",
                "GNU.sparse.minor": "0",
                "GNU.sparse.name": "y",
                "GNU.sparse.realsize": "10",
            },
        )
    ),
]
