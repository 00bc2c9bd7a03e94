"""Images whose layers are made by hand, entry by entry: for each one a thing that an unpacker can get wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import subprocess
import tarfile
import tempfile
from pathlib import Path

Entry = tuple[tarfile.TarInfo, bytes]
XATTR = "SCHILY.xattr."
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0).decode("utf-8", "surrogateescape")  # cap_net_raw=ep
#: An ACL as the kernel keeps it: owner rw, user 7 rw, group r, mask rw, others nothing.
ACL = (
    struct.pack("<I", 2)
    + b"".join(
        struct.pack("<HHI", *entry)
        for entry in ((1, 6, 0xFFFFFFFF), (2, 6, 7), (4, 4, 0xFFFFFFFF), (0x10, 6, 0xFFFFFFFF), (0x20, 0, 0xFFFFFFFF))
    )
).decode("utf-8", "surrogateescape")
NS = "1234567890.123456789"


def entry(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: object) -> Entry:
    """One entry of a tar; a time in the past, so that it shows whether it was kept."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mtime = kind, len(data), 1_000_000_000
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def folder(name: str, **fields: object) -> Entry:
    """An entry for a directory."""
    return entry(name, kind=tarfile.DIRTYPE, **fields)


def link(name: str, target: str, **fields: object) -> Entry:
    """An entry for a symbolic link."""
    return entry(name, kind=tarfile.SYMTYPE, linkname=target, **fields)


def hard(name: str, target: str, **fields: object) -> Entry:
    """An entry for a hard link."""
    return entry(name, kind=tarfile.LNKTYPE, linkname=target, **fields)


def device(name: str, kind: bytes, major: int, minor: int, **fields: object) -> Entry:
    """An entry for a device node."""
    return entry(name, kind=kind, devmajor=major, devminor=minor, **fields)


def xattr(**names: str) -> dict[str, str]:
    """PAX headers for extended attributes: user__note is user.note."""
    return {XATTR + name.replace("__", "."): value for name, value in names.items()}


def tar(*entries: Entry, form: int = tarfile.PAX_FORMAT) -> bytes:
    """The entries as they are: unlike `tarfile.open`, no name is made better on the way."""
    out = b"".join(
        info.tobuf(form, "utf-8", "surrogateescape") + data + bytes(-len(data) % 512) for info, data in entries
    )
    return out + bytes(1024)


def with_checksum(header: bytes) -> bytes:
    """A header block whose bytes were changed, with the sum that it must have now."""
    blank = header[:148] + b" " * 8 + header[156:512]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:] + header[512:]


class Image:
    """A crafted image: `name` and `layers`, plain tars, lowest first."""

    def __init__(self, name: str, *layers: bytes) -> None:
        self.name, self.layers = name, layers
        diff_ids = [digest(layer) for layer in layers]
        self.config = json.dumps(
            {
                "created": "2020-01-01T00:00:00Z",
                "architecture": "amd64",
                "os": "linux",
                "config": {"Cmd": ["sh"]},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
                "history": [
                    {"created": "2020-01-01T00:00:00Z", "created_by": f"layer {number}"}
                    for number in range(len(layers))
                ],
            }
        ).encode()


def digest(data: bytes) -> str:
    """The digest of some bytes, with its algorithm."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def write_docker_archive(path: Path, *images: Image) -> None:
    """Write images as `docker save` does."""
    with tarfile.open(path, "w") as archive:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))

        items = []
        for image in images:
            config = f"{digest(image.config)[7:]}.json"
            names = [f"{digest(layer)[7:]}/layer.tar" for layer in image.layers]
            for name, data in ((config, image.config), *zip(names, image.layers)):
                add(name, data)
            items.append({"Config": config, "RepoTags": [f"{image.name}:latest"], "Layers": names})
        add("manifest.json", json.dumps(items).encode())


def write_oci_layout(directory: Path, *images: Image) -> None:
    """Write images as an OCI image layout with gzip layers."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def put(data: bytes, kind: str) -> dict:
        (blobs / digest(data)[7:]).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest(data), "size": len(data)}

    entries = []
    for image in images:
        manifest = {
            "schemaVersion": 2,
            "config": put(image.config, "config.v1+json"),
            "layers": [put(gzip.compress(layer, 1), "layer.v1.tar+gzip") for layer in image.layers],
        }
        entries.append(
            {
                **put(json.dumps(manifest).encode(), "manifest.v1+json"),
                "annotations": {"org.opencontainers.image.ref.name": image.name},
            }
        )
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))


