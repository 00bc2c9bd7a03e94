"""Fuzz targets: each reader of untrusted input as one function of bytes.

A reader may take what it gets or refuse it with a MinirunError of one printable line. Anything else that is raised is
a mistake of ours. `fuzz.py` throws bytes at them for as long as one likes; `test_targets.py` throws what was found.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

from urllib3 import HTTPHeaderDict

from harness.hostile import archives, tars
from minirun import rmtree
from minirun.errors import MinirunError
from minirun.image import config, manifests, platforms, reference
from minirun.image.archive import load
from minirun.image.archive.index import ArchiveIndex
from minirun.image.layer import apply
from minirun.image.layer.tar_stream import LayerReader
from minirun.image.quota import Limits, Quota
from minirun.image.registry import challenge, http, responses, urls
from minirun.image.sanitize import printable
from minirun.image.transfer.download import _Download

TARGETS: dict[str, Callable[[bytes], None]] = {}
#: The same, without what catches a refusal.
READERS: dict[str, Callable[[bytes], None]] = {}
#: What each target starts from.
SEEDS: dict[str, list[bytes]] = {}

LAYER = tars.tar(tars.entry("a"))


def target(*seeds: bytes) -> Callable[[Callable[[bytes], None]], Callable[[bytes], None]]:
    """Makes a target of a function; it ends well, or with the error that a reader may raise."""

    def made(read: Callable[[bytes], None]) -> Callable[[bytes], None]:
        def run(data: bytes) -> None:
            with one_line():
                read(data)

        TARGETS[read.__name__], READERS[read.__name__], SEEDS[read.__name__] = run, read, list(seeds)
        return run

    return made


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Let a refusal pass if it is one printable line."""
    try:
        yield
    except MinirunError as error:
        assert str(error).isprintable(), repr(str(error))


@target(*tars.SAMPLES)
def headers(data: bytes) -> None:
    """The reader of tars, without a file system."""
    entries = LayerReader(io.BytesIO(tars.mended(data))).entries()  # type: ignore[arg-type]
    for entry in entries:
        assert printable(entry.name).isprintable()
        if entry.isreg():
            for _ in entries.data(entry):
                pass


@target(*tars.SAMPLES)
def unpack(data: bytes) -> None:
    """A layer, into a directory; beside it is one that nothing may touch."""
    top = Path(tempfile.mkdtemp(dir=os.environ.get("MINIRUN_FUZZ_DIR", "/dev/shm")))
    try:
        for name in ("tree", "outside"):
            (top / name).mkdir()
        (top / "outside/secret").write_bytes(b"s")
        before = os.lstat(top / "outside"), os.lstat(top / "outside/secret")
        stream = LayerReader(io.BytesIO(tars.mended(data)))  # type: ignore[arg-type]
        try:
            apply.apply_layer(stream.entries(), f"{top}/tree")
            stream.drain()
        finally:
            assert before == (os.lstat(top / "outside"), os.lstat(top / "outside/secret"))
            assert sorted(os.listdir(top)) == ["outside", "tree"]
    finally:
        rmtree.remove_tree(str(top))


@target(
    archives.docker(LAYER),
    archives.oci(LAYER),
    archives.docker(LAYER, members=[("x", LAYER), ("0/layer.tar", archives.pointer("../x"))]),
)
def archive(data: bytes) -> None:
    """An archive of images, up to where the layers would be unpacked."""
    fd = os.memfd_create("archive")
    try:
        os.write(fd, tars.mended(data))
        os.lseek(fd, 0, os.SEEK_SET)
        ingest = tempfile.mkdtemp(dir="/dev/shm")
        try:
            bundle = ArchiveIndex(fd, ingest, Quota(ingest, Limits()))
            try:
                for image in (
                    load._read_docker_archive(bundle) if "manifest.json" in bundle else load._read_oci_archive(bundle)
                ):
                    for part in image.members:
                        bundle.member(part)
            finally:
                bundle.close()
        finally:
            shutil.rmtree(ingest)
    finally:
        os.close(fd)


