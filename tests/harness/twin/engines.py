"""Two throw-away hosts that are equal in all but the engine: in one lives a real dockerd, in the other minirun.

Equal means: the same host name, the same three files in /etc, the same hardware addresses, the same numbers of the
devices, the same image. Whatever a host's state differs in afterwards, the engine has done it.

A command is begun in both hosts before the first is waited for (`begin`, then `finish`): the two run side by side.
"""

from __future__ import annotations

import abc
import json
import os
import shutil
import subprocess
from pathlib import Path

from harness.host import Host, wait_for

DOCKER, DOCKERD, CONTAINERD = "/usr/bin/docker", "/usr/sbin/dockerd", "/usr/bin/containerd"
SYSTEM_PATH = f"/usr/sbin:/usr/bin:/sbin:/bin:{Path(__file__).parent / 'tools'}"
#: What both hosts have in /etc: the last two name servers are not for containers, the first is in the outside world.
ETC = {
    "hosts": "127.0.0.1\tlocalhost\n203.0.113.1\ttwin.lab.example twin\n",
    "hostname": "twin\n",
    "resolv.conf": "search lab.example\nnameserver 203.0.113.2\noptions timeout:1 attempts:1\n",
}

#: What would otherwise be so or so, depending on when one looks.
CALM = """
    # Link-local addresses are in use at once, not after some seconds of listening.
    sysctl -q -w net.ipv6.conf.default.dad_transmits=0 net.ipv6.conf.default.router_solicitation_delay=0
    # The outside world asks for no routers, and nobody asks who it is.
    nsenter --net=/proc/$(cat /run/outside.pid)/ns/net sysctl -q -w net.ipv6.conf.all.disable_ipv6=1
    ip neigh add 203.0.113.2 lladdr 02:00:cb:00:71:02 dev wan0
    # A ping is still remembered when a busy machine comes to look.
    sysctl -e -q -w net.netfilter.nf_conntrack_icmp_timeout=300 net.netfilter.nf_conntrack_udp_timeout=300
"""


class Done:
    """What a command left: `.code` (int), `.out`, `.err` (str)."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def __repr__(self) -> str:
        return f"exit {self.code}\nstdout: {self.out!r}\nstderr: {self.err!r}"


def begin(host: Host, *argv: str) -> subprocess.Popen:
    """Begin a command in a host, with its output in pipes."""
    return host.popen(*argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen, seconds: float = 90) -> Done:
    """Wait for a command to end; it is killed when it takes longer than `seconds`, and the exit code is negative."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        err += f"\n(killed: it took more than {seconds} seconds)"
    return Done(process.returncode, out, err)


class Twin(Host, abc.ABC):
    """A throw-away host with an engine on it.

    `.words`, the command line of its client. Arguments: data (Path), the data root; settings (dict), what is in the
    engine's own configuration file, with dockerd's keys; before (str), a shell script for the host as it is found.
    """

    words: tuple[str, ...]

    def __init__(self, data: Path, settings: dict, before: str = "") -> None:
        super().__init__(outside=True)
        self.data, self.settings, self.before = data, settings, before
        self.environment = {"PATH": SYSTEM_PATH, "LC_ALL": "C"}

    def __enter__(self) -> Twin:
        super().__enter__()
        try:
            self.file("/run/etc/daemon.json", json.dumps(self.settings))
            self.write_etc()
            self.sh(f"hostname twin; for name in {' '.join(ETC)}; do mount --bind /run/etc/$name /etc/$name; done")
            self.sh(CALM)
            self.sh("mkdir -m 755 /run/netns; mount --bind /run/netns /run/netns; mount --make-shared /run/netns")
            self.sh(self.before)
            self.start()
        except BaseException:  # nobody else ends a host that was never entered, and its dockerd holds the data root
            self.__exit__()
            raise
        return self

    def sh(self, script: str) -> str:
        """The output of a shell script in this host. Errors: AssertionError when it fails."""
        done = finish(begin(self, "sh", "-euc", script))
        assert done.code == 0, f"{script}: {done}"
        return done.out

    def write_etc(self) -> None:
        """Give /etc its three files; they are mounted from below /run."""
        for name, text in ETC.items():
            self.file(f"/run/etc/{name}", text)

    def file(self, path: str, text: str) -> None:
        """Write a file below this host's own /run."""
        inside = Path(f"/proc/{self.pid}/root{path}")
        inside.parent.mkdir(mode=0o755, exist_ok=True)
        inside.write_text(text)

    def start(self) -> None:
        """Start the engine, on a host on which it may have been before."""

    def restart(self) -> None:
        """What an administrator does to have all networks set anew: Docker is restarted, minirun reloads."""

    @abc.abstractmethod
    def netns_file(self, name: str, key: str) -> str:
        """The file on which the network namespace of container `name` should be mounted; `key`, its SandboxKey."""

    def clear(self) -> None:
        """Remove all containers and all networks but the three that always are; what traffic and tests have left."""
        engine = " ".join(self.words)
        self.sh(f'ids=$({engine} ps -aq); [ -z "$ids" ] || {engine} rm -f $ids >/dev/null')
        self.sh(
            f"names=$({engine} network ls -q --filter type=custom); "
            f'[ -z "$names" ] || {engine} network rm $names >/dev/null'
        )
        self.sh("conntrack -F 2>/dev/null || true; ip neigh flush all")
        self.write_etc()