# ---- the images ------------------------------------------------------------------------------------------------

KINDS = Image(
    "kinds",
    tar(
        folder("./", mode=0o750, mtime=1000),
        folder("bin", mode=0o1777, uid=7, gid=8, mtime=2000),
        entry("bin/su", b"#!", mode=0o4755, gid=3),
        entry("bin/sg", b"#!", mode=0o2711, uid=9),
        entry("empty", mode=0),
        link("bin/sh", "/bin/su", uid=5, gid=6, mtime=77),
        link("dangling", "no/where"),
        hard("bin/su2", "bin/su", mode=0o4755, gid=3),
        device("null", tarfile.CHRTYPE, 1, 3, mode=0o666),
        device("disk", tarfile.BLKTYPE, 8, 17, mode=0o6660, gid=6),
        device("far", tarfile.CHRTYPE, 4000, 300_000),
        entry("pipe", kind=tarfile.FIFOTYPE, mode=0o620, uid=1),
        folder("sgid", mode=0o2755, gid=44),
        entry("sgid/in", b"x"),
        folder("closed", mode=0),
        entry("closed/in", b"y"),
        entry("in the old form", b"z", kind=tarfile.AREGTYPE),
    ),
)

TIMES = Image(
    "times",
    tar(
        folder("d", pax_headers={"mtime": NS}),
        entry("d/f", b"x", pax_headers={"mtime": NS}),
        link("d/l", "f", pax_headers={"mtime": NS}),
        entry("d/half", pax_headers={"mtime": "5.5"}),
        entry("zero", mtime=0),
        entry("late", mtime=1 << 33),
        entry("after-2106", mtime=1 << 32),
        entry("p", kind=tarfile.FIFOTYPE, pax_headers={"mtime": NS}),
        folder("e", mtime=5),
        folder("e/f", mtime=6),
        entry("e/f/g", mtime=7),
        entry("e/h", mtime=8),
        folder("late-dir", mtime=(1 << 32) + 5),
        entry("accessed", pax_headers={"atime": "7.5", "ctime": "8.5", "mtime": "9.5"}),
    ),
    tar(folder("e", mtime=50), entry("e/f/new", mtime=51)),
)

OWNERS = Image(
    "owners",
    tar(
        entry("gnu", uid=70_000, gid=3_000_000_000),
        entry("most", uid=0xFFFFFFFE, gid=0xFFFFFFFE),
        folder("d", uid=2_097_152, gid=1 << 31),
        link("l", "gnu", uid=2_097_152),
        form=tarfile.GNU_FORMAT,
    ),
    tar(
        entry("pax", uid=70_000, gid=3_000_000_000),
        entry("names", uname="daemon", gname="nosuch", uid=5, gid=5),
        entry("words", pax_headers={"uid": "4294967294", "gid": "3000000"}),
    ),
)

WHITEOUTS = Image(
    "whiteouts",
    tar(
        *(
            entry(name, b"1")
            for name in (
                "a/gone",
                "a/stays",
                "b/x",
                "c/x",
                "d/x/y",
                "file",
                "e/old",
                "was-file",
                "was-dir/x",
                "again",
                "k/l/m",
                "n/o",
                "p/q/r",
            )
        )
    ),
    tar(
        entry("a/.wh.gone"),
        entry(".wh.b"),
        folder("c"),
        entry("c/.wh..wh..opq"),
        entry("c/new", b"2"),
        folder("d"),
        entry("d/new", b"2"),
        entry("d/.wh..wh..opq"),
        entry(".wh.file"),
        entry(".wh.nosuch"),
        entry(".wh.e"),
        folder("e"),
        entry("e/new", b"2"),
        folder("was-file"),
        entry("was-file/x", b"2"),
        entry("was-dir", b"2"),
        entry(".wh.again"),
        entry("again", b"2"),
        entry("k/.wh..wh..opq"),
        entry("p/.wh.q"),
        link("p/q", "/n"),
    ),
    tar(
        entry("a/gone", b"3"),
        folder("b"),
        entry("b/fresh", b"3"),
        entry("k/l", b"3"),
        entry("c/.wh.new"),
        entry("was-file/.wh.x"),
        entry(".wh.was-dir"),
        folder("e/sub"),
        entry("e/sub/.wh..wh..opq"),
    ),
)

