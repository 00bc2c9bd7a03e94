"""`import URL`: from a server of one's own, which does what a server may do."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator

import pytest

SERVER = r"""
import http.server, sys, time
archive = open(sys.argv[1], "rb").read()

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/there":
            self.send_response(302)
            self.send_header("Location", "/root.tar")
            self.end_headers()
        elif self.path == "/secret" and self.headers["Authorization"] != "Basic bWU6YTpi":
            self.send_error(401)
        elif self.path in ("/root.tar", "/secret", "/short", "/garbage"):
            body = b"x" * 5000 if self.path == "/garbage" else archive
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) + (self.path == "/short")))
            self.end_headers()
            self.wfile.write(body)
        elif self.path == "/unmeasured":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(archive)
        else:
            self.send_error(404)

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Handler)
print("ready", flush=True)
server.serve_forever()
"""
BASE = "http://127.0.0.1:8000"


@pytest.fixture
def server(host, tmp_path) -> Iterator[None]:
    """A server in this host, with a root file system to give away."""
    with tarfile.open(tmp_path / "root.tar", "w") as tar:
        info = tarfile.TarInfo("etc/from-afar")
        info.size = 300_000
        tar.addfile(info, io.BytesIO(b"z" * info.size))
    process = host.popen(sys.executable, "-c", SERVER, str(tmp_path / "root.tar"), stdout=subprocess.PIPE)
    assert process.stdout.readline() == "ready\n"
    yield
    process.kill()
    process.communicate()


@pytest.mark.parametrize("path", ["/root.tar", "/there", "/unmeasured"])
def test_an_archive_from_a_server(minirun, host, server, path):
    first, image_id = minirun.ok("import", "-c", "CMD x", BASE + path, "afar:1").splitlines()
    assert first == f"Downloading from {BASE}{path}"
    config = json.loads((host.data / "images/blobs" / image_id.replace(":", "/")).read_text())
    assert config["history"][0]["comment"] == f"Imported from {BASE}{path}"
    assert config["config"] == {"Cmd": ["/bin/sh", "-c", "x"]}
    assert minirun.ok("images", "--format", "{{.ID}} {{.Size}}", "afar") == f"{image_id[7:19]} 300kB"


def test_a_password_is_used_and_not_told(minirun, host, server):
    first, image_id = minirun.ok("import", "http://me:a%3Ab@127.0.0.1:8000/secret").splitlines()
    assert first == f"Downloading from {BASE}/secret"
    assert "a%3Ab" not in (host.data / "images/blobs" / image_id.replace(":", "/")).read_text()
    result = minirun("import", "http://me:wrong@127.0.0.1:8000/secret")
    assert (result.code, result.out) == (1, "")
    assert "401" in result.err
    assert "wrong" not in result.err


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (f"{BASE}/nope", f"failed to GET {BASE}/nope with status 404 Not Found"),
        (f"{BASE}/garbage", "archive/tar: invalid tar header"),
        (f"{BASE}/short", f'Get "{BASE}/short": EOF'),
        ("http://127.0.0.1:9/x", 'Get "http://127.0.0.1:9/x": dial tcp 127.0.0.1:9: connect: connection refused'),
        ("http://", 'Get "http://": http: no Host in request URL'),
        ("http://h:99999/", 'parse "http://h:99999/": port out of range 0-65535'),
    ],
)
def test_what_goes_wrong(minirun, host, server, url, text):
    def on_disk() -> list[str]:
        return sorted(
            str(path) for part in ("blobs/sha256", "layers", "tmp") for path in (host.data / "images" / part).iterdir()
        )

    before = on_disk()
    result = minirun("import", url, "bad")
    assert (result.code, result.err) == (1, f"Error response from daemon: {text}\n")
    assert minirun.ok("images", "-q", "bad") == ""
    assert on_disk() == before


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((f"{BASE}/root.tar", "Bad:Name"), "invalid reference format: repository name must be lowercase"),
        (("-c", "BOGUS x", f"{BASE}/root.tar"), "Error response from daemon: bogus is not a valid change command"),
        (("HTTP://127.0.0.1:8000/root.tar",), "open HTTP://127.0.0.1:8000/root.tar: no such file or directory"),
    ],
)
def test_nobody_is_asked_for_what_cannot_become_an_image(minirun, words, text):
    result = minirun("import", *words)
    assert (result.code, result.out, result.err) == (1, "", text + "\n")
