"""Servers in a throw-away host: Debian's docker-registry, a registry that misbehaves on demand, a token server."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from harness.host import Host, wait_for
from harness.registry.images import Image

FAKE, TOKENS = (Path(__file__).with_name(name) for name in ("fake_registry.py", "token_server.py"))
#: What `htpasswd -B` makes of "secret"; it takes the strength 4, or each request would take a third of a second.
PASSWORDS = "me:$2b$04$luu2JNtd4sx/uF1Ah5XGQO0B/E9YEFZ1EKYUFQiakII9JDM.6jBd.\n"
LOCKED = "auth: {htpasswd: {realm: test, path: %s}}\n"
CONFIG = """
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: %s}}
http: {addr: %s}
"""


def forget_images(minirun: Callable) -> None:
    """Remove all images but alpine: hosts go from test to test."""
    lines = minirun.ok("images", "--no-trunc", "--format", "{{.ID}} {{.Repository}}").splitlines()  # type: ignore[attr-defined]
    kept = {line.split()[0] for line in lines if line.split()[1] == "alpine"}
    for line in lines:
        name = line.split()
        if name[0] not in kept:
            minirun("rmi", "-f", name[0])
        elif name[1] != "alpine":
            tags = minirun.ok("images", "--format", "{{.Repository}}:{{.Tag}}", name[1]).split()  # type: ignore[attr-defined]
            minirun("rmi", "-f", *tags)


class DockerRegistry:
    """Debian's docker-registry in a host: `.name` "127.0.0.1:5000". Images come by `put`, which skopeo does.

    Arguments: more, of its config; address, where it listens; tls (str), what `tls` gives.
    """

    def __init__(
        self,
        host: Host,
        directory: Path,
        port: int = 5000,
        more: str = "",
        *,
        address: str = "127.0.0.1",
        tls: str = "",
    ) -> None:
        self.host, self.name, self.directory = host, f"{address}:{port}", directory
        self.config = directory / f"registry-{port}.yml"
        self.config.write_text(CONFIG % (directory / "registry", f"{self.name}{tls}") + more)

    @contextlib.contextmanager
    def running(self) -> Iterator[DockerRegistry]:
        """Serve as long as the block takes; gives the server itself."""
        with self.host.popen(
            "docker-registry",
            "serve",
            str(self.config),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as server:
            try:
                assert wait_for(lambda: _listens(self.host, self.name)), "docker-registry does not start"
                yield self
            finally:
                server.kill()

    def put(self, image: Image, name: str, *credentials: str) -> None:
        """Have skopeo bring an image."""
        place = self.directory / "for-skopeo"
        place.mkdir(exist_ok=True)
        (place / "version").write_text("Directory Transport Version: 1.1\n")
        (place / "manifest.json").write_bytes(image.manifest)
        for blob, data in image.blobs.items():
            (place / blob.partition(":")[2]).write_bytes(data)
        done = self.host.run(
            "skopeo",
            "copy",
            "--insecure-policy",
            "--preserve-digests",
            "--dest-tls-verify=false",
            *credentials,
            f"dir:{place}",
            f"docker://{self.name}/{name}",
        )
        assert done.returncode == 0, done.stderr


class ScriptedServer:
    """A server of our own in a host: a script that reads its behaviour from `behaviour.json` in its directory."""

    script: Path

    def __init__(self, host: Host, directory: Path, port: int) -> None:
        self.host, self.directory, self.port = host, directory, port

    @contextlib.contextmanager
    def running(self) -> Iterator[Self]:
        """Serve as long as the block takes; gives the server itself."""
        with self.host.popen(
            sys.executable,
            str(self.script),
            str(self.port),
            str(self.directory),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        ) as server:
            try:
                assert server.stdout and server.stdout.readline() == "ready\n"
                yield self
            finally:
                server.kill()

    def behave(self, **words: object) -> None:
        """How it behaves from now on."""
        (self.directory / "behaviour.json").write_text(json.dumps(words))


class FakeRegistry(ScriptedServer):
    """tests/fake_registry.py in a host: `.name`, `.directory`; what was asked is in `.log()`."""

    script = FAKE

    def __init__(self, host: Host, directory: Path, port: int = 5001) -> None:
        super().__init__(host, directory, port)
        self.name = f"127.0.0.1:{port}"
        for part in ("manifests", "blobs"):
            (directory / part).mkdir(parents=True)

    def put(self, image: Image, tag: str = "latest") -> None:
        """Have an image in it."""
        for name in (tag, image.digest):
            (self.directory / "manifests" / name).write_bytes(image.manifest)
        for blob, data in image.blobs.items():
            (self.directory / "blobs" / blob).write_bytes(data)

    def log(self, part: str = "") -> list[dict]:
        """What was asked, of those paths that have `part` in them."""
        file = self.directory / "log"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in map(json.loads, lines) if part in line["path"]]


class TokenServer(ScriptedServer):
    """tests/token_server.py in a host; `.more` is what the config of a registry says that believes it."""

    script = TOKENS

    def __init__(self, host: Host, directory: Path, port: int = 5105) -> None:
        super().__init__(host, directory, port)
        directory.mkdir()
        self.more = (
            f'auth: {{token: {{realm: "http://127.0.0.1:{port}/token?a=b", service: lab, issuer: lab, '
            f"rootcertbundle: {directory}/crt}}}}\n"
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[Self]:
        """Serve as long as the block takes; gives the server itself."""
        certificate(self.host, self.directory)
        with super().running():
            yield self

    def log(self) -> list[dict]:
        """What was asked since the last look."""
        file = self.directory / "log"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]


def certificate(host: Host, directory: Path, name: str = "IP:127.0.0.1", *, issuer: str = "") -> None:
    """Make directory/key and directory/crt for a server, or a client.

    Arguments: name, as X.509 has it; issuer, a directory with the key and crt of who vouches for it, "" for itself.
    """
    directory.mkdir(exist_ok=True)
    signed = (
        ["-CA", f"{issuer}/crt", "-CAkey", f"{issuer}/key", "-addext", "basicConstraints=critical,CA:FALSE"]
        if issuer
        else []
    )
    done = host.run(
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={name}",
        "-addext",
        f"subjectAltName={name}",
        *signed,
        "-keyout",
        f"{directory}/key",
        "-out",
        f"{directory}/crt",
    )
    assert done.returncode == 0, done.stderr


def tls(directory: Path, clients: str = "") -> str:
    """The part of a registry's config that has it speak TLS. Arguments: clients, the authority for theirs."""
    only = f", clientcas: [{clients}]" if clients else ""
    return f", tls: {{certificate: {directory}/crt, key: {directory}/key{only}}}"


@contextlib.contextmanager
def own_etc(host: Host) -> Iterator[str]:
    """An /etc of the host's own, in which one may write; its path from outside."""
    host.run(
        "sh",
        "-euc",
        "mkdir -p /run/etc/upper /run/etc/work; mount -t overlay overlay -o "
        "lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work /etc",
        check=True,
    )
    try:
        yield f"/proc/{host.pid}/root/etc"
    finally:
        host.run("sh", "-euc", "umount /etc; rm -r /run/etc", check=True)


def _listens(host: Host, name: str) -> bool:
    port = f"{int(name.rpartition(':')[2]):04X}"
    lines = Path(f"/proc/{host.pid}/net/tcp").read_text().splitlines()
    return any(f":{port} 00000000:0000 0A" in line for line in lines)