HARD_LINKS = Image(
    "hard-links",
    tar(
        folder("d"),
        entry("d/a", b"one", mode=0o4711, uid=5, pax_headers=xattr(user__note="n")),
        hard("d/b", "d/a"),
        hard("c", "./d/a"),
        hard("e/f", "/d/b", mode=0o777, uid=99),
        link("s", "d/a"),
        hard("s2", "s"),
        device("n", tarfile.CHRTYPE, 1, 3),
        hard("n2", "n"),
        entry("p", kind=tarfile.FIFOTYPE),
        hard("p2", "p"),
        entry("q", b"q"),
        hard("d/a2", "q"),
    ),
    tar(
        folder("o"),
        entry("o/.wh..wh..opq"),
        entry("o/new", b"new"),
        hard("o/newer", "o/new"),
        entry("d/.wh.b"),
        entry("d/one", b"2"),
        hard("out", "d/one"),
    ),
)

XATTRS = Image(
    "xattrs",
    tar(
        entry("ping", b"x", uid=5, mode=0o755, pax_headers=xattr(security__capability=CAPABILITY)),
        entry("acl", b"x", mode=0o660, pax_headers=xattr(system__posix_acl_access=ACL)),
        folder("d", mode=0o770, pax_headers=xattr(system__posix_acl_default=ACL, user__d="1")),
        entry("d/in", b"y"),
        entry("d/many", pax_headers=xattr(user__a="1", user__b="a=b\nc", user__empty="", user__c="\udcff\udcfe")),
        link("l", "x", pax_headers=xattr(trusted__mine="1")),
        entry("t", pax_headers=xattr(trusted__mine="2")),
        entry("no", b"x", pax_headers={"SCHILY.acl.access": "user::rw-", "LIBARCHIVE.xattr.user.b": "MQ=="}),
    ),
)

NAMES = Image(
    "names",
    tar(
        entry("n" * 255, b"1"),
        entry("/".join(["d" * 120] * 4), b"2"),
        link("long", "t" * 3000),
        entry("\udcff\udcfe latin", b"3"),
        entry("new\nline\ttab \x1b[31m", b"4"),
        entry(" blanks ", b"5"),
        entry("\u00e4\u0301\U0001f600", b"6"),
        entry("-rf", b"7"),
        entry("back\\slash", b"8"),
        entry(".wh", b"9"),
        entry("..x", b"10"),
        entry("x..", b"11"),
        folder("./dot/./dir//"),
        entry("dot/../dot2/f", b"12"),
        entry("/absolute", b"13"),
        entry("*", b"14"),
        hard("h" * 200, "n" * 255),
    ),
    tar(
        entry("g" * 200 + "/" + "h" * 200, b"1"),
        link("gnu", "t" * 2000),
        entry("\udce4", b"2"),
        form=tarfile.GNU_FORMAT,
    ),
    tar(entry("p/" * 9 + "q" * 100 + "/" + "u" * 30, b"1"), form=tarfile.USTAR_FORMAT),
)

REPLACED = Image(
    "replaced",
    tar(
        entry("file", b"1"),
        folder("dir"),
        entry("dir/x", b"1"),
        link("link", "dir"),
        folder("deep"),
        entry("deep/er/x", b"1"),
        entry("same", b"1"),
        folder("kept", mode=0o700, uid=5),
        entry("kept/x", b"1"),
        entry("h1", b"1"),
        hard("h2", "h1"),
        link("way", "dir"),
        entry("way/through", b"1"),
        folder("abs"),
        link("to", "/abs"),
        entry("to/through", b"2"),
    ),
    tar(
        folder("file"),
        entry("file/x", b"2"),
        entry("dir", b"2"),
        folder("link"),
        entry("link/y", b"2"),
        link("deep", "same"),
        entry("same", b"1", mode=0o600),
        folder("kept", mode=0o755),
        entry("kept/y", b"2"),
        entry("h1", b"2"),
    ),
)

UNSAID = Image(
    "unsaid",
    tar(folder("home", mode=0o711, uid=5, gid=6), folder("home/me", mode=0o2750, uid=1000, gid=1001, mtime=5)),
    tar(entry("home/me/file", b"1"), entry("new/dir/file", b"2")),
)