@target(b"alpine", b"host:5000/a/b:tag", b"[::1]:5000/x", b"a@sha256:" + b"0" * 64, b"localhost/x__y")
def name(data: bytes) -> None:
    """A reference: what was read is read again as the same."""
    found = reference.parse(data.decode("utf-8", "surrogateescape"))
    assert reference.parse(found.full) == found
    assert reference.parse(found.familiar) == found


SETTINGS = archives.config(LAYER, created="2020-01-01T00:00:00Z", history=[{"created_by": "x", "empty_layer": True}])
KINDS = ["", *manifests.INDEXES, manifests.oci.MANIFEST, "text/html; charset=utf-8"]
INDEX = {
    "schemaVersion": 2,
    "mediaType": manifests.INDEXES[0],
    "manifests": [
        archives.descriptor(b"", "manifest.v1+json", platform={"os": "linux", "architecture": "arm64", "variant": "v8"})
    ],
}


@target(b"\0" + archives.manifest(SETTINGS, (LAYER,)), b"\1" + json.dumps(INDEX).encode())
def manifest(data: bytes) -> None:
    """A manifest or an index; the first byte says what the registry's header says."""
    document, kind = manifests.read(data[1:], KINDS[(data[:1] or b"\0")[0] % len(KINDS)])
    if kind in manifests.INDEXES:
        with one_line():
            load._for_this_platform(document)
        manifests.choose(document, platforms.parse("linux/arm64/v8"), "x")


@target(SETTINGS)
def settings(data: bytes) -> None:
    """An image config."""
    config.check(manifests.read_config(data, {"layers": [None]}))


@target(b"linux/arm64/v8", b"arm")
def platform(data: bytes) -> None:
    """What --platform takes; it is typed by the one who reads the message."""
    assert str(platforms.parse(printable(data.decode("utf-8", "surrogateescape"))))


@target(b'Bearer realm="https://a.example/token",service="x",scope="repository:a:pull", Basic realm="\\"b"')
def challenges(data: bytes) -> None:
    """WWW-Authenticate."""
    for one in challenge.parse(data.decode("latin-1")):
        assert one.scheme == one.scheme.lower()
        with one_line():
            urls.check_url(one.parameters.get("realm", ""), "https://a.example/")


@target(b"Wed, 21 Oct 2015 07:28:00 GMT", b"120")
def moments(data: bytes) -> None:
    """Retry-After and RateLimit-Reset."""
    assert http.seconds(data.decode("latin-1")) >= 0


@target(b"https://cdn.example:8443/blobs/x?y=z#f", b"/v2/x", b"//[::1]:80/")
def location(data: bytes) -> None:
    """Where a redirect leads."""
    url = urls.resolve_location("https://a.example/v2/", data.decode("latin-1"))
    assert urls.origin(url)[0] == "https"


@target(b'{"errors": [{"code": "NAME_UNKNOWN", "message": "no", "detail": {}}]}', b'{"details": "x"}')
def refusal(data: bytes) -> None:
    """What a registry says when it says no."""
    for status in (401, 404, 429):
        headers = HTTPHeaderDict({"Retry-After": "5", "WWW-Authenticate": data.decode("latin-1")})
        answer = SimpleNamespace(status=status, reason=data.decode("latin-1"), headers=headers)
        assert str(responses.error_from(answer, data)).isprintable()  # type: ignore[arg-type]


@target(b'</v2/x/tags/list?last=b>; rel="next"', b"<a>; rel=prev, <b>; rel=next")
def link(data: bytes) -> None:
    """Where a list of tags goes on."""
    target = responses.next_page(SimpleNamespace(headers={"Link": data.decode("latin-1")}))  # type: ignore[arg-type]
    if target:
        urls.resolve_location("https://a.example/v2/x/tags/list", target)


@target(b"bytes 5-9/10")
def span(data: bytes) -> None:
    """Content-Range: an answer that goes on where the file ends begins there."""
    header = data.decode("latin-1")
    download = SimpleNamespace(have=5)
    answer = SimpleNamespace(status=206, headers={"Content-Range": header})
    if _Download._continues(download, answer):  # type: ignore[arg-type]
        assert header.startswith("bytes 5-")