class Minirun(Twin):
    """minirun, with a data root of its own that shares the image's files with the store that was made once.

    Argument: untouched (bool), the first command of a test is the first that the host sees; else the default bridge is
    there already, as it is when dockerd was started.
    """

    def __init__(
        self, program: list[str], data: Path, store: Path, settings: dict, before: str, *, untouched: bool
    ) -> None:
        super().__init__(data, settings, before)
        self.untouched = untouched
        self.words = tuple(program)
        data.mkdir(mode=0o710)
        subprocess.run(["cp", "-al", store / "images", data / "images"], check=True)
        self.environment["MINIRUN_ROOT"] = str(data)
        if settings:
            self.environment["MINIRUN_CONFIG"] = "/run/etc/daemon.json"

    def __exit__(self, *what: object) -> None:
        super().__exit__(*what)
        shutil.rmtree(self.data, ignore_errors=True)

    def start(self) -> None:
        if not self.untouched:
            self.restart()

    def restart(self) -> None:
        self.sh(f"{' '.join(self.words)} network reload")

    def netns_file(self, name: str, key: str) -> str:
        return f"/run/netns/{name}"  # where `ip netns` finds it: a difference that is meant


class Docker(Twin):
    """A dockerd of our own: all of its files are in the host's /run and in a data root that holds the image.

    The data root serves one host after another; what the one before has remembered of networks is removed.
    """

    words = (DOCKER,)

    def __init__(self, data: Path, archive: Path, settings: dict, before: str) -> None:
        super().__init__(data, settings, before)
        self.archive, self.log = archive, data / "log"
        self.environment |= {"DOCKER_HOST": "unix:///run/docker.sock", "DOCKER_CONFIG": "/run/docker-client"}
        for old in ("network", "containers"):
            shutil.rmtree(data / old, ignore_errors=True)

    def start(self) -> None:
        self.data.mkdir(exist_ok=True)
        self.file(
            "/run/etc/daemon.json",
            json.dumps({"deprecated-key-path": "/run/docker-key.json", "shutdown-timeout": 1, **self.settings}),
        )
        self.file(
            "/run/etc/containerd.toml",
            f"""
            version = 2
            root = "{self.data}/containerd"
            state = "/run/containerd"
            disabled_plugins = ["io.containerd.grpc.v1.cri"]
            [grpc]
            address = "/run/containerd.sock"
            [plugins."io.containerd.internal.v1.opt"]
            path = "{self.data}/opt"
        """,
        )
        self._daemon(CONTAINERD, "--config", "/run/etc/containerd.toml")
        self.start_daemon()
        if not self.sh(f"{DOCKER} images -q"):
            self.sh(f"{DOCKER} import {self.archive} alpine >/dev/null")

    def start_daemon(self) -> None:
        """Start dockerd and wait until it answers."""
        self.daemon = self._daemon(
            DOCKERD,
            "--config-file",
            "/run/etc/daemon.json",
            "--data-root",
            str(self.data),
            "--exec-root",
            "/run/docker",
            "--pidfile",
            "/run/docker.pid",
            "--host",
            "unix:///run/docker.sock",
            "--storage-driver",
            "overlay2",
            "--containerd",
            "/run/containerd.sock",
        )
        answers = wait_for(
            lambda: self.daemon.poll() is not None or finish(begin(self, DOCKER, "version")).code == 0,
            60,
            interval=0.05,
        )
        assert answers and self.daemon.poll() is None, f"dockerd does not answer: {self.log.read_text()[-800:]}"

    def _daemon(self, *argv: str) -> subprocess.Popen:
        with self.log.open("a") as log:
            return self.popen(*argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def restart(self) -> None:
        self.daemon.terminate()
        self.daemon.wait(60)
        self.start_daemon()

    def netns_file(self, name: str, key: str) -> str:
        return key or "/run/docker/netns/none"


def missing() -> str:
    """What this machine lacks for a comparison; "" when all is there."""
    return " ".join(path for path in (DOCKER, DOCKERD, CONTAINERD) if not os.path.exists(path))