def variants() -> Image:
    """Tars of old: v7 has no magic and no prefix, star has its own."""

    def v7(info: tarfile.TarInfo, data: bytes) -> bytes:
        header = info.tobuf(tarfile.USTAR_FORMAT)
        return with_checksum(header[:257] + bytes(255)) + data + bytes(-len(data) % 512)

    def star(info: tarfile.TarInfo, data: bytes) -> bytes:
        header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
        header[476:488] = header[488:500] = b"00000000001 "  # atime and ctime stand where the prefix ends
        header[508:512] = b"tar\0"
        return with_checksum(bytes(header)) + data + bytes(-len(data) % 512)

    old = (
        folder("v7/"),
        entry("v7/file", b"x", kind=tarfile.AREGTYPE),
        link("v7/link", "file"),
        hard("v7/hard", "v7/file"),
    )
    own = {"uid": 3, "gid": 4, "mode": 0o640}
    globally = tarfile.TarInfo.create_pax_global_header({"comment": "0123456789abcdef", "mtime": "5"})
    named = (
        tar(
            folder(f"{name}/"),
            entry(f"{name}/file", b"x", **own),
            link(f"{name}/link", "file"),
            hard(f"{name}/hard", f"{name}/file", **own),
            form=form,
        )
        for name, form in (("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT))
    )
    return Image(
        "variants",
        *named,
        b"".join(v7(*one) for one in old) + bytes(1024),
        star(*entry("star", b"x", mode=0o600)) + bytes(1024),
        globally + tar(entry("after-global", b"x")),
        tar(entry("no-end", b"x"))[:-1024],
        tar(entry("padded", b"x")) + bytes(10240),
    )


def sparse(name: str, *, old: bool = False, version: str = "1.0", **fields: object) -> bytes:
    """A file of 3 MiB with 4 KiB at its beginning, 512 bytes in the middle, and nothing behind: two holes."""
    data, size = b"A" * 4096 + b"B" * 512, 3 << 20
    pieces = ((0, 4096), (1 << 20, 512))
    if old:
        info, _ = entry(name, data, **fields)
        header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
        header[156:157] = b"S"
        for number, (offset, length) in enumerate((*pieces, (size, 0))):
            header[386 + 24 * number : 410 + 24 * number] = b"%011o\0%011o\0" % (offset, length)
        header[483:495] = b"%011o\0" % size
        return with_checksum(bytes(header)) + data
    headers = {"GNU.sparse.size": str(size), "GNU.sparse.numblocks": "2"}
    flat = [str(number) for piece in pieces for number in piece]
    if version == "0.1":
        headers |= {"GNU.sparse.map": ",".join(flat), "GNU.sparse.name": name}
    if version == "1.0":
        headers = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": name,
            "GNU.sparse.realsize": str(size),
        }
        plan = "".join(f"{word}\n" for word in ("2", *flat)).encode()
        data = plan + bytes(-len(plan) % 512) + data
    info, _ = entry(f"GNUSparseFile.1/{name}", data, pax_headers=headers, **fields)
    return info.tobuf(tarfile.PAX_FORMAT) + data


def gnu_sparse(form: str) -> bytes:
    """What GNU tar makes of such a file, of one that is a hole, and of one with a hundred holes."""
    with tempfile.TemporaryDirectory() as scratch:
        for name, pieces, size in (
            ("two", (0, 1 << 20), 3 << 20),
            ("all", (), 1 << 20),
            ("many", range(0, 100 << 15, 1 << 15), 100 << 15),
        ):
            with open(f"{scratch}/{name}", "wb") as file:
                for place in pieces:
                    file.seek(place)
                    file.write(b"x" * 4096)
                file.truncate(size)
        return subprocess.run(
            [
                "tar",
                "-S",
                *form.split(),
                "--mtime=@1000000000",
                "--owner=0",
                "--group=0",
                "--mode=0644",
                "-cC",
                scratch,
                "two",
                "all",
                "many",
            ],
            check=True,
            capture_output=True,
        ).stdout


SPARSE = Image(
    "sparse",
    sparse("a", version="0.1") + sparse("b", version="1.0") + bytes(1024),
    *(gnu_sparse(f"--format=pax --sparse-version={version}") for version in ("0.0", "0.1", "1.0")),
)

ODD = Image(
    "odd",
    tar(
        entry("x", b"1"),
        entry("y", b"1"),
        entry("k/l", b"1"),
        entry("mode", mode=0o7777777),
        entry("v7-dir/", kind=tarfile.AREGTYPE),
        entry("file/", b""),
        folder("d"),
        link("l/", "d"),
        link("s", "/nowhere"),
        hard("h", "s"),
        entry("user", uname="root", gname="root", uid=5, gid=5),
        entry("a/.wh.b/c", b"1"),
        entry("no-such-kind", pax_headers=xattr(nosuch__x="1")),
    ),
    tar(folder(".wh.x"), link(".wh.y", "z"), entry("k/.wh..wh..opq")),
)

STRANGE_TIMES = Image(
    "strange-times",
    tar(
        entry("before-1970", pax_headers={"mtime": "-5"}),
        entry("y3000", pax_headers={"mtime": "32503680000.5"}),
        folder("d-y3000", pax_headers={"mtime": "32503680000.5"}),
        entry("y5000", pax_headers={"mtime": "99999999999"}),
    ),
)

WHITEOUT_DEVICE = Image("whiteout-device", tar(entry("a", b"1")), tar(device("a", tarfile.CHRTYPE, 0, 0)))

#: Every unpacker takes these.
IMAGES = (
    KINDS,
    TIMES,
    OWNERS,
    WHITEOUTS,
    HARD_LINKS,
    XATTRS,
    NAMES,
    REPLACED,
    UNSAID,
    variants(),
    SPARSE,
    ODD,
    STRANGE_TIMES,
    WHITEOUT_DEVICE,
)

#: And here they are not of one mind: (image, whether Docker takes it, whether minirun does).
DISPUTED = (
    (
        Image(
            "twice",
            tar(
                entry("a", b"old", mode=0o600),
                hard("keep", "a"),
                entry("a", b"new"),
                folder("d", mode=0o700),
                entry("d/x", b"1"),
                folder("d", mode=0o711, mtime=9),
                entry("e", b"1"),
                folder("e"),
                entry("e/y", b"2"),
                link("l", "a"),
                entry("l", b"file now"),
                entry("m", b"1"),
                link("m", "a"),
                device("n", tarfile.CHRTYPE, 1, 3),
                entry("n", b"1"),
                folder("o"),
                entry("o/p", b"1"),
                entry("o", b"a file now"),
            ),
        ),
        False,
        True,
    ),
    (Image("link-to-itself", tar(entry("z", b"z"), hard("z", "z"))), False, True),
    (Image("link-to-a-lower-layer", tar(entry("d/a", b"1")), tar(hard("b", "d/a"))), False, False),
    (Image("link-to-nothing", tar(hard("x", "nosuch"))), False, False),
    (Image("link-to-a-directory", tar(folder("d"), hard("x", "d"))), False, False),
    (Image("link-to-no-name", tar(link("l", ""))), False, False),
    (
        Image(
            "whiteout-after-directory",
            tar(entry("f/old", b"1")),
            tar(folder("f"), entry("f/new", b"2"), entry(".wh.f")),
        ),
        False,
        True,
    ),
    (Image("whiteout-after-file", tar(entry("g", b"1")), tar(entry("g", b"2"), entry(".wh.g"))), False, True),
    (Image("whiteout-twice", tar(entry("x", b"1")), tar(entry(".wh.x"), entry("./.wh.x"))), False, True),
    (
        Image("whiteout-on-the-way", tar(entry("g/h/i", b"1")), tar(entry("g/.wh.h"), entry("g/h/new", b"2"))),
        False,
        False,
    ),
    (Image("through-a-device", tar(device("x", tarfile.CHRTYPE, 1, 3), entry("x/y", b"1"))), False, False),
    (Image("sparse-of-old", sparse("f", old=True) + gnu_sparse("--format=gnu")), False, True),
    (Image("contiguous", tar(entry("f", b"x", kind=tarfile.CONTTYPE))), False, True),
    (Image("list-of-names", tar(entry("f", b"x", kind=b"D"))), False, False),
    (Image("socket", tar(entry("x", kind=b"s"))), False, False),
    (Image("name-of-256", tar(entry("n" * 256, b"x"))), False, False),
    (Image("bad-capability", tar(entry("x", pax_headers=xattr(security__capability="?")))), False, False),
    (Image("leads-out", tar(entry("../x", b"x"))), True, False),
    (Image("owner-too-large", tar(entry("x", uid=1 << 33), form=tarfile.GNU_FORMAT)), True, False),
    (Image("owner-minus-one", tar(entry("x", uid=0xFFFFFFFF), form=tarfile.GNU_FORMAT)), True, False),
)
