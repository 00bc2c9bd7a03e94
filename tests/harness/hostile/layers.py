"""Layers that nobody should believe: what each of them tries, as a tar, and how it ends.

A case is a tar and a part of the message that refuses it, or None if it is taken because all of it stays inside: an
absolute name means the layer's root, a link on the way is followed within the layer. What most of them aim at is a
directory outside, the bait, which has a file `secret` in it.
"""

from __future__ import annotations

import tarfile

from harness.hostile.tars import entry, folder, hard, link, tar

Cases = dict[str, tuple[bytes, str | None]]
UP = "../" * 20
OUT = "the name leads out of the layer"
NONE = "no such file or directory"


def cases(bait: str) -> Cases:
    """All of them. Arguments: bait (str), the absolute path of the directory that is aimed at."""
    return {**_names(bait), **_links(bait), **_whiteouts_and_devices(bait), **_attributes(bait), **_damage()}


def _names(bait: str) -> Cases:
    return {
        "dots that lead out": (tar(entry(f"{UP}{bait[1:]}/secret", data=b"x")), OUT),
        "dots in the middle": (tar(entry(f"a/{UP}{bait[1:]}/secret", data=b"x")), OUT),
        "dots after a slash": (tar(entry("/../bait/x", data=b"x")), OUT),
        "a directory of dots": (tar(folder("..", mode=0o777)), OUT),
        "an absolute name": (tar(entry(f"{bait}/secret", data=b"x")), None),
        "an absolute directory": (tar(folder(bait, mode=0o777, uid=5, mtime=1)), None),
        "the root as a link": (tar(link(".", bait)), "the layer's root can only be a directory"),
        "a name with a zero byte": (tar(entry("a", pax_headers={"path": "a\0b"})), "zero byte"),
        "a name that is too long": (tar(entry("n" * 256)), "file name too long"),
        "a name with an escape sequence": (tar(entry("../\x1b[2J\n\u202e")), OUT),
        "a file that is a directory": (tar(entry("f"), entry("f/x")), "not a directory"),
    }


def _links(bait: str) -> Cases:
    way = link("way", bait)
    return {
        "a file through a link": (tar(way, entry("way/secret", data=b"x")), "way/secret"),
        "a file through a relative link": (
            tar(link("way", f"{UP}{bait[1:]}"), entry("way/secret", data=b"x")),
            "way/secret",
        ),
        "a file through a link of links": (
            tar(folder("a"), link("a/b", ".."), link("a/c", f"b{bait}"), entry("a/c/secret", data=b"x")),
            "a/c/secret",
        ),
        "a file through /proc": (tar(link("way", "/proc/self/root"), entry(f"way{bait}/secret", data=b"x")), "way"),
        "links in a circle": (tar(link("a", "b"), link("b", "a"), entry("a/x")), "a/x"),
        "a file over a link": (tar(way, entry("way", data=b"x", mode=0o777, uid=5)), None),
        "a directory over a link": (tar(way, folder("way", mode=0o777, uid=5), entry("way/secret", data=b"x")), None),
        "a link in place of a directory in use": (
            tar(folder("d"), entry("d/one"), link("d", bait), entry("d/secret", data=b"x")),
            "d/secret",
        ),
        "the looks of a link": (tar(entry("way", tarfile.SYMTYPE, linkname=bait, mode=0o777, uid=9, mtime=1)), None),
        "a hard link with dots": (tar(hard("x", f"{UP}{bait[1:]}/secret")), OUT),
        "a hard link to an absolute name": (tar(hard("x", f"{bait}/secret")), NONE),
        "a hard link through a link": (tar(way, hard("x", "way/secret")), NONE),
        "a hard link to a link, then a file": (
            tar(link("s", f"{bait}/secret"), hard("h", "s"), entry("h", data=b"x", mode=0o777)),
            None,
        ),
        "a hard link to a directory": (tar(folder("d"), hard("x", "d")), "unpack x: "),
        "a hard link to the root": (tar(hard("x", ".")), "a hard link to a directory"),
    }


def _whiteouts_and_devices(bait: str) -> Cases:
    way = link("way", bait)
    device = {"devmajor": 1, "devminor": 3, "mode": 0o666, "uid": 9}
    return {
        "a whiteout with dots": (tar(entry(f"{UP}{bait[1:]}/.wh.secret")), OUT),
        "a whiteout for the directory": (tar(folder("d"), entry("d/.wh..")), "a whiteout for no name"),
        "a whiteout for its parent": (tar(folder("d"), entry("d/.wh...")), "a whiteout for no name"),
        "a whiteout through a link": (tar(way, entry("way/.wh.secret")), "way/.wh.secret"),
        "an opaque mark through a link": (tar(way, entry("way/.wh..wh..opq")), "way/.wh..wh..opq"),
        "a whiteout of a link": (tar(way, entry(".wh.way")), None),
        "a device over a link": (tar(way, entry("way", tarfile.CHRTYPE, **device)), None),
        "a device over a hard link of a link": (
            tar(way, hard("h", "way"), entry("h", tarfile.BLKTYPE, **device)),
            None,
        ),
        "a device through a link": (tar(way, entry("way/null", tarfile.CHRTYPE, **device)), "way/null"),
        "a fifo through a link": (tar(way, entry("way/pipe", tarfile.FIFOTYPE)), "way/pipe"),
        "a device that cannot be": (
            tar(entry("x", tarfile.CHRTYPE, devmajor=1 << 40), form=tarfile.GNU_FORMAT),
            "unpack x: ",
        ),
    }


def _attributes(bait: str) -> Cases:
    orders = {
        f"SCHILY.xattr.{kind}.overlay.{name}": "y"
        for kind in ("trusted", "user")
        for name in ("opaque", "redirect", "metacopy", "whiteout", "origin")
    }
    orders["SCHILY.xattr.trusted.overlay.redirect"] = bait
    return {
        "orders to overlayfs": (tar(folder("d", pax_headers=orders), entry("f", pax_headers=orders)), None),
        "attributes of a link": (tar(link("way", bait, pax_headers={"SCHILY.xattr.trusted.x": "y"})), None),
        "an owner that cannot be": (tar(entry("x", uid=-1), form=tarfile.GNU_FORMAT), "out of range"),
        "an unknown kind": (tar(entry("x", b"V")), "unknown type"),
    }


def _damage() -> Cases:
    whole = tar(folder("d"), entry("d/a", data=b"x" * 2000), link("l", "d"))
    long, _ = entry("x", tarfile.GNUTYPE_LONGNAME)
    long.size = 1 << 40
    below, _ = entry("x")
    below.size = -512
    return {
        "cut in a header": (whole[:700], "unexpected EOF"),
        "cut in a file": (whole[: 1024 + 700], "unexpected EOF"),
        "a damaged header": (whole[:515] + b"?" + whole[516:], "invalid tar header"),
        "a name of a terabyte": (long.tobuf(tarfile.GNU_FORMAT) + b"a" * 2048, "invalid tar header"),
        "a PAX header of a megabyte": (tar(entry("x", pax_headers={"comment": "y" * 1_100_000})), "invalid tar header"),
        "a size below zero": (below.tobuf(tarfile.GNU_FORMAT) + bytes(2048), "invalid tar header"),
        "no tar at all": (b"this is no tar at all" * 100, "invalid tar header"),
    }
