"""A registry that misbehaves as it is told: what a real one does only on a bad day.

    python3 tests/harness/registry/fake_registry.py PORT DIRECTORY

It hands out what lies in DIRECTORY (manifests/NAME, blobs/sha256:...) and reads DIRECTORY/behaviour.json at each request:

    {"fail": N}         the first N requests for blobs end with 503
    {"cut": N}          a blob's answer breaks off after N bytes, once for each blob
    {"busy": SECONDS}   each request is answered with 429 and Retry-After; with {"once": true} only the first
    {"mute": SECONDS}   a pause before each answer
    {"away": URL}       blobs are redirected to URL/blobs/...
    {"token": URL}      who has no token gets a challenge that sends him to URL
    {"uses": N}         a token is good for N requests
    {"slow": SECONDS}   a pause in the middle of each blob that is no config
    {"type": TEXT}      the media type of manifests
    {"named": true}     the headers of manifests have their digest, as those of real registries
    {"page": N}         tags are listed N at a time
    {"most": N}         an upload of more than N bytes at once is answered with 413
    {"least": N}        chunks of an upload must have N bytes
    {"moved": URL}      uploads are redirected to URL/v2/...
    {"hold": SECONDS}   a pause before each answer to an upload
    {"lost": N}         the first N uploads of a whole blob end with 503

What was asked is written to DIRECTORY/log, a JSON line for each request. /token gives tokens.
"""

import hashlib
import json
import sys
import threading
import time
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT, TOP = int(sys.argv[1]), Path(sys.argv[2])
SEEN: dict[str, int] = {}
LOCK = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send an answer with its length."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def first(self, what: str, times: int) -> bool:
        """Whether this has happened fewer than so many times."""
        with LOCK:
            SEEN[what] = SEEN.get(what, 0) + 1
            return SEEN[what] <= times

    def do_GET(self) -> None:
        behaviour = json.loads((TOP / "behaviour.json").read_text()) if (TOP / "behaviour.json").exists() else {}
        path, _, query = self.path.partition("?")
        with LOCK, (TOP / "log").open("a") as log:
            log.write(
                json.dumps(
                    {
                        "method": self.command,
                        "path": path,
                        "query": query,
                        "time": time.time(),
                        "range": self.headers.get("Range"),
                        "authorization": self.headers.get("Authorization"),
                    }
                )
                + "\n"
            )
        time.sleep(behaviour.get("mute", 0))
        if path == "/token":
            with LOCK:
                SEEN["token"] = 0
            self.reply(200, b'{"token": "secret-token"}')
        elif "busy" in behaviour and self.first("busy", 1 if "once" in behaviour else 1 << 40):
            self.reply(
                429,
                b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}',
                Retry_After=str(behaviour["busy"]),
            )
        elif "token" in behaviour and path[:4] == "/v2/" and not self.knows_us(behaviour.get("uses", 999)):
            self.reply(401, WWW_Authenticate=f'Bearer realm="{behaviour["token"]}",service="the, registry"')
        elif path == "/v2/":
            self.reply(200, b"{}")
        elif "/blobs/" in path:
            self.blob(path.rpartition("/")[2], behaviour)
        elif path.endswith("/tags/list"):
            self.tags(query, behaviour.get("page", 0))
        elif (file := TOP / "manifests" / path.rpartition("/")[2]).exists():
            data = file.read_bytes()
            named = {"Docker_Content_Digest": f"sha256:{sha256(data).hexdigest()}"} if "named" in behaviour else {}
            self.reply(200, data, Content_Type=behaviour.get("type") or json.loads(data)["mediaType"], **named)
        else:
            self.reply(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}')

    def knows_us(self, uses: int) -> bool:
        return self.headers.get("Authorization") == "Bearer secret-token" and self.first("token", uses)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.upload()

    def do_PATCH(self) -> None:
        self.upload()

    def do_PUT(self) -> None:
        self.upload()

    def upload(self) -> None:
        behaviour = json.loads((TOP / "behaviour.json").read_text()) if (TOP / "behaviour.json").exists() else {}
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        with LOCK, (TOP / "log").open("a") as log:
            log.write(
                json.dumps(
                    {
                        "method": self.command,
                        "path": path,
                        "query": query,
                        "size": len(data),
                        "range": self.headers.get("Content-Range"),
                        "authorization": self.headers.get("Authorization"),
                    }
                )
                + "\n"
            )
        time.sleep(behaviour.get("hold", 0))
        whole = self.command == "PUT" and "digest=" in query and data
        if "moved" in behaviour:
            self.reply(307, Location=f"{behaviour['moved']}{self.path}")
        elif "token" in behaviour and self.headers.get("Authorization") != "Bearer secret-token":
            self.reply(401, WWW_Authenticate=f'Bearer realm="{behaviour["token"]}",service="the, registry"')
        elif "/manifests/" in path:
            (TOP / "manifests" / path.rpartition("/")[2]).write_bytes(data)
            self.reply(201)
        elif self.command == "POST":
            with LOCK:
                SEEN["uploads"] = SEEN.get("uploads", 0) + 1
                name = f"upload-{SEEN['uploads']}"
            (TOP / name).write_bytes(b"")
            self.reply(
                202,
                Location=f"/v2/x/blobs/uploads/{name}?state=a%2Fb",
                **({"OCI_Chunk_Min_Length": str(behaviour["least"])} if "least" in behaviour else {}),
            )
        elif whole and self.first("lost", behaviour.get("lost", 0)):
            (TOP / path.rpartition("/")[2]).write_bytes(b"half")
            self.reply(503)
        elif len(data) > behaviour.get("most", 1 << 40):
            self.reply(413)
        else:
            file = TOP / path.rpartition("/")[2]
            file.write_bytes(file.read_bytes() + data)
            if self.command == "PATCH":
                self.reply(202, Location=self.path)
                return
            digest = query.rpartition("digest=")[2].replace("%3A", ":")
            good = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}" == digest
            if good:
                file.rename(TOP / "blobs" / digest)
            self.reply(201 if good else 400)

    def tags(self, query: str, page: int) -> None:
        tags = sorted(path.name for path in (TOP / "manifests").iterdir() if ":" not in path.name)
        last = dict(word.partition("=")[::2] for word in query.split("&")).get("last", "")
        rest = [tag for tag in tags if tag > last]
        shown = rest[: page or None]
        link = f'<{self.path.partition("?")[0]}?last={shown[-1]}&n={page}>; rel="next"' if shown != rest else ""
        self.reply(200, json.dumps({"name": "x", "tags": shown}).encode(), **({"Link": link} if link else {}))

    def blob(self, digest: str, behaviour: dict) -> None:
        if "away" in behaviour:
            self.reply(307, Location=f"{behaviour['away']}/blobs/{digest}")
            return
        if self.first("fail", behaviour.get("fail", 0)):
            self.reply(503)
            return
        if not (TOP / "blobs" / digest).exists():
            self.reply(404)
            return
        data = (TOP / "blobs" / digest).read_bytes()
        begin = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        data = data[begin:]
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if "cut" in behaviour and len(data) > behaviour["cut"] and self.first(digest, 1):
            self.wfile.write(data[: behaviour["cut"]])
            self.close_connection = True
            return
        half = len(data) // 2
        self.wfile.write(data[:half])
        self.wfile.flush()
        time.sleep(behaviour.get("slow", 0) if half > 1000 else 0)
        self.wfile.write(data[half:])


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    print("ready", flush=True)
    server.serve_forever()
